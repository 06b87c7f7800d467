"""What the parts of training steps take, in seconds, without waiting for the device."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PARTS = ("data", "forward", "backward", "update")  # of a step: its images, its losses, their gradients, the optimiser


class Stopwatch:
    """Adds up the seconds of each part. On a GPU its own clock is read, and not before the sums are asked for."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a block as a part of the step."""
        if self._device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._events.append((name, start, end))
        else:
            began = time.perf_counter()
            yield
            self._seconds[name] += time.perf_counter() - began

    def seconds(self) -> dict[str, float]:
        """The seconds of each part so far."""
        if self._events:
            torch.cuda.synchronize(self._device)
        for name, start, end in self._events:
            self._seconds[name] += start.elapsed_time(end) / 1e3
        self._events.clear()
        return dict(self._seconds)

    def memory_mb(self) -> float | None:
        """The most memory in use at once: of the GPU since this watch was made, or of this process on a CPU.

        None where the system does not say.
        """
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        try:
            import resource
        except ImportError:  # not a Unix
            return None
        unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
