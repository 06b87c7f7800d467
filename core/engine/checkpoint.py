"""Checkpoints: tensors and plain values only, written whole or not at all, loaded with `weights_only`."""

from __future__ import annotations

import argparse
import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..methods.base import Method
from ..objectives.base import Objective


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name, flush it, and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with building.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)


def refuse_missing(path: Path) -> None:
    """Say that a checkpoint is not there."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; give -c a checkpoint file (.pth) of a run folder.")


def read(path: Path, *, foreign: bool = False) -> Any:
    """What a file holds; nothing in it is executed.

    `foreign` files may be of torch's older format, which has no check sums, and may hold options of a command line
    (`argparse.Namespace`) beside the weights.
    """
    refuse_missing(path)
    try:
        if not foreign or zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip():
                    raise zipfile.BadZipFile("check sums do not match")
        with torch.serialization.safe_globals([argparse.Namespace] if foreign else []):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the unpickler stumbles over, the file is at fault
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is not a readable checkpoint ({reason}); it may be truncated, train or copy it again."
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours."""
    content = read(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(part), dict) for part in ("method", "meta")):
        raise UserError(f"{path} is not a checkpoint of FiveWay: it lacks the entries 'method' and 'meta'.")
    return content


def sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def restore(method: Method, state: dict[str, Tensor], source: Path) -> None:
    """Load a method's whole state.

    Raises:
        UserError: with the counts of matched, missing and unexpected entries, where it does not fit exactly.
    """
    own = method.state_dict()
    matched = sum(name in own and own[name].shape == value.shape for name, value in state.items())
    missing, unexpected = len(own) - matched, len(state) - matched
    if missing or unexpected:
        raise UserError(
            f"{source} holds another network than the config asks for ({matched} entries matched, {missing} missing, "
            f"{unexpected} unexpected); use the BACKBONE, METHOD and DATASET it was trained with."
        )
    method.load_state_dict(state)


def restore_for_test(method: Method, state: dict[str, Tensor], source: Path) -> None:
    """As `restore`, without the objective: no answer depends on it, and its size may on the training way."""
    method.objective = Objective()
    restore(method, {name: value for name, value in state.items() if not name.startswith("objective.")}, source)
