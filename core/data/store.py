"""A split on disk: uint8 pixels in one memory-mapped array, with labels and names beside it.

<root>/<data set>/<size>px/<split>/
    images.npy     [M, H, W, 3] uint8, sorted by class name, then image name
    labels.npy     [M] int64
    names.txt      one image name a line
    manifest.json  classes, counts, mean and std, pixel hash, name fingerprint, source
    vectors.npy    [classes, D] float32 word vectors, where the data set brings its own
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import UserError

SPLITS = ("train", "val", "test")
NEEDED = ("dataset", "split", "classes", "mean", "std", "pixels_sha256", "fingerprint")  # of a manifest


@dataclass(frozen=True)
class Split:
    """One split of a data set. Image ids are rows of `images`, classes are contiguous and sorted by name."""

    dataset: str
    name: str  # train | val | test
    images: np.ndarray  # [M, H, W, 3] uint8, memory-mapped
    labels: np.ndarray  # [M] int64, non-decreasing
    classes: list[str]
    names: list[str] = field(repr=False)
    manifest: dict = field(repr=False)
    vectors: np.ndarray | None = field(default=None, repr=False)  # [classes, D]

    @property
    def counts(self) -> np.ndarray:
        """Images of each class, [classes]."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @property
    def fingerprint(self) -> str:
        """Hash of class and image names: the same for every image size, so episodes are the same too."""
        return self.manifest["fingerprint"]

    @property
    def size(self) -> int:
        """H = W in pixels."""
        return self.images.shape[1]


class Pictures(NamedTuple):
    """The pictures of one split before they are packed, in the order `write_split` takes them."""

    images: np.ndarray  # [M, H, W, 3] uint8
    labels: np.ndarray  # [M], index classes
    classes: list[str]
    names: list[str]  # unique within a class
    source: str


def split_dir(root: str | Path, dataset: str, size: int, split: str) -> Path:
    """Folder of one packed split."""
    return Path(root) / dataset / f"{size}px" / split


def fingerprint(classes: list[str], names: list[str], labels: np.ndarray) -> str:
    """Hash of (class, image) names in sorted order; independent of pixels, size and listing order."""
    pairs = sorted(f"{classes[label]}\0{name}" for label, name in zip(labels.tolist(), names, strict=True))
    return hashlib.sha256("\n".join(pairs).encode()).hexdigest()


def write_split(
    folder: Path,
    dataset: str,
    images: np.ndarray,
    labels: np.ndarray,
    classes: list[str],
    names: list[str],
    source: str,
    vectors: np.ndarray | None = None,
) -> None:
    """Sort, describe and write one split; the folder appears complete or not at all.

    `images` [M, H, W, 3] uint8, `labels` [M] index `classes`, `names` [M] unique within a class.
    """
    class_order = sorted(range(len(classes)), key=lambda c: classes[c])
    rank = np.argsort(class_order)
    order = np.array(sorted(range(len(names)), key=lambda i: (rank[labels[i]], names[i])))
    images, labels = images[order], rank[labels][order].astype(np.int64)
    classes, names = [classes[c] for c in class_order], [names[i] for i in order]
    if len(set(zip(labels.tolist(), names, strict=True))) < len(names):
        raise ValueError(f"{dataset} {folder.name}: image names repeat within a class")
    mean, std = _channel_statistics(images)
    manifest = {
        "dataset": dataset,
        "split": folder.name,
        "classes": classes,
        "counts": np.bincount(labels, minlength=len(classes)).tolist(),
        "size": int(images.shape[1]),
        "mean": mean,
        "std": std,
        "pixels_sha256": hashlib.sha256(np.ascontiguousarray(images)).hexdigest(),
        "fingerprint": fingerprint(classes, names, labels),
        "source": source,
    }
    arrays = {"images": images, "labels": labels}
    if vectors is not None:
        arrays["vectors"] = vectors[class_order].astype(np.float32)
    try:
        _write_folder(folder, arrays, names, manifest)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror or error}); make room or give another data folder."
        ) from error


def _channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in 0..1, exact, from histograms of a few images at a time."""
    histogram = np.zeros((3, 256))
    for start in range(0, len(images), 1024):
        for channel in range(3):
            histogram[channel] += np.bincount(images[start : start + 1024, ..., channel].ravel(), minlength=256)
    share, level = histogram / histogram.sum(1, keepdims=True), np.arange(256) / 255
    mean = share @ level
    std = np.sqrt((share * (level - mean[:, None]) ** 2).sum(1))
    return [round(x, 6) for x in mean.tolist()], [round(x, 6) for x in std.tolist()]


def _write_folder(folder: Path, arrays: dict[str, np.ndarray], names: list[str], manifest: dict) -> None:
    """Write the files beside the folder, then rename: nobody ever sees half of a split."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, array in arrays.items():
            np.save(building / f"{name}.npy", array)
        (building / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
        (building / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
        building.chmod(0o755)
        _move_into_place(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


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


def read_split(folder: Path) -> Split:
    """Open a packed split; pixels stay on disk until they are asked for."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        names = (folder / "names.txt").read_text(encoding="utf-8").split("\n")[:-1]
        vectors = folder / "vectors.npy"
        vectors = np.load(vectors, allow_pickle=False) if vectors.is_file() else None
        dataset, split, classes, *_ = [manifest[key] for key in NEEDED]
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} does not hold a complete packed split ({error}); delete the folder and prepare it again."
        ) from error
    if not len(images) == len(labels) == len(names):
        raise UserError(
            f"{folder} is damaged: {len(images)} images, {len(labels)} labels, {len(names)} names; "
            "delete the folder and prepare it again."
        )
    return Split(dataset, split, images, labels, classes, names, manifest, vectors)


def prepared(folders: Iterable[Path]) -> bool:
    """Whether every one of these splits is on disk."""
    return all((folder / "manifest.json").is_file() for folder in folders)
