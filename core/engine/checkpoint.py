"""Checkpoints: tensors and plain values only, written whole or not at all, loaded with `weights_only`."""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy._core.multiarray import scalar
from torch import Tensor

from ..errors import UserError
from ..files import write_file, writing
from ..methods.base import Method
from ..objectives.base import Objective
from .finite import bad_entry

# What foreign files hold beside tensors: a command line's options, and numbers of NumPy (OpenMMLab's `meta`), under the
# names of its old and its present versions.
HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int64")),
    *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]

DEEPEST = 20  # levels of what a checkpoint says about itself


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all; it is made in memory, where no disk can be full."""
    made = io.BytesIO()
    with writing(path):
        torch.save(content, made)
    write_file(path, lambda file: file.write(made.getbuffer()))


def refuse_missing(path: Path) -> None:
    """Say that a checkpoint is not there."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}; give --checkpoint (-c) a checkpoint file (.pth), or a run folder.")


def read(path: Path, *, foreign: bool = False) -> Any:
    """What a file holds; nothing in it is executed.

    `foreign` files may be of torch's older format, which has no check sums, and may hold what is `HARMLESS`.
    """
    refuse_missing(path)
    with path.open("rb") as file:
        return _unpickled(file, path, foreign)


def _unpickled(file: BinaryIO, path: Path, foreign: bool = False) -> Any:
    """Verify the check sums of an open file and unpickle it safely; `path` names it in error messages."""
    try:
        if not foreign or zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if archive.testzip():
                    raise zipfile.BadZipFile("check sums do not match")
        file.seek(0)
        with torch.serialization.safe_globals(HARMLESS if foreign else []):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the unpickler stumbles over, the file is at fault
        reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is not a readable checkpoint ({reason}); it may be truncated, train or copy it again."
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of FiveWay."""
    return load_with_hash(path)[0]


def load_with_hash(path: Path) -> tuple[dict[str, Any], str]:
    """Read a checkpoint of FiveWay; returns its content and the SHA-256 of the file's bytes."""
    refuse_missing(path)
    data = path.read_bytes()
    content = _unpickled(io.BytesIO(data), path)
    if not isinstance(content, dict) or not all(isinstance(content.get(part), dict) for part in ("method", "meta")):
        raise UserError(f"{path} is not a checkpoint of FiveWay: it lacks the entries 'method' and 'meta'.")
    wrong = _wrong_entry(content)
    if wrong:
        raise UserError(f"{path} is not a checkpoint of FiveWay: its {wrong} is missing, or of another kind.")
    return content, hashlib.sha256(data).hexdigest()


META: dict[str, type] = {
    **{"stage": str, "final": bool, "dataset": str, "stem": str, "run": str, "seed": int, "image_size": int},
    **{"base_holdout": int, "method": dict, "backbone": dict, "measures": dict, "stores": dict, "data": dict},
}
ALWAYS = ("stage", "final", "dataset", "method", "backbone")  # entries of META that the oldest checkpoints have


def _wrong_entry(content: dict[str, Any]) -> str:
    """The first entry of a checkpoint that is missing or of another kind; "" for none."""
    state, meta = content["method"], content["meta"]
    if not all(isinstance(key, str) and is_weight(value) for key, value in state.items()):
        return "'method'"
    for key, kind in META.items():
        if not isinstance(meta.get(key, kind()), kind):
            return f"'meta' entry {key!r}"
        if not _is_plain(meta.get(key), DEEPEST):
            return f"'meta' entry {key!r}"
    return ""


def is_weight(value: Any) -> bool:
    """Whether a value is a tensor of numbers that all lie in memory: not sparse, complex, quantised, or empty."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type != "cpu":
        return False
    return not (value.is_quantized or value.is_complex()) and value.nbytes <= value.untyped_storage().nbytes()


def refuse_unnamed(meta: dict[str, Any], path: Path) -> None:
    """Refuse a checkpoint that does not say of which network it is.

    Raises:
        UserError: with the entry that is missing.
    """
    named = (key for key in ("method", "backbone") if {"NAME", "ARGS"} <= meta.get(key, {}).keys())
    missing = {*ALWAYS} - meta.keys() or {"method", "backbone"} - {*named}
    wrong = [k for k in ("method", "backbone") if not missing and not isinstance(meta[k]["ARGS"], dict)]
    wrong += [k for k in ("method", "backbone") if not missing and not isinstance(meta[k]["NAME"], str)]
    if missing or wrong:
        raise UserError(
            f"{path} is not a checkpoint of FiveWay: its 'meta' entry {min(missing or wrong)!r} is missing."
        )


def _is_plain(value: Any, levels: int) -> bool:
    """Whether a value is what JSON can hold, no more than some levels deep."""
    if isinstance(value, dict):
        return levels > 0 and all(isinstance(k, str) and _is_plain(v, levels - 1) for k, v in value.items())
    if isinstance(value, list | tuple):
        return levels > 0 and all(_is_plain(item, levels - 1) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def restore(method: Method, state: dict[str, Tensor], source: Path) -> None:
    """Load a method's whole state.

    Raises:
        UserError: with the counts of matched, missing and unexpected entries, where it does not fit exactly.
    """
    entries, state = method.state_dict(), _present_names(state, method.renamed)
    matched = sum(name in entries and entries[name].shape == value.shape for name, value in state.items())
    missing, unexpected = len(entries) - matched, len(state) - matched
    if missing or unexpected:
        raise UserError(
            f"{source} holds another network than the config asks for ({matched} entries matched, {missing} missing, "
            f"{unexpected} unexpected); use the BACKBONE, METHOD and DATASET it was trained with."
        )
    bad = bad_entry(state)
    if bad:
        raise UserError(
            f"{source} holds a network that diverged ({bad} is not finite); train it again with a lower OPTIM.LR."
        )
    method.load_state_dict(state)


def _present_names(state: dict[str, Tensor], renamed: Mapping[str, str]) -> dict[str, Tensor]:
    """A method's state with the former names of its parameters replaced by the present ones."""
    return {renamed.get(name, name): value for name, value in state.items()}


def restore_for_test(method: Method, state: dict[str, Tensor], source: Path) -> None:
    """Restore a method without its objective: predictions do not depend on it, and its size may on the training way."""
    method.objective = Objective()
    restore(method, {name: value for name, value in state.items() if not name.startswith("objective.")}, source)
