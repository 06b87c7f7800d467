"""Progress bars for people at a terminal, which logs and pipes get none of, and durations in words."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from typing_extensions import Buffer

BYTES = "B"

_visible = ContextVar("visible", default=True)


@contextmanager
def hidden() -> Iterator[None]:
    """Inside this block no new bar appears: for short work that happens again and again, such as validation."""
    token = _visible.set(False)
    try:
        yield
    finally:
        _visible.reset(token)


def bar(total: int | None, unit: str, initial: int = 0, name: str = "") -> tqdm:
    """A bar that counts up to `total` of `unit`; it appears at a terminal only, and not inside `hidden`.

    Where `total` is not known it only counts. Of the unit `BYTES` it counts thousands, millions and so on.
    """
    return tqdm(
        desc=name or None,
        total=total,
        initial=initial,
        unit=f" {unit}",
        unit_scale=unit == BYTES,
        disable=None if _visible.get() else True,
        leave=False,
        dynamic_ncols=True,
        smoothing=0.05,
    )


@contextmanager
def reading(path: str | Path, name: str) -> Iterator[io.BufferedReader[Any]]:
    """Open a file for reading its bytes; a bar called `name` shows how far it is read."""
    with bar(os.path.getsize(path), BYTES, name=name) as counter, io.BufferedReader(_Followed(path, counter)) as file:
        yield file


class _Followed(io.FileIO):
    """A file whose place is shown by a bar."""

    def __init__(self, path: str | Path, counter: tqdm) -> None:
        super().__init__(path)
        self._counter = counter

    def readinto(self, buffer: Buffer) -> int:
        """Read into `buffer` and move the bar to the place in the file."""
        count = super().readinto(buffer)
        self._counter.update(self.tell() - self._counter.n)
        return count


def duration(seconds: float) -> str:
    """`3.2 s`, `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
