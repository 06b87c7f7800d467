"""Prototypes rectified by the queries of a task: Liu, Song and Qin, ECCV 2020, https://arxiv.org/abs/1911.10713."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .span import Span


def shifted(span: Span, split: int) -> Span:
    """Supports and moved queries q + eta of a task, eta its mean support minus its mean query (the paper's eq. 3).

    With g = <x, eta>, the product of two moved queries grows by g_i + g_j + |eta|^2 and that of a support and a moved
    query by the support's g, so no vectors are multiplied anew.

    Args:
        span: of supports and queries.
        split: the number of supports, which stand first.
    """
    gram, moved = span.gram, torch.arange(span.gram.shape[1], device=span.gram.device) >= split
    along = gram[:, :, :split].mean(2) - gram[:, :, split:].mean(2)  # g, [T, n]
    square = along[:, :split].mean(1) - along[:, split:].mean(1)  # |eta|^2, [T]
    growth = (along + moved * square[:, None] / 2)[:, :, None] * moved
    return Span(gram + growth + growth.transpose(1, 2))


def unshifted(rows: Tensor, split: int) -> Tensor:
    """The rows in supports and queries of vectors whose rows [T, N, n] in supports and moved queries are given."""
    of_queries = rows[:, :, split:].sum(2, keepdim=True)
    return rows + of_queries * F.pad(
        rows.new_full((split,), 1 / split), (0, rows.shape[2] - split), value=-1 / (rows.shape[2] - split)
    )


def rectified(span: Span, prototypes: Tensor, scale: float) -> Tensor:
    """Prototypes [T, N, n] from all n vectors of a task, each given to the class of largest cosine.

    A class's prototype is the mean, over the vectors x that are given to it, of W_xn x with W_x the softmax of
    `scale` times the cosines (the paper's eq. 5). It is not divided by the sum of W: its length falls where the
    vectors are unsure. A class to which none is given keeps its prototype. All are rows of coefficients in `span`.
    """
    similarity = span.cosines_to_all(prototypes)  # [T, N, n]
    classes = torch.arange(prototypes.shape[1], device=prototypes.device)
    members = similarity.argmax(1, keepdim=True) == classes[:, None]
    count = members.sum(2, keepdim=True)
    means = (scale * similarity).softmax(1) * members / count.clamp(min=1)
    return torch.where(count > 0, means, prototypes)
