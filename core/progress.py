"""Progress bars for people at a terminal, which logs and pipes get none of, and durations in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

_visible = ContextVar("visible", default=True)


@contextmanager
def hidden() -> Iterator[None]:
    """Inside this block no new bar appears: for short work that happens again and again, such as validation."""
    token = _visible.set(False)
    try:
        yield
    finally:
        _visible.reset(token)


def bar(total: int, unit: str, initial: int = 0, name: str = "") -> tqdm:
    """A bar that counts up to `total` of `unit`; it appears at a terminal only, and not inside `hidden`."""
    return tqdm(
        desc=name or None,
        total=total,
        initial=initial,
        unit=f" {unit}",
        disable=None if _visible.get() else True,
        leave=False,
        dynamic_ncols=True,
        smoothing=0.05,
    )


def duration(seconds: float) -> str:
    """`3.2 s`, `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
