"""The one trainer: runs any stage of any method, and resumes it bit for bit."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import progress as bars
from ..errors import UserError
from ..kinds import misfit
from ..locks import Lock
from ..methods.base import Method
from ..ranks import current
from ..report.run import RunFolder
from ..report.stats import Interval
from ..stopping import undisturbed, why
from . import checkpoint
from .evaluator import Evaluator
from .finite import NotFinite, refuse_state
from .scalars import Scalars
from .stage_clock import StageClock
from .steps import Epoch, Schooling, every
from .synced_norm import sync_norms

log = logging.getLogger("fiveway")


@dataclass(frozen=True, kw_only=True)
class Stage(Schooling):
    """One stage, ready to run; its method is freshly initialised."""

    evaluator: Evaluator  # on the val split
    val_episodes: int
    val_every: int  # epochs
    select: str  # val: the best epoch on the val split; last: the last one
    best: Path  # where the selected checkpoint goes
    shared: Path | None  # where other configs look for it once the stage is complete
    meta: dict[str, Any]  # what a checkpoint says about itself
    init: str = ""  # line about weights taken from a file


@dataclass
class _Progress:
    """How far a stage has come; kept in last.pth."""

    epoch: int = 0
    best_accuracy: float = -1.0
    records: int = 0  # lines of metrics.jsonl


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
                stage.evaluator.run(stage.method, 1)

    def resume(self) -> None:
        """Have `fit` go on from last.pth, where there is one.

        Raises:
            UserError: where it is damaged, or was learned from other images.
        """
        if not self._run.last.is_file():
            if self._run.last.exists():
                raise UserError(f"{self._run.last} is no file; remove it, or give --tag NAME to train anew.")
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
            raise UserError(
                f"{self._run.last} was learned from other images of the {' and the '.join(changed)} split than "
                "DATASET.ROOT holds now (pixels_sha256 or names differ); put the former data back, or give --tag NAME "
                "to train anew."
            )

    def refuse_longer(self) -> None:
        """Refuse to go on with a run for more epochs than it was begun with, where that changes the earlier ones.

        Raises:
            UserError: where the learning rate or the loss of the last stage depends on its number of epochs.
        """
        stage = self._stages[-1]
        if stage.recipe.schedule == "cosine":
            reason = f"STAGE.{stage.name}.OPTIM.SCHEDULE is cosine, whose rates depend on the number of epochs"
        elif stage.method.follows_progress:
            reason = f"the loss of {stage.method.name} depends on the share of the epochs that is done"
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
        stage.shared.parent.mkdir(parents=True, exist_ok=True)
        return stage.best.replace(stage.shared)

    def _train(
        self, stage: Stage, previous: Method | None, unfinished: dict[str, Any] | None, records: int, resumable: bool
    ) -> int:
        """Run one stage from its start, or from the epoch at which `unfinished`, the content of last.pth, was saved.

        `records` counts the lines of metrics.jsonl that earlier stages wrote; returns how many there are afterwards.
        A stage that is not `resumable` leaves last.pth alone: that of a later stage would be lost.
        """
        method = stage.method
        if previous is not None:
            log.info("stage %s starts from %s", stage.name, method.start_from(previous))
        if stage.init:
            log.info("stage %s: %s", stage.name, stage.init)
        method.to(self._device)
        if not self._ranks.alone:
            sync_norms(method)
        optimizer = stage.recipe.optimizer(method.param_groups(stage.recipe.lr))
        progress = _Progress(records=records)
        if unfinished is not None:
            checkpoint.restore(method, unfinished["method"], self._run.last)
            try:
                optimizer.load_state_dict(unfinished["optimizer"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(
                    f"{self._run.last} is damaged: its optimizer is another one ({error}); give --tag NAME "
                    "to train anew."
                ) from error
            progress = _Progress(**unfinished["progress"])
            log.info("stage %s: resuming after epoch %d of %d", stage.name, progress.epoch, stage.epochs)
        began = (unfinished or {}).get("partial")  # of an epoch that was stopped
        done, total = progress.epoch * stage.steps, stage.epochs * stage.steps
        scalars = Scalars(self._run, progress.records, done, self._steps_before(stage))
        with scalars, bars.bar(total, "steps", initial=done + (began["step"] if began else 0)) as bar:
            clock = StageClock(stage.name, stage.epochs, stage.steps, progress.epoch, bar, self._device.type == "cpu")
            while progress.epoch < stage.epochs:
                epoch, before = Epoch(progress.epoch, self._device, began), asdict(progress)
                began = None
                savable = resumable and self._ranks.alone
                save = partial(self._save_within, stage, optimizer, before, epoch)
                try:
                    saver = every(self._save_every, save) if savable else lambda: None
                    self._epoch(stage, optimizer, progress, epoch, scalars, saver, clock)
                except KeyboardInterrupt as stop:
                    if savable and epoch.is_between_steps and epoch.step:
                        save()
                        log.info("stopped by %s after step %d of epoch %d", why(stop), epoch.step, epoch.number + 1)
                    raise
                if resumable:
                    state = {"optimizer": optimizer.state_dict(), "progress": asdict(progress)}
                    with undisturbed():
                        self._save(self._run.last, stage, **state)
        return progress.records

    def _save_within(
        self, stage: Stage, optimizer: torch.optim.Optimizer, before: dict[str, Any], epoch: Epoch
    ) -> None:
        """Write last.pth in the middle of an epoch; `before` is the progress at its start."""
        with undisturbed():
            state = {"optimizer": optimizer.state_dict(), "progress": before, "partial": epoch.state()}
            self._save(self._run.last, stage, **state)

    def _steps_before(self, stage: Stage) -> int:
        """Steps of the stages before one."""
        return sum(before.epochs * before.steps for before in self._stages[: self._stages.index(stage)])

    def _epoch(
        self,
        stage: Stage,
        optimizer: torch.optim.Optimizer,
        progress: _Progress,
        epoch: Epoch,
        scalars: Scalars,
        after_step: Callable[[], None],
        clock: StageClock,
    ) -> None:
        """Train an epoch, validate, keep the checkpoint where it is the best, and write the record."""
        start, first = time.perf_counter(), epoch.step
        loss = epoch.take(stage, optimizer, clock, after_step)
        last_step = (progress.epoch + 1) * stage.steps - 1
        record: dict[str, Any] = {
            "stage": stage.name,
            "epoch": progress.epoch + 1,
            "step": (progress.epoch + 1) * stage.steps,
            "loss": loss,
            **epoch.losses.train_accuracy(),
            "lr": optimizer.param_groups[0]["lr"],
            "steps_per_second": (stage.steps - first) / (time.perf_counter() - start),
            **epoch.losses.scalars(),
            **stage.method.scalars(stage.progress(last_step)),
        }
        progress.epoch += 1
        last = progress.epoch == stage.epochs
        with _diverged_at(record):
            refuse_state(stage.method.state_dict())
            validated = progress.epoch % stage.val_every == 0 or last
            val = _validate(stage) if validated else None
        if val is not None:
            record |= {"val": val.mean, "val_ci95": val.ci95}
            if val.mean > progress.best_accuracy:
                progress.best_accuracy = val.mean
                if stage.select == "val":
                    self._save(stage.best, stage, epoch=progress.epoch, val=val.mean)
            clock.show(loss=f"{loss:.3f}", val=f"{val.mean:.2f}", best=f"{progress.best_accuracy:.2f}")
        if last and stage.select == "last":
            self._save(stage.best, stage, epoch=progress.epoch, val=record["val"])
        progress.records += 1
        scalars.add(record, stage.epochs, clock.epoch(progress.epoch))

    def _save(self, path: Path, stage: Stage, **more: Any) -> None:
        if self._ranks.first:
            checkpoint.save(path, {"method": stage.method.state_dict(), "meta": stage.meta, **more})


def _validate(stage: Stage) -> Interval:
    """The accuracy on the val split."""
    with bars.hidden():
        return stage.evaluator.run(stage.method, stage.val_episodes).interval


@contextmanager
def _diverged_at(record: Mapping[str, Any]) -> Iterator[None]:
    """Say after which step, and at which rate, a network diverged."""
    try:
        yield
    except NotFinite as error:
        where = f"STAGE.{record['stage']}: after step {record['step']} (epoch {record['epoch']}, rate {record['lr']:g})"
        raise UserError(f"{where} {error}") from error


@contextmanager
def _alone(stage: Stage) -> Iterator[None]:
    """Train a shared stage in one process at a time: the others wait, and then find it complete."""
    if stage.shared is None or stage.shared.is_file() or not current().first:
        yield
        return
    lock = Lock(stage.shared.with_name(f".{stage.shared.name}.lock"))
    with lock.waited_for(f"stage {stage.name}: waiting for %s, which trains it"):
        yield
