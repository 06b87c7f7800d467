"""Generalized episodes: novel classes are told from all base classes, not only from each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..data.base_queries import BaseQueries
from ..data.store import Split
from ..methods.base import Method
from ..report.generalized import Joint
from .evaluator import Evaluator, Sampler
from .features import Source


@torch.no_grad()
def classify_generalized(
    evaluator: Evaluator,
    method: Method,
    novel: Source,
    base: tuple[Split, Source],
    sampler: Sampler,
    episodes: int,
    show: bool = False,
) -> Joint:
    """Classify the queries of episodes 0 .. `episodes` - 1, and as many images of base classes.

    Every query gets the scores of the episode's N classes (`forward`) and of the n_base ones (`base_logits`).

    Args:
        evaluator: of the novel classes.
        method: in eval mode.
        novel: features of the novel images.
        base: base-class images that training has not seen, and their features.
        sampler: of the episodes.
        episodes: how many.
        show: progress.
    """
    split, base_source = base
    queries = BaseQueries(split, sampler.shape.n_query)
    needs = {*method.needs, *(["base"] if method.base_from_means else [])}
    rows: list[list[np.ndarray]] = []
    for part, task in evaluator.tasks(tuple(needs), novel, sampler, episodes, {"encode": 0.0}, show):
        ids, labels = queries.draw(part.seed)
        base_source.prepare(ids.unique())
        labels = labels.to(task.query_y.device)
        task = replace(task, base_query=base_source.gather(ids), base_query_y=labels).all_queries()
        own, other = method(task).float(), method.base_logits(task).float()
        found = _judged(own, other, task.query_y, labels)
        rows.append([value.cpu().numpy() for value in found])
    return Joint(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _judged(own: Tensor, other: Tensor, novel_y: Tensor, base_y: Tensor) -> list[Tensor]:
    """What `Joint` holds, from scores [T, Q + Q_b, N] and [T, Q + Q_b, n_base]."""
    n_query = novel_y.shape[1] - base_y.shape[1]
    (best_own, label), (best_other, base_label) = own.max(-1), other.max(-1)
    lead = (best_own - best_other).split([n_query, base_y.shape[1]], dim=1)
    return [label[:, :n_query] == novel_y[:, :n_query], lead[0], base_label[:, n_query:] == base_y, lead[1]]
