"""Reading files that strangers made: pickles that may only hold data, archives that never reach the disk."""

from __future__ import annotations

import io
import lzma
import pickle
import tarfile
import warnings
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from ..errors import UserError

MEMBER_LIMIT = 1 << 28  # bytes; the largest file we look for holds 155 MB


def _latin1(text: str, encoding: str) -> bytes:
    """What old pickle protocols call to store bytes, without the choice of codec."""
    return text.encode("latin1")


# What a pickle may call, by the names that old and new NumPy write into it.
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = np.empty(0).__reduce__()[0]
    _ALLOWED[f"{_core}.multiarray", "scalar"] = np.float64(0).__reduce__()[0]
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = np.empty(0).__reduce_ex__(5)[0]

# Damaged bytes make the unpickler fail in all these ways.
DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    RuntimeError,
)


class Refused(Exception):
    """A pickle asks for something that is not data."""


class _DataUnpickler(pickle.Unpickler):
    """Unpickles arrays, strings, bytes, numbers, lists and dicts, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise Refused(f"{module}.{name}")
        return _ALLOWED[module, name]


def load_pickle(content: bytes, origin: str) -> Any:
    """The data in a pickle; `origin` names it in errors. Python 2 strings are read as latin-1."""
    with warnings.catch_warnings():
        # Pickles as old as CIFAR's pass dtype flags as integers, which NumPy complains about.
        warnings.simplefilter("ignore")
        return _load(io.BytesIO(content), origin)


def _load(file: BinaryIO, origin: str) -> Any:
    """The data in an open pickle."""
    try:
        return _DataUnpickler(file, encoding="latin1").load()
    except Refused as error:
        raise UserError(
            f"{origin} is refused: it asks for {error}, and only arrays, strings, numbers, lists and dicts are read; "
            "get the file from its publisher."
        ) from error
    except DAMAGE as error:
        raise UserError(f"{origin} is not a readable pickle, perhaps cut short; get the file again.") from error


def load_pickle_file(path: Path) -> Any:
    """The data in a pickle file, without its bytes in memory beside it."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _load(file, str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check --from.") from error


def read_archive(archive: Path, wanted: tuple[str, ...], limit: int = MEMBER_LIMIT) -> dict[str, bytes]:
    """Contents of the regular files of a tar archive (gz, xz, bz2 or plain) whose base name is wanted."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name not in wanted or name in found or not member.isreg():
                    continue
                if member.size > limit:
                    raise UserError(
                        f"{archive} holds {member.name} of {member.size} bytes, more than the {limit} allowed; "
                        "get the archive from its publisher."
                    )
                found[name] = tar.extractfile(member).read()
            while tar.fileobj.read(1 << 20):  # the checksum is behind the last byte
                pass
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        if getattr(error, "errno", None):  # the disk's fault, not the archive's
            raise
        raise UserError(
            f"{archive} is not a readable tar archive (.tar.gz, .tar.xz), perhaps cut short; get it again, "
            "or unpack it and give the folder."
        ) from error
    return found
