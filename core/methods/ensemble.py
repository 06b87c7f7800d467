"""Hyper-parameter ensemble: Luo, Zhang, Gao, Shen and Song, "FEWTRANS", 2026. https://arxiv.org/abs/2603.00478"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import Batch, DataInfo, Features, Task
from ..errors import UserError
from ..limits import coerce
from ..names import not_one_of
from ..objectives.loss import Loss
from ..registry import METHODS
from .base import Method, load_matching

Vote = Literal["probability", "log", "majority"]


@METHODS.register("Ensemble")
class Ensemble(Method):
    """The answers of one method averaged over a grid of its hyper-parameters, in place of a choice among them.

    A choice needs a validation set of the very task, which nobody with a few labelled images has.

    Args:
        of: the method; it trains as it does by itself, with the first value of each argument.
        grid: lists of an argument and its values, e.g. [[inverse_penalty, 0.1, 1, 10]]; all combinations are averaged.
            They must be arguments that may be changed at test.
        vote: what is averaged: probability, log probability, or majority, the share of members that answer so. Equal
            shares go to the lowest class.

    Differs from the authors' code: there the grid holds the learning rates of a network's backbone and head, nine
    trainings a task, and the vote is the majority's.
    """

    test_arguments = ("grid", "vote")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        of: str = "RFS",
        grid: Sequence[Sequence[Any]] = [["inverse_penalty", 0.1, 1.0, 10.0]],
        vote: Vote = "probability",
    ) -> None:
        super().__init__(backbone, info)
        kind = METHODS[of]
        if kind is type(self):
            raise UserError(f"METHOD.ARGS.of is {of}, an ensemble of ensembles; name the method itself.")
        combinations = _combinations(kind, grid)
        self.head = kind(backbone, info, **combinations[0])
        self._members = [_member(self.head, kind(backbone, info, **arguments)) for arguments in combinations]
        self.vote = vote
        self.declare_as(self.head)
        self.needs = tuple(dict.fromkeys(name for member in self._members for name in member.needs))
        self.train_needs = self.head.needed(training=True)
        self.scores_base = False  # the members' agreement is no score of theirs

    @property
    def scale(self) -> float | Tensor:  # type: ignore[override]  # a method may make it a property
        """Of the logits that are learned, the method's own."""
        return self.head.scale

    @property
    def follows_progress(self) -> bool:
        return super().follows_progress or self.head.follows_progress

    @property
    def encodes_by_backbone(self) -> bool:
        """As the method does it."""
        return self.head.encodes_by_backbone

    def encode(self, pixels: Features) -> Features:
        """As the method does it."""
        return self.head.encode(pixels)

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]: the logarithm of what the members say on average, or the shares of a majority."""
        for member in self._members:
            member.training = self.training
        return _agreed(torch.stack([member.answer(task).log_softmax(-1) for member in self._members]), self.vote)

    def batch_logits(self, batch: Batch) -> Tensor:
        """Logits [n, n_base], as the method learns them."""
        return self.head.batch_logits(batch)

    def loss(self, item: Task | Batch) -> Loss:
        """The method's own, by the objective of the ensemble."""
        self.head.__dict__["objective"] = self.objective  # not as a module: it is saved once
        return self.head.loss(item)

    def start_from(self, previous: Method) -> str:
        """All that a stage of the same method learned; of any other the backbone."""
        if isinstance(previous, type(self.head)):
            return load_matching(self.head, previous.state_dict(), f"the stage of {previous.name} before")
        return super().start_from(previous)

    def special_groups(self, lr: float) -> list[dict]:
        """As the method asks for them."""
        return self.head.special_groups(lr)


def _agreed(log_probabilities: Tensor, vote: Vote) -> Tensor:
    """What members [P, T, Q, N] say together, [T, Q, N]."""
    members = len(log_probabilities)
    if vote == "probability":
        return log_probabilities.logsumexp(0) - math.log(members)
    if vote == "log":
        return log_probabilities.mean(0)
    chosen = F.one_hot(log_probabilities.argmax(-1), log_probabilities.shape[-1]).to(log_probabilities)
    return chosen.mean(0)


def _combinations(kind: type[Method], grid: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values of a grid."""
    arguments = METHODS.arguments(kind.name).defaults
    for row in grid:
        if isinstance(row, str) or not isinstance(row, Sequence) or len(row) < 2 or not isinstance(row[0], str):
            raise UserError(
                f"METHOD.ARGS.grid holds {row!r}; an entry is an argument and its values, e.g. [beta, 1, 5.5]."
            )
        if row[0] not in kind.test_arguments:
            key = f"METHOD.ARGS.grid for {kind.name}"
            raise UserError(not_one_of(key, row[0], kind.test_arguments) if kind.test_arguments else _nothing(kind))
    names, values = [row[0] for row in grid], [_typed(row[0], row[1:], arguments[row[0]]) for row in grid]
    return [dict(zip(names, combination, strict=True)) for combination in product(*values)]


def _typed(name: str, values: Sequence[Any], default: Any) -> list[Any]:
    """The values of an argument in the type of its default."""
    typed = []
    for value in values:
        try:
            typed.append(coerce(value, default))
        except TypeError as error:
            raise UserError(f"METHOD.ARGS.grid gives {name} the value {value!r}, which is not {error}.") from None
    return typed


def _nothing(kind: type[Method]) -> str:
    """The sentence for a method without arguments that a grid may hold."""
    return f"METHOD.ARGS.of is {kind.name}, which has no argument that may change at test; choose RFS or Ridge."


def _member(head: Method, member: Method) -> Method:
    """A member that shares all that `head` learns, which is kept, trained and saved once."""
    for store in ("_modules", "_parameters", "_buffers"):
        member.__dict__[store] = head.__dict__[store]
    return member
