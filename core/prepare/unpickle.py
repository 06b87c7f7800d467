"""Read pickles that strangers made: they may hold data, and call nothing."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError


def _latin1(text: str, encoding: str) -> bytes:
    """The `_codecs.encode` that old protocols call to store bytes, which accepts any codec there."""
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
    """A pickle asks for something that is not data; the text names it."""


class _DataUnpickler(pickle.Unpickler):
    """Unpickles arrays, strings, bytes, numbers, lists and dicts, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise Refused(f"{module}.{name}")
        return _ALLOWED[module, name]


def load_pickle(path: Path) -> Any:
    """The data in a pickle file; strings of Python 2 are read as latin-1.

    Raises:
        UserError: where the file is damaged, or asks for anything but data.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # Pickles as old as CIFAR's pass dtype flags as integers, which NumPy complains about.
            warnings.simplefilter("ignore")
            return _DataUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check --from.") from error
    except Refused as error:
        raise UserError(
            f"{path} is refused: it asks for {error}, and only arrays, strings, numbers, lists and dicts are read; "
            "get the file from its publisher."
        ) from error
    except DAMAGE as error:
        raise UserError(f"{path} is not a readable pickle, perhaps cut short; get the file again.") from error
