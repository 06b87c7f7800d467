"""The one trainer: runs any stage of any method, and resumes it bit for bit."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .. import progress as bars
from ..errors import UserError
from ..files import write_file
from ..kinds import misfit
from ..locks import Lock
from ..methods.base import Method
from ..ranks import current
from ..report.run import RunFolder
from . import checkpoint
from .stage_run import Stage, StageRun

log = logging.getLogger("fiveway")


class Trainer:
    """Runs the stages of a config in order; each starts from the checkpoint that the stage before it selected.

    The checkpoint of a stage before the last is kept under checkpoint/pretrained/. Its name is a hash of everything
    that shaped it, and every config with the same stage reuses it.

    Several processes train one network: each takes its part of a step's tasks or images, batch-norm sees those of all,
    and gradients are summed, so that every process has the same weights. The first one writes.
    """

    def __init__(
        self, stages: Sequence[Stage], run: RunFolder, device: torch.device, save_every: float = math.inf
    ) -> None:
        """`save_every` seconds of an epoch last.pth is written anew, beside after each epoch."""
        self._stages, self._run, self._device = stages, run, device
        self._ranks, self._save_every = current(), save_every
        self._last: dict[str, Any] | None = None  # what the run goes on from

    def rehearse(self) -> None:
        """Validate every stage on one episode, so that what cannot work fails before anything is written."""
        with bars.hidden():
            for stage in self._stages:
                stage.evaluator.rehearse(stage.method)

    def resume(self) -> None:
        """Have `fit` go on from last.pth, where there is one.

        Raises:
            UserError: where it is damaged, or was learned from other images.
        """
        if not self._run.last.is_file():
            if self._run.last.exists():
                raise UserError(f"{self._run.last} is no file; remove it, or give --tag NAME to train anew.")
            log.info("nothing to resume in %s: the training starts", self._run.path)
            return
        self._last = checkpoint.load(self._run.last)
        progress, kinds = self._last.get("progress"), {"epoch": int, "best_accuracy": float, "records": int}
        known = isinstance(progress, dict) and progress.keys() == kinds.keys() and not misfit(progress, kinds)
        if not known or not isinstance(self._last.get("optimizer"), dict) or "stage" not in self._last["meta"]:
            raise UserError(
                f"{self._run.last} is damaged: it does not say how far it is; give --tag NAME to train anew."
            )
        before, now = self._last["meta"].get("data", {}), self._stages[-1].meta["data"]
        changed = [split for split in now if before.get(split, now[split]) != now[split]]
        if changed:
            named = [f"images of the {name} split" if name in ("train", "val") else name for name in changed]
            raise UserError(
                f"{self._run.last} was learned from other {' and '.join(named)} than there are now (their hashes "
                "differ); put the former ones back, or give --tag NAME to train anew."
            )

    def refuse_longer(self, epochs: int) -> None:
        """After `resume`, refuse to go on for more than the `epochs` of the last stage that the run was begun with.

        Raises:
            UserError: where the learning rate or the loss depends on their number, or where the run has validated at
                its last epoch, at which a longer one would not have.
        """
        stage = self._stages[-1]
        chooses = stage.select == "val" or stage.keep > 1
        is_at_end = self._last is not None and self._last["progress"]["epoch"] == epochs
        if stage.recipe.schedule == "cosine":
            reason = f"STAGE.{stage.name}.OPTIM.SCHEDULE is cosine, whose rates depend on the number of epochs"
        elif stage.method.follows_progress:
            reason = f"the loss of {stage.method.name} depends on the share of the epochs that is done"
        elif chooses and is_at_end and epochs % stage.val_every:
            reason = f"it validated at its end, epoch {epochs}, which is no multiple of VAL.EVERY ({stage.val_every})"
        else:
            return
        raise UserError(
            f"STAGE.{stage.name}.EPOCHS is {stage.epochs}, more than the run in {self._run.path} was begun with, and "
            f"{reason}; give --tag NAME to train anew."
        )

    def fit(self) -> Path:
        """Train what is not trained yet, after `resume`; returns the checkpoint that the last stage selected.

        Where last.pth belongs to a later stage, it holds all that this stage took from the earlier ones. They are
        skipped, unless the method also reads the network of the stage before (`reads_previous`).
        """
        last = self._last
        records = last["progress"]["records"] if last is not None else 0
        resumed = self._number(last)
        skipped = 0 if self._stages[resumed].method.reads_previous else resumed
        previous: Method | None = None
        for number, stage in enumerate(self._stages[skipped:], skipped):
            with _alone(stage):
                selected = stage.shared
                if selected is not None and self._ranks.gather(selected.is_file())[0]:
                    log.info("stage %s: reusing %s", stage.name, selected)
                else:
                    unfinished = last if last is not None and last["meta"]["stage"] == stage.name else None
                    records = self._train(stage, previous, unfinished, records, resumable=number >= resumed)
                    with self._ranks.first_before_others():
                        selected = self._share(stage)
            checkpoint.restore(stage.method, checkpoint.load(selected)["method"], selected)
            previous = stage.method
        return self._stages[-1].best

    def _number(self, last: dict[str, Any] | None) -> int:
        """The number of the stage that last.pth belongs to; 0 without one."""
        names = [stage.name for stage in self._stages]
        return names.index(last["meta"]["stage"]) if last is not None and last["meta"]["stage"] in names else 0

    def _share(self, stage: Stage) -> Path:
        """Move a complete stage's checkpoint to where other configs find it."""
        if stage.shared is None or not self._ranks.first:
            return stage.shared or stage.best
        if not stage.best.is_file():
            raise UserError(
                f"{stage.shared}, the network of stage {stage.name}, was removed, and no steps of it are left; put it "
                "back, or give --tag NAME to train anew."
            )
        stage.shared.parent.mkdir(parents=True, exist_ok=True)
        with stage.best.open("rb") as best:  # it may lie on another disk
            write_file(stage.shared, lambda file: shutil.copyfileobj(best, file))
        stage.best.unlink()
        return stage.shared

    def _train(
        self, stage: Stage, previous: Method | None, unfinished: dict[str, Any] | None, records: int, resumable: bool
    ) -> int:
        """Run one stage from its start, or from where `unfinished`, the content of last.pth, was saved.

        `records` counts the lines of metrics.jsonl that earlier stages wrote; returns how many there are afterwards.
        A stage that is not `resumable` leaves last.pth alone: that of a later stage would be lost.
        """
        if previous is not None:
            log.info("stage %s starts from %s", stage.name, stage.method.start_from(previous))
        if stage.init:
            log.info("stage %s: %s", stage.name, stage.init)
        before = self._stages[: self._stages.index(stage)]
        steps_before = sum(earlier.epochs * earlier.steps for earlier in before)
        save_every = self._save_every if resumable else None
        return StageRun(stage, self._run, self._device, unfinished, records, steps_before, save_every).train()


@contextmanager
def _alone(stage: Stage) -> Iterator[None]:
    """Train a shared stage in one process at a time: the others wait, and then find it complete."""
    if stage.shared is None or stage.shared.is_file() or not current().first:
        yield
        return
    lock = Lock(stage.shared.with_name(f".{stage.shared.name}.lock"))
    with lock.waited_for(f"stage {stage.name}: waiting for %s, which trains it"):
        yield
