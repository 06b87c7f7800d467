"""What a method shows of one episode, with the images it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..report.page.pictures import ShownTask, task_sections
from ..report.page.render import Section
from .questions import Question, TestedNetwork


@torch.no_grad()
def episode_pictures(
    tested: TestedNetwork, question: Question, episode: int, queries: Sequence[int] | None = None
) -> list[Section]:
    """The pictures of an episode for these of its queries; by default for one wrong and one right answer.

    A data set of features has none.
    """
    sampler, head = tested.sampler(question.shape), tested.head(question.method)
    if tested.split.features:
        return []
    drawn = sampler.draw(torch.tensor([episode]))
    task = tested.evaluator.task(tested.source, drawn, sampler, head)
    predicted = head.answer(task).argmax(-1)[0].cpu()
    if queries is None:
        queries = _one_of_each(predicted == drawn.query_y[0])
    chosen = torch.tensor(queries)
    here = chosen.to(task.query_y.device)
    few = replace(task, query={k: v[:, here] for k, v in task.query.items()}, query_y=task.query_y[:, here])
    pictures = head.pictures(few)
    if not pictures:
        return []
    shown = ShownTask(
        names=[tested.split.classes[c] for c in drawn.classes[0].tolist()],
        supports=pixels(tested, drawn.support[0]),
        support_labels=task.support_y[0].tolist(),
        queries=pixels(tested, drawn.query[0, chosen]),
        query_labels=drawn.query_y[0, chosen].tolist(),
        predicted=predicted[chosen].tolist(),
    )
    return task_sections(pictures, shown)


def _one_of_each(right: Tensor) -> list[int]:
    """The first query that was answered wrongly, and the first that was answered rightly, as far as there are any."""
    return [int(rows[0]) for rows in ((~right).nonzero()[:, 0], right.nonzero()[:, 0]) if len(rows)]


def pixels(tested: TestedNetwork, ids: Tensor) -> list[np.ndarray]:
    """Pixels [H, W, 3] of the test images `ids` [n]."""
    return list(tested.evaluator.pixels.raw(ids).cpu().numpy()) if len(ids) else []
