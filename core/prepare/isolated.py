"""Read a stranger's pickle in a process of its own: one that crashes or eats memory takes nothing else with it.

The child has limits of memory and time, may write no file, and answers with plain JSON, behind which the bytes of the
arrays follow. The parent unpickles nothing.

    python -m core.prepare.isolated data|index PATH
"""

from __future__ import annotations

import io
import json
import math
import os
import resource
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from ..errors import UserError
from ..paths import PACKAGE
from .pickle_data import DAMAGE, Array, Refused, read_data

MEMORY = (1 << 30, 8)  # bytes, and bytes more for each byte of the file
SECONDS = (10.0, 1e-6)  # of the processor, and more for each byte of the file
WAIT = 6  # times as long by the clock, on a busy machine
SHARED = 10_000  # values beyond one a byte: lists that share a list
REPEATS = (1 << 20, 64)  # characters, and characters more for each byte: names that stand for many rows
DEPTH = 50
UNREADABLE = (EOFError, ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError, MemoryError)
LONGEST = 1 << 32  # bytes of an answer, its arrays apart
LENGTH = 8  # bytes of the length of the answer

ANSWERS = {
    "refused": "is refused: it asks for {}, and only arrays, strings, numbers, lists and dicts are read; get the file "
    "from its publisher.",
    "damaged": "is not a readable pickle, perhaps cut short; get the file again.",
    "memory": "needs more memory than a file of its size may; get it from its publisher.",
    "time": "takes longer to read than a file of its size may; get it from its publisher.",
    "crash": "makes its reader fail (signal {}); get it from its publisher.",
}


def read(kind: str, path: Path) -> Any:
    """What the pickle in a file holds: plain values, lists, dicts and arrays; `kind` is data or index.

    Raises:
        UserError: where it cannot be read, is damaged, asks for anything but data, or for too much.
    """
    size = file_size(path)
    seconds = SECONDS[0] + SECONDS[1] * size
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent), "OPENBLAS_NUM_THREADS": "1"}
    nothing = subprocess.DEVNULL
    words, pipe = _command(kind, path), subprocess.PIPE
    with subprocess.Popen(words, stdin=nothing, stdout=pipe, stderr=nothing, env=environment) as child:
        clock = threading.Timer(WAIT * seconds, child.kill)
        clock.start()
        try:
            answer = _received(cast(BinaryIO, child.stdout))
        except UNREADABLE:
            answer = None
            with suppress(subprocess.TimeoutExpired):
                child.wait(1)  # it is about to end, and how tells why
        finally:
            clock.cancel()
            child.kill()
    if answer is None:
        raise UserError(f"{path} {_cause(child.returncode)}")
    return _told(path, *answer)


def _command(kind: str, path: Path) -> list[str]:
    """The words that start the child."""
    return [sys.executable, "-m", f"{__package__}.isolated", kind, os.fspath(path)]


def _told(path: Path, kind: str, content: Any) -> Any:
    """The content of an answer, or the error that it is."""
    if kind != "ok":
        raise UserError(f"{path} {ANSWERS[kind].format(content)}")
    return content


def file_size(path: Path) -> int:
    """The size of a regular file.

    Raises:
        UserError: where it is not there, or something else.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check --from.") from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is no regular file; check --from.")
    return status.st_size


def read_here(kind: str, path: Path) -> Any:
    """As `read`, in this process; for files that are trusted, and for tests."""
    file_size(path)
    sent = io.BytesIO()
    _send(sent, *_answer(kind, path))
    sent.seek(0)
    return _told(path, *_received(sent))


def _cause(code: int | None) -> str:
    """Why a child gave no answer."""
    signal = -(code or 0)
    kind = "time" if signal in (9, 24) else "crash"  # SIGKILL and SIGXCPU
    return ANSWERS[kind].format(signal if signal > 0 else "none")


def _answer(kind: str, path: Path) -> tuple[str, Any, list[np.ndarray]]:
    """The kind of an answer, its content, and the arrays behind it."""
    from .pickle_index import read_index

    try:
        with path.open("rb") as file:
            content = read_data(file) if kind == "data" else read_index(file)
        writer = _Writer(path.stat().st_size)
        return "ok", writer.tagged(content, 0), writer.arrays
    except Refused as error:
        return "refused", str(error), []
    except MemoryError:
        return "memory", "", []
    except (*DAMAGE, OSError):
        return "damaged", "", []


def _send(stream: BinaryIO, kind: str, content: Any, arrays: list[np.ndarray]) -> None:
    """Write an answer, and the bytes of the arrays behind it."""
    head = {"answer": [kind, content], "arrays": [[array.dtype.str, array.shape] for array in arrays]}
    text = json.dumps(head).encode()
    stream.write(len(text).to_bytes(LENGTH, "little") + text)
    for array in arrays:
        if array.size:
            stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    stream.flush()


class _Writer:
    """Turns values into what JSON holds: lists that begin with the kind of the value."""

    def __init__(self, size: int) -> None:
        """`size` of the file bounds how much is written."""
        self.arrays: list[np.ndarray] = []
        self._number: dict[int, int] = {}  # of an array, by identity
        self._values_left, self._characters_left = size + SHARED, REPEATS[0] + REPEATS[1] * size

    def tagged(self, value: Any, depth: int) -> Any:
        """A value for JSON."""
        self._values_left -= 1
        self._characters_left -= len(value) if isinstance(value, str | bytes | bytearray) else 0
        if min(self._values_left, self._characters_left) < 0:
            raise MemoryError
        if depth > DEPTH:
            raise ValueError("nested too deeply")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, bytes | bytearray):
            return ["b", value.decode("latin1")]
        if isinstance(value, Array):
            return ["a", self._place(value)]
        if isinstance(value, list | tuple):
            return ["l", *(self.tagged(item, depth + 1) for item in value)]
        if isinstance(value, dict):
            if not all(key is None or isinstance(key, str | bytes | int | float) for key in value):
                raise Refused("a dict whose keys are neither text nor numbers")
            return ["d", *([self.tagged(key, depth), self.tagged(item, depth + 1)] for key, item in value.items())]
        raise Refused(f"a {type(value).__name__}")

    def _place(self, array: Array) -> int:
        """The number of an array; one that occurs twice is sent once."""
        if id(array) not in self._number:
            self._number[id(array)] = len(self.arrays)
            self.arrays.append(array.value)
        return self._number[id(array)]


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
    """The value that `_Writer.tagged` described."""
    if not isinstance(value, list):
        return value
    kind, *items = value
    if kind == "b":
        return items[0].encode("latin1")
    if kind == "a":
        return arrays[items[0]]
    if kind == "l":
        return [_plain(item, arrays) for item in items]
    return {_plain(key, arrays): _plain(item, arrays) for key, item in items}


def _received(stream: BinaryIO) -> tuple[str, Any]:
    """The kind and the content of an answer."""
    head = json.loads(_exactly(stream, int.from_bytes(_exactly(stream, LENGTH), "little")))
    arrays = []
    for dtype, shape in head["arrays"]:
        array = np.empty(math.prod(shape) * np.dtype(dtype).itemsize, np.uint8)
        if array.size and stream.readinto(array.data) != array.size:  # type: ignore[attr-defined]
            raise EOFError
        arrays.append(array.view(dtype).reshape(shape) if array.size else np.empty(shape, dtype))
    kind, content = head["answer"]
    return kind, _plain(content, arrays) if kind == "ok" else content


def _exactly(stream: BinaryIO, count: int) -> bytes:
    if count > LONGEST:
        raise ValueError("too long an answer")
    data = stream.read(count)
    if len(data) < count or not count:
        raise EOFError
    return data


def _limit(size: int) -> None:
    """Limit what this process may use for a file of `size` bytes."""
    memory, seconds = MEMORY[0] + MEMORY[1] * size, math.ceil(SECONDS[0] + SECONDS[1] * size)
    limits = {resource.RLIMIT_AS: memory, resource.RLIMIT_CPU: seconds, resource.RLIMIT_CORE: 0}
    for kind, most in (limits | {resource.RLIMIT_FSIZE: 0}).items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, hard))


def main() -> None:
    """What the child does."""
    kind, path = sys.argv[1], Path(sys.argv[2])
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit(path.stat().st_size)
    try:
        _send(output, *_answer(kind, path))
    except MemoryError:
        _send(output, "memory", "", [])
    os._exit(0)  # freeing what a bomb left may take long


if __name__ == "__main__":
    main()
