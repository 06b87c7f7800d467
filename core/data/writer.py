"""Write a split block by block: memory does not grow with the number of images, and no half of a split ever appears."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedWriter
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import HiddenFolder, writing

BLOCK = 256  # images read and written at once


def fingerprint(classes: list[str], names: list[str], labels: np.ndarray) -> str:
    """Hash of (class, image) names in sorted order; independent of pixels, size and listing order."""
    pairs = sorted(f"{classes[label]}\0{name}" for label, name in zip(labels.tolist(), names, strict=True))
    return hashlib.sha256("\n".join(pairs).encode()).hexdigest()


class Summary:
    """Hash of images or features, and statistics of pixels, computed block by block for the manifest."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._histogram = np.zeros((3, 256))
        self._digests = bytearray()

    def add(self, images: np.ndarray) -> None:
        """Images [n, H, W, 3] uint8 or features [n, D], in the order of the store."""
        images = np.ascontiguousarray(images)
        self._hash.update(images.data)
        for channel in range(3) if images.ndim == 4 else ():
            self._histogram[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
        self._digests += b"".join(hashlib.blake2b(image, digest_size=8).digest() for image in images)

    @property
    def sha256(self) -> str:
        """Hash of all pixels or features in order."""
        return self._hash.hexdigest()

    @property
    def digests(self) -> np.ndarray:
        """A number for each image, [M] uint64: the same for images of the same pixels or features."""
        return np.frombuffer(bytes(self._digests), np.uint64)

    def channels(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel in 0..1, exact."""
        share, level = self._histogram / self._histogram.sum(1, keepdims=True), np.arange(256) / 255
        mean = share @ level
        std = np.sqrt((share * (level - mean[:, None]) ** 2).sum(1))
        return [round(x, 6) for x in mean.tolist()], [round(x, 6) for x in std.tolist()]


class SplitWriter:
    """A context manager that writes one split; images are added in the order of (class name, image name).

    The split appears when `finish` is called; without that, nothing of it stays on disk.
    """

    def __init__(self, folder: Path, dataset: str, labels: np.ndarray, classes: list[str], names: list[str]) -> None:
        """`labels` [M] are non-decreasing indices of the sorted `classes`; `names` [M] are sorted within a class.

        Raises:
            UserError: where there are none, or the disk refuses.
        """
        if not names:
            raise UserError(f"the {folder.name} split of {dataset} would hold nothing; give the files of its classes.")
        repeats = (a == b for a, b in pairwise(zip(labels.tolist(), names, strict=True)))
        if any(repeats):  # names are sorted
            raise ValueError(f"{dataset} {folder.name}: image names repeat within a class")
        self.folder, self.summary = folder, Summary()
        self._dataset, self._labels, self._classes, self._names = dataset, labels.astype(np.int64), classes, names
        self._written = 0
        self._file: BufferedWriter | None = None
        with writing(folder):
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
        with writing(self.folder):
            if self._file is None:
                self._file = (self._building / array_file(images.ndim == 2)).open("wb")
                self._shape, self._dtype = images.shape[1:], images.dtype
                descr, shape = np.lib.format.dtype_to_descr(images.dtype), (len(self._names), *images.shape[1:])
                header = {"descr": descr, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(self._file, header)
            self._file.write(np.ascontiguousarray(images).data)
        self.summary.add(images)
        self._written += len(images)

    def finish(self, source: str, vectors: np.ndarray | None = None, **notes: Any) -> None:
        """Write labels, names and the manifest, to which `notes` are added, and rename the folder.

        `vectors` [classes, D] are word vectors that come with the data set.
        """
        if self._written != len(self._names):
            raise ValueError(f"{self.folder}: {self._written} images for {len(self._names)} names")
        manifest = {
            "dataset": self._dataset,
            "split": self.folder.name,
            "classes": self._classes,
            "counts": np.bincount(self._labels, minlength=len(self._classes)).tolist(),
            **self._statistics(),
            "pixels_sha256": self.summary.sha256,
            "fingerprint": fingerprint(self._classes, self._names, self._labels),
            "source": source,
            **notes,
        }
        assert self._file is not None, "`add` opened it"
        with writing(self.folder):
            self._file.close()
            np.save(self._building / "labels.npy", self._labels)
            if vectors is not None:
                np.save(self._building / "vectors.npy", vectors.astype(np.float32))
            (self._building / "names.txt").write_text("".join(f"{name}\n" for name in self._names), encoding="utf-8")
            text = json.dumps(manifest, indent=1, ensure_ascii=False)
            (self._building / "manifest.json").write_text(text, encoding="utf-8")
            if not self._hidden.rename(self.folder):  # another process was faster; its identical result stays
                self._refuse_incomplete()

    def _refuse_incomplete(self) -> None:
        if not (self.folder / "manifest.json").is_file():
            raise UserError(f"{self.folder} is there but not complete; delete the folder and prepare it again.")

    def _statistics(self) -> dict[str, Any]:
        """Size, mean and standard deviation of images; length and type of features."""
        if len(self._shape) == 1:
            return {"features": self._shape[0], "dtype": str(self._dtype)}
        mean, std = self.summary.channels()
        return {"size": self._shape[0], "mean": mean, "std": std}


def array_file(features: bool) -> str:
    """The name of the file that holds a split's features or images."""
    return "features.npy" if features else "images.npy"


def blocks(images: np.ndarray, order: np.ndarray) -> Iterable[np.ndarray]:
    """The rows `order` of an array, `BLOCK` at a time."""
    return (images[order[start : start + BLOCK]] for start in range(0, len(order), BLOCK))
