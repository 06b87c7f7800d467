"""A stage in training: epochs of steps, validation, and what is written of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import progress as bars
from ..errors import UserError
from ..methods.base import Method
from ..ranks import current
from ..report.run import RunFolder
from ..report.stats import Interval
from ..stopping import undisturbed, why
from . import checkpoint
from .average import Average
from .evaluator import Evaluator
from .finite import NotFinite, refuse_state
from .kept_epochs import keep
from .scalars import Scalars
from .stage_clock import StageClock
from .steps import Epoch, Schooling
from .synced_norm import sync_norms

log = logging.getLogger("fiveway")


@dataclass(frozen=True, kw_only=True)
class Stage(Schooling):
    """One stage, ready to run; its method is freshly initialised."""

    evaluator: Evaluator  # on the val split
    val_episodes: int
    val_every: int  # epochs
    select: str  # val: the best epoch on the val split; last: the last one
    average: float  # decay of the averaged weights; 0 = the weights as they are
    keep: int  # epochs whose checkpoints are kept, the best on the val split; 1 = `best` alone
    best: Path  # where the selected checkpoint goes
    shared: Path | None  # where other configs look for it once the stage is complete
    meta: dict[str, Any]  # what a checkpoint says about itself
    init: str = ""  # line about weights taken from a file


@dataclass
class Progress:
    """How far a stage has come; kept in last.pth."""

    epoch: int = 0
    best_accuracy: float = -1.0
    records: int = 0  # lines of metrics.jsonl


class StageRun:
    """Trains one stage, from its start or from where last.pth was written.

    Args:
        stage: what to train; its weights are those that it starts from.
        run: the folder of the run.
        device: where the method trains.
        unfinished: the content of last.pth, where it belongs to this stage.
        records: lines of metrics.jsonl that earlier stages wrote.
        steps_before: steps of the stages before.
        save_every: seconds of an epoch after which last.pth is written anew; None where a later stage's must stay.
    """

    def __init__(
        self,
        stage: Stage,
        run: RunFolder,
        device: torch.device,
        unfinished: dict[str, Any] | None,
        records: int,
        steps_before: int,
        save_every: float | None,
    ) -> None:
        self._stage, self._run, self._device = stage, run, device
        self._ranks, self._save_every, self._steps_before = current(), save_every, steps_before
        stage.method.to(device)
        if not self._ranks.alone:
            sync_norms(stage.method)
        self._optimizer = stage.recipe.optimizer(stage.method.param_groups(stage.recipe.lr))
        self._progress = Progress(records=records)
        self._at_start: dict[str, Any] = {}  # the progress when the present epoch began
        self._partial: dict[str, Any] | None = None  # of an epoch that was stopped
        self._average = Average(stage.method, stage.average)
        if unfinished is not None:
            self._restore(unfinished)
        self._saved_at = time.monotonic()

    def _restore(self, unfinished: dict[str, Any]) -> None:
        """Take up what last.pth holds."""
        checkpoint.restore(self._stage.method, unfinished["method"], self._run.last)
        try:
            self._optimizer.load_state_dict(unfinished["optimizer"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self._run.last} is damaged: its optimizer is another one ({error}); give --tag NAME to train anew."
            ) from error
        if self._stage.average:
            checkpoint.restore(self._average.method, unfinished.get("average", {}), self._run.last)
        self._progress = Progress(**unfinished["progress"])
        self._partial = unfinished.get("partial")
        log.info("stage %s: resuming after epoch %d of %d", self._stage.name, self._progress.epoch, self._stage.epochs)

    def train(self) -> int:
        """Train the epochs that are left; returns how many lines metrics.jsonl has afterwards."""
        stage, progress = self._stage, self._progress
        done, total = progress.epoch * stage.steps, stage.epochs * stage.steps
        scalars = Scalars(self._run, progress.records, done, self._steps_before)
        initial = done + (self._partial["step"] if self._partial else 0)
        with scalars, bars.bar(total, "steps", initial=initial) as bar:
            clock = StageClock(stage.name, stage.epochs, stage.steps, progress.epoch, bar, self._device.type == "cpu")
            while progress.epoch < stage.epochs:
                epoch, self._partial = Epoch(progress.epoch, self._device, self._partial), None
                self._at_start = asdict(progress)
                try:
                    self._epoch(epoch, scalars, clock)
                except KeyboardInterrupt as stop:
                    if self._save_every is not None and self._ranks.alone and epoch.is_between_steps and epoch.step:
                        self._save_last(epoch)
                        log.info("stopped by %s after step %d of epoch %d", why(stop), epoch.step, epoch.number + 1)
                    raise
                if self._save_every is not None:
                    self._save_last()
        return progress.records

    def _epoch(self, epoch: Epoch, scalars: Scalars, clock: StageClock) -> None:
        """Train an epoch, validate, keep the checkpoint where it is the best, and write the record."""
        stage, progress, start = self._stage, self._progress, time.perf_counter()
        loss = epoch.take(stage, self._optimizer, clock, self._average, lambda: self._after_step(epoch))
        seconds = time.perf_counter() - start
        record, cost = epoch.record(stage, self._optimizer, loss, seconds), epoch.cost(seconds)
        progress.epoch += 1
        last = progress.epoch == stage.epochs
        with _diverged_at(record):
            refuse_state(stage.method.state_dict())
            validated = progress.epoch % stage.val_every == 0 or last
            val = self._validate() if validated else None
        if val is not None:
            record |= {"val": val.mean, "val_ci95": val.ci95}
            if val.mean > progress.best_accuracy:
                progress.best_accuracy = val.mean
                if stage.select == "val":
                    self._save(stage.best, self._average.method, epoch=progress.epoch, val=val.mean)
            if stage.keep > 1 and self._ranks.first:
                save = partial(self._save, method=self._average.method, epoch=progress.epoch, val=val.mean)
                keep(self._run.path, progress.epoch, val.mean, stage.keep, save)
            clock.show(loss=f"{loss:.3f}", val=f"{val.mean:.2f}", best=f"{progress.best_accuracy:.2f}")
        if last and stage.select == "last":
            self._save(stage.best, self._average.method, epoch=progress.epoch, val=record["val"])
        progress.records += 1
        scalars.add(record, cost, stage.epochs, clock.epoch(progress.epoch))

    def _after_step(self, epoch: Epoch) -> None:
        """Write last.pth where it is time; the first process's clock says so to all."""
        if self._save_every is None or self._save_every == float("inf"):
            return
        due = time.monotonic() - self._saved_at >= self._save_every
        with undisturbed():
            if not self._ranks.alone:
                due = bool(self._ranks.add(torch.tensor(int(due and self._ranks.first))))
            if due:
                self._save_last(epoch)

    def _save_last(self, epoch: Epoch | None = None) -> None:
        """Write last.pth, after an epoch or in the middle of one."""
        with undisturbed():
            progress = self._at_start if epoch else asdict(self._progress)
            state = {"optimizer": self._optimizer.state_dict(), "progress": progress, **self._average.state()}
            state |= {"partial": epoch.state()} if epoch else {}
            self._save(self._run.last, self._stage.method, **state)
            self._saved_at = time.monotonic()

    def _save(self, path: Path, method: Method, **more: Any) -> None:
        if self._ranks.first:
            checkpoint.save(path, {"method": method.state_dict(), "meta": self._stage.meta, **more})

    def _validate(self) -> Interval:
        """The accuracy on the val split."""
        with bars.hidden():
            return self._stage.evaluator.run(self._average.method, self._stage.val_episodes).interval


@contextmanager
def _diverged_at(record: Mapping[str, Any]) -> Iterator[None]:
    """Say after which step, and at which rate, a network diverged."""
    try:
        yield
    except NotFinite as error:
        where = f"STAGE.{record['stage']}: after step {record['step']} (epoch {record['epoch']}, rate {record['lr']:g})"
        raise UserError(f"{where} {error}") from error
