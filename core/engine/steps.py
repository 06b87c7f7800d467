"""The steps of an epoch: taken in order, stopped between two of them, and taken up again there bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..episode import Batch, Encoder, Task
from ..errors import UserError
from ..methods.base import Method
from ..methods.declarations import loss_of
from ..objectives.loss import Loss
from ..ops import random
from ..ranks import current
from ..stopping import undisturbed
from .average import Average
from .epoch_losses import EpochLosses
from .gradients import sum_gradients
from .optim import Recipe
from .precision import encoder, multiplying
from .stage_clock import StageClock
from .stopwatch import Stopwatch


class Stream(Protocol):
    """Training data as a function of the step."""

    def at(self, step: int, progress: float) -> Task | Batch:
        """What step number `step` learns from, in pixels."""

    def share(self, step: int) -> float:
        """The part of the step's loss that this process computes; the shares of all processes sum to 1."""


@dataclass(frozen=True)
class Schooling:
    """What a step of a stage needs to know."""

    name: str  # of the stage
    method: Method
    streams: Sequence[Stream]
    recipe: Recipe
    epochs: int
    steps: int  # of an epoch
    accumulate: int  # parts of a step, whose gradients are computed one after another
    precision: str  # fp32 | tf32 | bf16
    frozen_backbone: bool
    frozen_bn: bool
    dropout: bool  # of the backbone
    updates: str  # joint: one for the sum of a step's losses; each: one for each loss, the batch's first
    seed: int

    def progress(self, step: int) -> float:
        """How far the stage has come before a step, 0..1."""
        return step / (self.epochs * self.steps)


class Epoch:
    """An epoch in progress: the steps taken, and what they add up to."""

    def __init__(self, number: int, device: torch.device, state: dict[str, Any] | None = None) -> None:
        """Epoch `number`, from 0; `state` is that of an epoch which was stopped."""
        self.number, self.step = number, 0
        self.losses, self._total = EpochLosses(device), torch.zeros((), device=device)
        self.watch, self.images = Stopwatch(device), 0  # of the steps taken here
        self._values: list[Tensor] = []  # of the steps taken here, to name the one that went wrong
        self.is_between_steps = True
        self._had_gradient = False  # whether any loss so far had one
        if state is not None:
            self.step, self._had_gradient = state["step"], state.get("had_gradient", True)
            if current().first:  # its sums are those of all processes
                self._total = state["total"].to(device)
                self.losses.load(state["losses"])

    def state(self) -> dict[str, Any]:
        """What last.pth keeps of it, for all processes together."""
        total, losses = current().add(self._total.clone()), self.losses.state()
        return {"step": self.step, "had_gradient": self._had_gradient, "total": total, "losses": losses}

    def take(
        self,
        stage: Schooling,
        optimizer: torch.optim.Optimizer,
        clock: StageClock,
        average: Average,
        after_step: Callable[[], None] = lambda: None,
    ) -> float:
        """Take the steps that are left, with a call after each; returns the mean loss of all.

        The average of the weights follows each step.

        Raises:
            UserError: where a loss is not finite, or none has a gradient.
        """
        _train_mode(stage.method, stage.frozen_backbone, stage.frozen_bn, stage.dropout)
        first = self.step
        while self.step < stage.steps:
            with self._whole_step(), multiplying(stage.precision):
                self._take_one(stage, optimizer, self.number * stage.steps + self.step)
                average.follow()
            clock.step()
            after_step()
        mean = float(current().add(self._total.clone())) / stage.steps
        if not math.isfinite(mean):
            bad = next((i for i, value in enumerate(self._values) if not math.isfinite(float(value))), 0)
            step = self.number * stage.steps + first + bad + 1
            raise UserError(
                f"STAGE.{stage.name}: the loss became {mean} in step {step} (epoch {self.number + 1}, rate "
                f"{optimizer.param_groups[0]['lr']:g}); lower OPTIM.LR, or set OPTIM.CLIP."
            )
        if not self._had_gradient:
            raise UserError(
                f"STAGE.{stage.name}.METHOD is {stage.method.name}, whose loss had a gradient in no step of epoch "
                f"{self.number + 1}, so that nothing is learned; compute it from parameters, without detach or no_grad."
            )
        return mean

    @contextmanager
    def _whole_step(self) -> Iterator[None]:
        """A step, which signals do not cut."""
        with undisturbed():
            self.is_between_steps = False
            yield
            self.step += 1
            self.is_between_steps = True

    def record(self, stage: Schooling, optimizer: torch.optim.Optimizer, loss: float, seconds: float) -> dict[str, Any]:
        """What metrics.jsonl says of the epoch, whose steps taken here took so many seconds; `loss` is its mean."""
        done = (self.number + 1) * stage.steps
        with torch.no_grad():  # a learned scale becomes a number
            scalars = stage.method.scalars(stage.progress(done - 1))
        return {
            "stage": stage.name,
            "epoch": self.number + 1,
            "step": done,
            "loss": loss,
            **self.losses.train_accuracy(),
            "lr": optimizer.param_groups[0]["lr"],
            "steps_per_second": len(self._values) / seconds,
            **self.losses.scalars(),
            **scalars,
        }

    def cost(self, seconds: float) -> dict[str, float]:
        """What the steps taken here cost this process: images a second, seconds of each part, most memory in use."""
        parts = {f"{part}_seconds": spent for part, spent in self.watch.seconds().items()}
        memory = self.watch.memory_mb()
        known = {} if memory is None else {"memory_mb": memory}
        return {"images_per_second": self.images / seconds, **parts, **known}

    def _take_one(self, stage: Schooling, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Take step number `step` of the stage."""
        # Dropout and the like draw from torch's generator: seeded by the step, they need no state in a checkpoint.
        torch.manual_seed(_draws(stage, step))
        factor = stage.recipe.factor(step / stage.steps, stage.epochs)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        encode = encoder(stage.method, stage.precision, self._total.device)
        before = self._total.clone()
        for streams in [stage.streams] if stage.updates == "joint" else [[s] for s in reversed(stage.streams)]:
            with self.watch.part("data"):
                items = [(stream.at(step, stage.progress(step)), stream.share(step)) for stream in streams]
            self.images += sum(item.images for item, _ in items)
            losses = self._losses(stage, encode, items)
            self._total += _update(stage.method, optimizer, stage.recipe, losses, self.watch)
        self._values.append(self._total - before)

    def _losses(
        self, stage: Schooling, encode: Encoder, items: Sequence[tuple[Task | Batch, float]]
    ) -> Iterator[list[tuple[Loss, float]]]:
        """The losses of a step, part by part, each with its share in the loss of all processes."""
        shares = [[(part, share * of) for part, of in item.parts(stage.accumulate)] for item, share in items]
        for parts in zip_longest(*shares):
            with self.watch.part("forward"):
                losses = [(loss_of(stage.method, part.encoded(encode)), share) for part, share in filter(None, parts)]
            for loss, _ in losses:
                self.losses.add(loss)
                self._had_gradient |= loss.value.requires_grad
            yield losses


def _draws(stage: Schooling, step: int) -> int:
    """The seed of what this process draws in a step; the first process's is that of one process."""
    others = [] if current().first else [current().number]
    return random.key("step", stage.seed, stage.name, step, *others) & 0x7FFFFFFF


def _update(
    method: Method,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    passes: Iterable[Sequence[tuple[Loss, float]]],
    watch: Stopwatch,
) -> Tensor:
    """Update the parameters by the sum of some losses, unless it has no gradient; returns this process's part of it.

    Each pass has losses of what this process sees, with their shares in the loss of all processes; its gradients are
    computed before the next pass begins.
    """
    total, learned = torch.zeros(()), False
    optimizer.zero_grad(set_to_none=True)
    for losses in passes:
        loss = torch.stack([loss.value * share for loss, share in losses]).sum()
        if loss.requires_grad:
            with watch.part("backward"):
                loss.backward()
            learned = True
        total = loss.detach() + total.to(loss.device)
    if learned:
        with watch.part("update"):
            sum_gradients(method.parameters(), current())
            recipe.clip_gradients(method.parameters())
            optimizer.step()
    return total


def _train_mode(method: Method, frozen_backbone: bool, frozen_bn: bool, dropout: bool) -> None:
    """Set training mode, but of the backbone leave all of it, or its batch-norms or its dropout, in evaluation mode."""
    method.train()
    if frozen_backbone:
        method.backbone.eval()
    if frozen_bn:
        for module in method.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    if not dropout:
        for module in method.backbone.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
