"""How far a stage is and how long it takes: on its progress bar, and in words for the log."""

from __future__ import annotations

import logging
import time

from tqdm import tqdm

from ..progress import duration

log = logging.getLogger("fiveway")

TIMED_SECONDS = 3.0  # of steps, before their speed says anything
TIMED_STEPS = 3
SHORT = 60.0  # seconds; nobody needs to be warned of less


class StageClock:
    """Times the epochs of a stage from where it starts or goes on, and on a CPU its first steps.

    The first step is not timed: it also pays for memory and compilation.
    """

    def __init__(self, stage: str, epochs: int, steps: int, epoch: int, bar: tqdm, on_cpu: bool) -> None:
        """The stage goes on after `epoch` of its `epochs`, each of so many `steps`; `bar` counts them."""
        self._bar = bar
        self._stage, self._first, self._epochs = stage, epoch, epochs
        self._steps = (epochs - epoch) * steps
        self._began = self._epoch_began = time.perf_counter()
        self._timed_from: float | None = None
        self._taken, self._forecast = 0, not on_cpu
        self._name_epoch(epoch)

    def step(self) -> None:
        """Count a step. Says once how long the stage will take on a CPU, unless that is short."""
        self._taken += 1
        self._bar.update()
        if self._forecast:
            return
        if self._timed_from is None:
            self._timed_from = time.perf_counter()
        timed, seconds = self._taken - 1, time.perf_counter() - self._timed_from
        if timed < TIMED_STEPS or seconds < TIMED_SECONDS:
            return
        self._forecast = True
        of_step = seconds / timed
        left = of_step * (self._steps - self._taken)
        if left >= SHORT:
            log.info(
                "stage %s: %d steps of %.2g s on this CPU take about %s, validation apart",
                *(self._stage, self._steps, of_step, duration(left)),
            )

    def show(self, **numbers: str) -> None:
        """Show numbers beside the bar."""
        self._bar.set_postfix(numbers)

    def _name_epoch(self, epoch: int) -> None:
        """Write the stage and the epoch that follows `epoch` beside the bar."""
        self._bar.set_description(f"{self._stage} epoch {min(epoch + 1, self._epochs)}/{self._epochs}")

    def epoch(self, epoch: int) -> str:
        """What an epoch that has just ended took, validation included, and what those after it will."""
        self._name_epoch(epoch)
        now = time.perf_counter()
        taken, self._epoch_began = now - self._epoch_began, now
        left = (now - self._began) / (epoch - self._first) * (self._epochs - epoch)
        return duration(taken) + (f", about {duration(left)} left" if left else "")
