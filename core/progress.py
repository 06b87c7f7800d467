"""Progress bars for people at a terminal; logs and pipes get none."""

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


def bar(total: int, unit: str, initial: int = 0) -> tqdm:
    """A bar that counts up to `total` of `unit`; it appears at a terminal only, and not inside `hidden`."""
    return tqdm(
        total=total,
        initial=initial,
        unit=f" {unit}",
        disable=None if _visible.get() else True,
        leave=False,
        dynamic_ncols=True,
        smoothing=0.05,
    )
