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

import numpy as np

from core.errors import UserError

SPLITS = ("train", "val", "test")


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
    pixels = images.reshape(-1, 3)
    manifest = {
        "dataset": dataset,
        "split": folder.name,
        "classes": classes,
        "counts": np.bincount(labels, minlength=len(classes)).tolist(),
        "size": int(images.shape[1]),
        "mean": [round(float(x), 6) for x in pixels.mean(0, dtype=np.float64) / 255],
        "std": [round(float(x), 6) for x in pixels.std(0, dtype=np.float64) / 255],
        "pixels_sha256": hashlib.sha256(images.tobytes()).hexdigest(),
        "fingerprint": fingerprint(classes, names, labels),
        "source": source,
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        np.save(building / "images.npy", images)
        np.save(building / "labels.npy", labels)
        (building / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
        if vectors is not None:
            np.save(building / "vectors.npy", vectors[class_order].astype(np.float32))
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
        if not (folder / "manifest.json").is_file():
            raise


def read_split(folder: Path) -> Split:
    """Open a packed split; pixels stay on disk until they are asked for."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        names = (folder / "names.txt").read_text(encoding="utf-8").splitlines()
        vectors = folder / "vectors.npy"
        vectors = np.load(vectors, allow_pickle=False) if vectors.is_file() else None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} does not hold a complete packed split ({error}); delete the folder and prepare it again."
        ) from error
    if not len(images) == len(labels) == len(names):
        raise UserError(
            f"{folder} is damaged: {len(images)} images, {len(labels)} labels, {len(names)} names; "
            "delete the folder and prepare it again."
        )
    return Split(manifest["dataset"], manifest["split"], images, labels, manifest["classes"], names, manifest, vectors)


def prepared(folders: Iterable[Path]) -> bool:
    """Whether every one of these splits is on disk."""
    return all((folder / "manifest.json").is_file() for folder in folders)
