"""Ctrl-C, SIGTERM and SIGHUP end a command where nothing is half done.

Each becomes an exception, so that what a command began is put away on the way out. Inside `undisturbed` it waits for
the end of the block.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number  # exit code, as shells have it


class _Signals:
    """What has come, and whether it must wait."""

    blocks = 0  # undisturbed blocks around the code that runs
    came: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of all signals."""
        if self.blocks:
            self.came = number
        else:
            raise Stopped(number)


_signals = _Signals()


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn the signals into `Stopped`; one that the parent chose to ignore, such as nohup's, stays ignored."""
    _signals.came = None
    with _handled_by(_signals.handle):
        yield


@contextmanager
def at_once() -> Iterator[None]:
    """A signal that comes in this block ends the process there and then.

    For waits outside of Python, which no exception can end, before there is anything to put away.
    """
    with _handled_by(signal.SIG_DFL):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """Give all signals that are not ignored another handler for a block."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, usual in before.items():
            if usual is not signal.SIG_IGN:
                signal.signal(number, handler)
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


@contextmanager
def undisturbed() -> Iterator[None]:
    """A signal that comes in this block ends the command after it."""
    _signals.blocks += 1
    try:
        yield
    finally:
        _signals.blocks -= 1
    if _signals.came is not None and not _signals.blocks:
        number, _signals.came = _signals.came, None
        raise Stopped(number)


def why(stop: KeyboardInterrupt) -> str:
    """The name of the signal that stopped a command."""
    return str(stop) if isinstance(stop, Stopped) else "SIGINT"


def exit_code(stop: KeyboardInterrupt) -> int:
    """The exit code of a command that was stopped: 128 and the signal's number."""
    return stop.code if isinstance(stop, Stopped) else 128 + signal.SIGINT
