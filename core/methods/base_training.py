"""Shared by methods that train a classifier over the base classes and adapt only a head at test time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import Batch, DataInfo, Task
from ..errors import UserError
from ..limits import Count, NonNegative, Share, ShareBelowOne
from ..ops import random
from ..ops.adapt import Head, HeadSGD
from .base import Method


class BaseTrained(Method):
    """A backbone trained with `classifier` over mini-batches of base images; a subclass says what happens at test."""

    streams = ("batches",)
    base_from_means = False

    def __init__(self, backbone: Backbone, info: DataInfo, classifier: nn.Module) -> None:
        super().__init__(backbone, info)
        self.classifier = classifier

    def base_logits(self, task: Task) -> Tensor:
        """The classifier's logits, [T, Q, n_base]; where `forward` has another scale, those of the base means."""
        return super().base_logits(task) if self.base_from_means else self.classifier(task.query["vector"])

    def batch_logits(self, batch: Batch) -> Tensor:
        """Base-class logits [n, n_base]."""
        return self.classifier(batch.inputs["vector"])


class FineTuned(BaseTrained):
    """At test the backbone is frozen and a new head is trained on the supports of each episode by SGD.

    Chen et al., "A Closer Look at Few-shot Classification", ICLR 2019, https://arxiv.org/abs/1904.04232: 100 passes
    in mini-batches of 4 (200 steps at 1 shot, 700 at 5), learning rate 0.01, momentum and dampening 0.9, weight decay
    0.001. mmfewshot takes 150 steps at 1 shot and 600 at 5, for Baseline and Baseline++ in full mini-batches alone.

    Args:
        head_passes: passes over the supports.
        head_steps: pairs of a shot and its number of steps, in place of passes, e.g. [[1, 150], [5, 600]]; the last
            pass is cut short. Shots that it does not list are refused: the steps are part of a recipe.
        head_drop_last: leave out the mini-batch at the end of a pass that is not full; passes are reshuffled, so every
            support has its turn.
        head_batch, head_lr, head_momentum, head_dampening, head_weight_decay: the head's SGD.

    Differs from the authors' code: initial rows and mini-batches follow the episode's seed, and all episodes are
    fine-tuned together in Gram coordinates (`core.ops.adapt`).
    `order_free` and `class_symmetric` hold on average only: mini-batches and initial rows are random.
    """

    class_symmetric = False
    order_free = False
    test_arguments = (
        "head_passes",
        "head_steps",
        "head_batch",
        "head_drop_last",
        "head_lr",
        "head_momentum",
        "head_dampening",
        "head_weight_decay",
    )

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        classifier: nn.Module,
        *,
        head_passes: Count = 100,
        head_steps: Sequence[Sequence[int]] = [],
        head_batch: Count = 4,
        head_drop_last: bool = False,
        head_lr: NonNegative = 0.01,
        head_momentum: ShareBelowOne = 0.9,
        head_dampening: Share = 0.9,
        head_weight_decay: NonNegative = 1e-3,
    ) -> None:
        super().__init__(backbone, info, classifier)
        self.steps = _steps_by_shot(head_steps)
        self.sgd = HeadSGD(
            head_passes, 0, head_batch, head_lr, head_momentum, head_dampening, head_weight_decay, head_drop_last
        )

    def fit(self, task: Task, support: Tensor, start: Tensor, sgd: HeadSGD) -> Head:
        """Train heads on supports [T, n_s, d] from rows [T, N, d]."""
        raise NotImplementedError

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N] of heads fine-tuned on each task's supports."""
        support = task.support["vector"]
        start = self.uniform(task, "head", (task.way, support.shape[-1]), support)
        return self.fit(task, support, start, self._recipe(task)).logits(task.query["vector"])

    def _recipe(self, task: Task) -> HeadSGD:
        """The head's SGD for a task's shot."""
        if not self.steps:
            return self.sgd
        if task.shot not in self.steps:
            shots = "unequal" if task.shot is None else task.shot
            raise UserError(
                f"METHOD.ARGS.head_steps has no steps for {shots} shots, only for {', '.join(map(str, self.steps))}; "
                "add a pair of shot and steps, or empty it to train for METHOD.ARGS.head_passes."
            )
        return replace(self.sgd, steps=self.steps[task.shot])

    @staticmethod
    def uniform(task: Task, tag: str, shape: tuple[int, ...], support: Tensor) -> Tensor:
        """Initial values uniform in +-1/sqrt(d), as torch's layers have, drawn from the episodes' seeds."""
        drawn = random.uniform(task.seed, tag, shape) * 2 - 1
        return (drawn / math.sqrt(support.shape[-1])).to(support.dtype)


def _steps_by_shot(pairs: Sequence[Sequence[int]]) -> dict[int, int]:
    """{shot: steps} of METHOD.ARGS.head_steps.

    Raises:
        UserError: where they are no pairs of positive numbers, or name a shot twice.
    """
    numbers = [pair for pair in pairs if isinstance(pair, Sequence) and len(pair) == 2]
    if len(numbers) < len(pairs) or not all(type(n) is int and n >= 1 for pair in numbers for n in pair):
        raise UserError(
            f"METHOD.ARGS.head_steps is {list(pairs)}, which must be pairs of a shot and a number of steps, each 1 or "
            "more, e.g. [[1, 150], [5, 600]]."
        )
    steps = {shot: count for shot, count in numbers}
    if len(steps) < len(pairs):
        raise UserError(f"METHOD.ARGS.head_steps is {list(pairs)}, which names a shot twice; give it one pair.")
    return steps
