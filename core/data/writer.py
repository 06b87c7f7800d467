"""Writing a split as its images come: memory does not grow with their number, and half a split is never seen.

Everything is built in a hidden folder beside the final one and renamed when it is complete. The hidden folder is
locked while its writer lives, so that what a killed run left behind can be told from a run at work and removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import UserError

BLOCK = 256  # images handled at once
YOUNG = 60.0  # seconds within which a hidden folder may not be locked yet


def fingerprint(classes: list[str], names: list[str], labels: np.ndarray) -> str:
    """Hash of (class, image) names in sorted order; independent of pixels, size and listing order."""
    pairs = sorted(f"{classes[label]}\0{name}" for label, name in zip(labels.tolist(), names, strict=True))
    return hashlib.sha256("\n".join(pairs).encode()).hexdigest()


class Summary:
    """What a manifest says about images or features, gathered block by block: their hash, and of pixels the mean."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._histogram = np.zeros((3, 256))
        self._digests = bytearray()

    def add(self, images: np.ndarray) -> None:
        """Images [n, H, W, 3] uint8 or features [n, D], in the order of the store."""
        images = np.ascontiguousarray(images)
        self._hash.update(images)
        for channel in range(3) if images.ndim == 4 else ():
            self._histogram[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
        self._digests += b"".join(hashlib.blake2b(image, digest_size=8).digest() for image in images)

    @property
    def sha256(self) -> str:
        """Hash of all pixels or features in order."""
        return self._hash.hexdigest()

    @property
    def digests(self) -> np.ndarray:
        """A number for each image, equal where its pixels or features are, [M] uint64."""
        return np.frombuffer(bytes(self._digests), np.uint64)

    def channels(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel in 0..1, exact."""
        share, level = self._histogram / self._histogram.sum(1, keepdims=True), np.arange(256) / 255
        mean = share @ level
        std = np.sqrt((share * (level - mean[:, None]) ** 2).sum(1))
        return [round(x, 6) for x in mean.tolist()], [round(x, 6) for x in std.tolist()]


class HiddenFolder:
    """A new hidden folder, locked while it lives and removed on exit, with the parents it made that are empty then."""

    def __init__(self, parent: Path, name: str) -> None:
        self._made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
        parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        with suppress(OSError):  # not empty
            for folder in self._made:
                folder.rmdir()


class SplitWriter:
    """Writes one split; images are added in the order of (class name, image name).

    A context manager: without `finish` nothing is left.
    """

    def __init__(self, folder: Path, dataset: str, labels: np.ndarray, classes: list[str], names: list[str]) -> None:
        """`labels` [M] are non-decreasing indices of the sorted `classes`; `names` [M] are sorted within a class."""
        repeats = (a == b for a, b in pairwise(zip(labels.tolist(), names, strict=True)))
        if any(repeats):  # names are sorted
            raise ValueError(f"{dataset} {folder.name}: image names repeat within a class")
        self.folder, self.summary = folder, Summary()
        self._dataset, self._labels, self._classes, self._names = dataset, labels.astype(np.int64), classes, names
        self._written, self._file = 0, None
        with explained(folder):
            self._hidden = HiddenFolder(folder.parent, folder.name)
        self._building = self._hidden.path

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(OSError):  # a full disk, already reported
                self._file.close()
        self._hidden.__exit__(kind, error, trace)

    def add(self, images: np.ndarray) -> None:
        """The next images [n, H, W, 3] uint8, or features [n, D] float16 or float32."""
        with explained(self.folder):
            if self._file is None:
                self._file = (self._building / array_file(images.ndim == 2)).open("wb")
                self._shape, self._dtype = images.shape[1:], images.dtype
                descr, shape = np.lib.format.dtype_to_descr(images.dtype), (len(self._names), *images.shape[1:])
                header = {"descr": descr, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(self._file, header)
            self._file.write(np.ascontiguousarray(images))
        self.summary.add(images)
        self._written += len(images)

    def finish(self, source: str, vectors: np.ndarray | None = None, **notes: Any) -> None:
        """Write labels, names and manifest, and let the folder appear. `vectors` [classes, D]; `notes` join it."""
        if self._written != len(self._names):
            raise ValueError(f"{self.folder}: {self._written} images for {len(self._names)} names")
        manifest = {
            "dataset": self._dataset,
            "split": self.folder.name,
            "classes": self._classes,
            "counts": np.bincount(self._labels, minlength=len(self._classes)).tolist(),
            **self._described(),
            "pixels_sha256": self.summary.sha256,
            "fingerprint": fingerprint(self._classes, self._names, self._labels),
            "source": source,
            **notes,
        }
        with explained(self.folder):
            self._file.close()
            np.save(self._building / "labels.npy", self._labels)
            if vectors is not None:
                np.save(self._building / "vectors.npy", vectors.astype(np.float32))
            (self._building / "names.txt").write_text("".join(f"{name}\n" for name in self._names), encoding="utf-8")
            text = json.dumps(manifest, indent=1, ensure_ascii=False)
            (self._building / "manifest.json").write_text(text, encoding="utf-8")
            self._building.chmod(0o755)
            _move_into_place(self._building, self.folder)

    def _described(self) -> dict[str, Any]:
        """Of images the size, mean and deviation; of features the length and precision."""
        if len(self._shape) == 1:
            return {"features": self._shape[0], "dtype": str(self._dtype)}
        mean, std = self.summary.channels()
        return {"size": self._shape[0], "mean": mean, "std": std}


def array_file(features: bool) -> str:
    """What the array of a split is called on disk."""
    return "features.npy" if features else "images.npy"


class explained:
    """Turns what the disk refuses into a sentence."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise UserError(
                f"{self._folder} cannot be written ({reason}); make room or give another data folder."
            ) from error


def remove_abandoned(parent: Path) -> None:
    """Remove the hidden folders of runs that were killed; those of runs at work are locked."""
    for folder in parent.glob(".*-*"):
        try:
            if not folder.is_dir() or time.time() - folder.stat().st_mtime < YOUNG:
                continue
            lock = os.open(folder, os.O_RDONLY)
        except OSError:  # gone meanwhile
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # in use
            pass
        finally:
            os.close(lock)


def blocks(images: np.ndarray, order: np.ndarray) -> Iterable[np.ndarray]:
    """The rows `order` of an array, some at a time."""
    return (images[order[start : start + BLOCK]] for start in range(0, len(order), BLOCK))


def _move_into_place(building: Path, folder: Path) -> None:
    """Rename a finished folder; if another process was faster, its identical result stays."""
    try:
        os.rename(building, folder)
    except OSError:
        if (folder / "manifest.json").is_file():
            return
        if folder.exists():
            raise UserError(f"{folder} is there but not complete; delete the folder and prepare it again.") from None
        raise
