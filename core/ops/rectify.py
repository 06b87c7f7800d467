"""Prototypes rectified by the queries of a task: Liu, Song and Qin, ECCV 2020, https://arxiv.org/abs/1911.10713."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .span import Span


def shifted(query: Tensor, support: Tensor) -> Tensor:
    """Queries [T, Q, n] moved by a task's mean support minus its mean query (the paper's eq. 3, cross-class bias)."""
    return query + support.mean(1, keepdim=True) - query.mean(1, keepdim=True)


def rectified(span: Span, vectors: Tensor, prototypes: Tensor, scale: float) -> Tensor:
    """Prototypes [T, N, n] from all vectors [T, m, n] of a task, each given to the class of largest cosine.

    A class's prototype is the mean, over the vectors x that are given to it, of W_xn x with W_x the softmax of
    `scale` times the cosines (the paper's eq. 5). It is not divided by the sum of W: its length falls where the
    vectors are unsure. A class to which none is given keeps its prototype. All are rows of coefficients in `span`.
    """
    similarity = span.cosines(vectors, prototypes)  # [T, m, N]
    members = F.one_hot(similarity.argmax(-1), prototypes.shape[1]).to(vectors.dtype)
    weights = members * (scale * similarity).softmax(-1)
    count = members.sum(1)[..., None]
    means = weights.transpose(1, 2) @ vectors / count.clamp(min=1)
    return torch.where(count > 0, means, prototypes)
