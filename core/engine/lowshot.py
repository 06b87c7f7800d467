"""ImageNet low-shot: one trial is one episode of all novel classes, asked about the images of another split."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..data.loaders import TaskBuilder
from ..episode import Features, join
from ..methods.base import Method
from ..report.lowshot import TOPS, Trials
from ..report.progress import Progress
from .features import Encoder


@dataclass(frozen=True)
class Queries:
    """Every image that is asked, encoded: those of novel classes, then those of base classes."""

    features: Features  # [1, Q_n + Q_b, ...]
    novel_y: Tensor  # [Q_n] classes of the split from which shots are drawn
    base_y: Tensor  # [Q_b] in 0..B-1
    base_ids: Tensor  # [B] which of all base classes are in the label space


def encode_all(encoder: Encoder, ids: Tensor) -> Features:
    """Features of images `ids` [n], as [1, n, ...]."""
    return join([{name: value[None] for name, value in block.items()} for _, block in encoder.blocks(ids)])


@torch.no_grad()
def classify_lowshot(
    method: Method,
    shots: Encoder,
    builder: TaskBuilder,
    queries: Queries,
    trials: int,
    prior: float,
    show: bool = False,
) -> Trials:
    """Trials 0 .. `trials` - 1.

    Args:
        method: in eval mode.
        shots: encodes the images that the builder's sampler draws, all classes in every episode.
        builder: of tasks, with the base classes' means where the method reads them.
        queries: the same in every trial.
        trials: how many.
        prior: mu, the weight of the novel classes in the figure `prior`.
        show: progress.
    """
    rows = []
    with Progress(trials, "trials", show) as bar:
        for trial in range(trials):
            drawn = builder.sampler.draw(torch.tensor([trial]))
            label = drawn.classes[0].argsort().to(queries.novel_y.device)[queries.novel_y]
            query_y = torch.cat([label, torch.full_like(queries.base_y, -1)])[None]
            support = encode_all(shots, drawn.support[0])
            task = builder.build(replace(drawn, query_y=query_y), support, queries.features, 1.0)
            novel, base = method(task)[0].float(), method.base_logits(task)[0].float()[:, queries.base_ids]
            rows.append(shares(novel, base, label, queries.base_y, prior))
            bar.update()
    return Trials(np.stack(rows))


def shares(novel: Tensor, base: Tensor, novel_y: Tensor, base_y: Tensor, prior: float) -> np.ndarray:
    """One trial of `Trials`, [6, 2], from scores [Q_n + Q_b, N] and [Q_n + Q_b, B]. Base labels come first."""
    here, there = len(novel_y), base.shape[1]
    truth = torch.cat([there + novel_y, base_y])
    joint = torch.cat([base, novel], dim=1)
    weighed = torch.cat([base.log_softmax(1) + math.log1p(-prior), novel.log_softmax(1) + math.log(prior)], dim=1)
    among_all, among_weighed = _ahead(joint, truth), _ahead(weighed, truth)
    alone = [_ahead(novel[:here], novel_y), _ahead(base[here:], base_y)]
    ranks = [*alone, among_all[:here], among_all[here:], among_all, among_weighed]
    return np.array([[100 * float((rank < top).double().mean()) for top in TOPS] for rank in ranks])


def _ahead(scores: Tensor, truth: Tensor) -> Tensor:
    """How many classes come before the true one, [Q]; among equals the lower label comes first."""
    own = scores.gather(1, truth[:, None])
    lower = torch.arange(scores.shape[1], device=scores.device) < truth[:, None]
    return ((scores > own) | ((scores == own) & lower)).sum(1)
