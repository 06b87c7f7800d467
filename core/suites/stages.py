"""The stages that several cells share."""

from __future__ import annotations

from pathlib import Path

import torch

from ..build.data import Data
from ..build.training import shared_files
from .suite import Cell


def stage_files(cell: Cell) -> list[Path]:
    """Where the stages before the last of a cell are kept."""
    data = Data(cell.loaded.cfg, torch.device("cpu"))
    return [file for file in shared_files(data, cell.base / "pretrained").values() if file is not None]
