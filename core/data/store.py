"""A split on disk: uint8 pixels, or features, in one memory-mapped array, with labels and names beside it.

<root>/<data set>/<size>px/<split>/        (features/ in place of <size>px/)
    images.npy     [M, H, W, 3] uint8, sorted by class name, then image name
    features.npy   [M, D] float16 or float32 in place of it
    labels.npy     [M] int64
    names.txt      one image name a line
    manifest.json  classes, counts, mean and std, hash of the array, name fingerprint, source
    vectors.npy    [classes, D] float32 word vectors, where they come with the data set
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import DAMAGE
from ..kinds import misfit
from .writer import SplitWriter, Summary, array_file, blocks
from .writer import fingerprint as fingerprint

SPLITS = ("train", "val", "test")
NEEDED = ("dataset", "split", "classes", "pixels_sha256", "fingerprint")  # of a manifest
STATISTICS = ("mean", "std")  # of the manifest of images
# What the network that gave features had seen beside the base classes, where it had: as `ExternalData` has it.
EXTERNAL = {"external_data?": dict.fromkeys(("encoder", "weights", "data", "licence", "sha256"), str)}
HEADER = 128  # least bytes before the values of an .npy file; always a multiple of 64


@dataclass(frozen=True)
class Split:
    """One split of a data set; classes are contiguous and sorted by name.

    Image ids index `labels`, `names` and, through `rows`, `images`.
    """

    dataset: str
    name: str  # train | val | test
    images: np.ndarray  # [M, H, W, 3] uint8, or features [M, D] float16 or float32; memory-mapped
    labels: np.ndarray  # [M] int64, non-decreasing
    classes: list[str]
    names: list[str] = field(repr=False)
    manifest: dict = field(repr=False)
    vectors: np.ndarray | None = field(default=None, repr=False)  # [classes, D] that come with the data set
    rows: np.ndarray | None = field(default=None, repr=False)  # [len(labels)] rows of `images`; None = all, in order

    @property
    def counts(self) -> np.ndarray:
        """Images of each class, [classes]."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @property
    def fingerprint(self) -> str:
        """Hash of class and image names: the same for every image size, so episodes are the same too."""
        return self.manifest["fingerprint"]

    @property
    def features(self) -> int:
        """D of a split that holds features instead of images, else 0."""
        return self.images.shape[1] if self.images.ndim == 2 else 0

    @property
    def size(self) -> int:
        """H = W in pixels; 0 of features."""
        return 0 if self.features else self.images.shape[1]

    def subset(self, ids: np.ndarray | None = None, classes: list[str] | None = None, **notes: Any) -> Split:
        """Some images of the split, with a fingerprint of their own.

        Args:
            ids: [n] image ids in increasing order; None = all images of `classes`.
            classes: class names in sorted order, numbered anew; None = all classes.
            notes: entries of the new manifest.
        """
        classes = self.classes if classes is None else classes
        old_numbers = [self.classes.index(name) for name in classes]
        new_number = np.full(len(self.classes), -1)
        new_number[old_numbers] = np.arange(len(classes))
        ids = np.flatnonzero(new_number[self.labels] >= 0) if ids is None else ids
        labels, names = new_number[self.labels[ids]], [self.names[row] for row in ids.tolist()]
        counts = np.bincount(labels, minlength=len(classes)).tolist()
        facts = {"classes": classes, "counts": counts, "fingerprint": fingerprint(classes, names, labels)}
        return replace(
            self,
            labels=labels,
            classes=classes,
            names=names,
            manifest=self.manifest | facts | notes,
            vectors=None if self.vectors is None else self.vectors[old_numbers],
            rows=ids if self.rows is None else self.rows[ids],
        )


def split_dir(root: str | Path, dataset: str, size: int, split: str) -> Path:
    """Folder of one packed split; `size` 0 is one of features."""
    return Path(root) / dataset / (f"{size}px" if size else "features") / split


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
    class_order, order, new_labels = sorted_rows(labels, classes, names)
    with SplitWriter(
        folder, dataset, new_labels, [classes[c] for c in class_order], [names[i] for i in order]
    ) as writer:
        for block in blocks(images, order):
            writer.add(block)
        writer.finish(source, None if vectors is None else vectors[class_order])


def sorted_rows(labels: np.ndarray, classes: list[str], names: list[str]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The order of a store: classes by name, rows by class and image name, and the labels of the rows in that order."""
    class_order = sorted(range(len(classes)), key=lambda c: classes[c])
    rank = np.argsort(class_order)
    ranks = rank[labels].tolist()
    order = np.array(sorted(range(len(names)), key=lambda i: (ranks[i], names[i])), np.int64)
    return class_order, order, rank[labels][order]


def read_split(folder: Path) -> Split:
    """Open a packed split; its pixels stay on disk until they are read.

    Raises:
        UserError: where the folder is not what a writer left.
    """
    try:
        manifest = _manifest(folder)
        images = np.load(folder / array_file("features" in manifest), mmap_mode="c", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        names = (folder / "names.txt").read_text(encoding="utf-8").split("\n")[:-1]
        words = folder / "vectors.npy"
        vectors = np.load(words, allow_pickle=False) if words.is_file() else None
        _refuse_arrays(manifest, images, labels, vectors)
        dataset, split, classes = (manifest[key] for key in ("dataset", "split", "classes"))
    except DAMAGE as error:
        raise _incomplete(folder, error) from error
    if not len(images) == len(labels) == len(names):
        raise UserError(
            f"{folder} is damaged: {len(images)} images, {len(labels)} labels, {len(names)} names; "
            "delete the folder and prepare it again."
        )
    return Split(dataset, split, images, labels, classes, names, manifest, vectors)


def _refuse_arrays(manifest: dict, images: np.ndarray, labels: np.ndarray, vectors: np.ndarray | None) -> None:
    """Refuse arrays of another kind than a writer leaves.

    Raises:
        ValueError: with the array.
    """
    classes = len(manifest["classes"])
    features = "features" in manifest and images.ndim == 2 and images.dtype in (np.float16, np.float32)
    pixels = images.ndim == 4 and images.dtype == np.uint8 and images.shape[1:] == (images.shape[1], images.shape[1], 3)
    if not (features if "features" in manifest else pixels):
        raise ValueError(f"its images are {list(images.shape)} of {images.dtype}")
    in_order = labels.ndim == 1 and labels.dtype == np.int64 and bool((np.diff(labels) >= 0).all())
    if not in_order or labels.min(initial=0) < 0 or labels.max(initial=-1) >= classes:
        raise ValueError("its labels are not those of its classes in order")
    if vectors is not None and (vectors.ndim != 2 or len(vectors) != classes or vectors.dtype.kind != "f"):
        raise ValueError(f"its vectors are {list(vectors.shape)} of {vectors.dtype}")


def read_outline(folder: Path) -> Split:
    """A packed split as its manifest tells: classes, counts and hashes. No other file of it is opened.

    Its images are an array of no rows, and its names are empty. Of the other files it is asked how long they are.

    Raises:
        UserError: where the folder is not what a writer left.
    """
    try:
        manifest = _manifest(folder)
        outline = outline_of(manifest)
        labels, row = outline.labels, _row(manifest)
        for name, length in ((array_file("features" in manifest), row.nbytes), ("labels.npy", labels.itemsize)):
            header = (folder / name).stat().st_size - len(labels) * length
            if header < HEADER or header % 64:
                raise ValueError(f"{name} is cut short")
        if (folder / "names.txt").stat().st_size < 2 * len(labels):  # a letter and the end of its line
            raise ValueError("names.txt is cut short")
    except DAMAGE as error:
        raise _incomplete(folder, error) from error
    return outline


def outline_of(manifest: dict) -> Split:
    """The split that a manifest tells of, without images and names.

    Raises:
        ValueError, KeyError, TypeError: where it is no manifest.
    """
    counts = np.asarray(manifest["counts"])
    if counts.dtype.kind != "i" or counts.shape != (len(manifest["classes"]),) or counts.min(initial=0) < 0:
        raise ValueError("its counts are not those of its classes")
    labels, row = np.repeat(np.arange(len(counts)), counts), _row(manifest)
    images = np.empty((0, *row.shape), row.dtype)
    return Split(manifest["dataset"], manifest["split"], images, labels, manifest["classes"], [], manifest)


def _row(manifest: dict) -> np.ndarray:
    """An empty image, or feature, of the shape and type that a manifest tells."""
    if "features" in manifest:
        return np.empty(int(manifest["features"]), manifest["dtype"])
    return np.empty((int(manifest["size"]), int(manifest["size"]), 3), np.uint8)


def _manifest(folder: Path) -> dict:
    """The manifest of a split, with all that a run needs of it."""
    manifest: dict = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for key in (*NEEDED, *(() if "features" in manifest else STATISTICS)):
        manifest[key]
    texts = [manifest[key] for key in NEEDED if key != "classes"] + list(manifest["classes"])
    numbers = [number for key in STATISTICS for number in manifest.get(key, (0.5, 0.5, 0.5))]
    sound = len(numbers) == 3 * len(STATISTICS) and all(type(n) in (int, float) and 0 <= n <= 1 for n in numbers)
    if (
        misfit(manifest, EXTERNAL)
        or not sound
        or not isinstance(manifest["classes"], list)
        or not all(isinstance(text, str) for text in texts)
    ):
        raise ValueError("its manifest is not what was written")
    return manifest


def _incomplete(folder: Path, error: Exception) -> UserError:
    return UserError(
        f"{folder} does not hold a complete packed split ({error}); delete the folder and prepare it again."
    )


def prepared(folders: Iterable[Path]) -> bool:
    """Whether every one of these splits is on disk."""
    return all((folder / "manifest.json").is_file() for folder in folders)


def verify_split(split: Split, folder: Path) -> None:
    """Compare a split on disk with its manifest: pixels, image counts, names."""
    summary = Summary()
    for block in blocks(split.images, np.arange(len(split.images))):
        summary.add(block)
    facts = {
        "pixels_sha256": summary.sha256,
        "counts": split.counts.tolist(),
        "fingerprint": fingerprint(split.classes, split.names, split.labels),
    }
    wrong = [key for key, value in facts.items() if split.manifest.get(key) != value]
    if wrong:
        raise UserError(
            f"{folder} is not what was written ({' and '.join(wrong)} differ); delete the folder and prepare it again."
        )
