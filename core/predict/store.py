"""Features of photographs on disk, by the content of the photograph and the identity of the encoder.

<folder>/<key of the encoder>/<name>.safetensors    tensors [n, ...], the SHA-256 of each of the n photographs, and a
                                                    check sum: a file that the disk has changed is forgotten

A file is written once and never changed, so processes can share a folder. The oldest files go first where all of them
together exceed a limit.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..episode import Features
from ..errors import UserError
from ..files import write_file

LIMIT_MB = 2000


def default_folder() -> Path:
    """Where features lie unless a user says otherwise: the user's cache (XDG_CACHE_HOME)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fiveway"


class FeatureStore:
    """The features that one encoder gave; without a folder they are forgotten."""

    def __init__(self, folder: Path | None, key: dict[str, Any], limit_mb: int = LIMIT_MB) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        self.root, self.folder = folder, folder / digest if folder else None
        self._limit = limit_mb * 2**20
        self._rows: dict[str, Features] = {}
        for file in sorted(self.folder.glob("*.safetensors")) if self.folder else ():
            self._read(file)

    def get(self, photo: str) -> Features | None:
        """The features of the photograph with this SHA-256, each [...], or None."""
        return self._rows.get(photo)

    def add(self, photos: list[str], features: Features) -> None:
        """Keep the features [n, ...] of n photographs; a disk that refuses costs the cache, not the answer."""
        self._rows |= {photo: _row(features, i) for i, photo in enumerate(photos)}
        if self.folder is None or not photos:
            return
        name = hashlib.sha256("".join(photos).encode()).hexdigest()[:32]
        tensors = {key: value.contiguous().cpu() for key, value in features.items()}
        content = save(tensors, {"photos": json.dumps(photos), "sum": check_sum(photos, tensors)})
        with suppress(UserError):
            write_file(self.folder / f"{name}.safetensors", lambda file: file.write(content))
            self._make_room()

    def _read(self, file: Path) -> None:
        """Take in a file; one that cannot be read is removed."""
        try:
            with safe_open(file, "pt") as opened:
                about = opened.metadata()
                photos = json.loads(about["photos"])
                features = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # it is no dict
            if about["sum"] != check_sum(photos, features) or any(len(v) != len(photos) for v in features.values()):
                raise ValueError("not what was written")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            file.unlink(missing_ok=True)
            return
        self._rows |= {photo: _row(features, i) for i, photo in enumerate(photos)}

    def _make_room(self) -> None:
        """Remove the oldest files of all encoders until the rest stays under the limit."""
        assert self.root is not None, "`add` has written there"
        files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in self.root.glob("*/*.safetensors"))
        total = sum(size for _, size, _ in files)
        for _, size, file in files:
            if total <= self._limit:
                return
            file.unlink(missing_ok=True)
            total -= size


def check_sum(photos: list[str], features: Features) -> str:
    """CRC-32 of photographs and of their features [n, ...], in hexadecimal digits."""
    total = zlib.crc32(json.dumps(photos).encode())
    for name, value in sorted(features.items()):
        total = zlib.crc32(f"{name} {value.dtype} {tuple(value.shape)}".encode(), total)
        total = zlib.crc32(value.contiguous().view(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


def _row(features: Features, i: int) -> Features:
    return {name: value[i] for name, value in features.items()}


def stacked(rows: list[Features]) -> Features:
    """Rows of features, each [...], as one table [n, ...]."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
