"""Pickles of the code of Gidaris and Komodakis and of MetaOptNet, whose classes are numbers without names.

    CIFAR_FS_{train,val,test}.pickle, FC100_{train,val,test}.pickle     {data: [N, 32, 32, 3] uint8, labels: [N]}

They do not name the classes. The numbers are taken for those of CIFAR-100 (its names in alphabetical order) only where
the numbers of every split are exactly those of its published classes; otherwise the files are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data.store import SPLITS
from ..errors import UserError
from .packing import ImageArray
from .unpickle import load_pickle


def numbered_files(folder: Path, stem: str) -> dict[str, Path]:
    """The pickle of each split, {} where the folder has none of them."""
    paths = {split: folder / f"{stem}_{split}.pickle" for split in SPLITS}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if missing and len(missing) < len(SPLITS):
        raise UserError(f"--from is '{folder}', which lacks {' and '.join(missing)}; give the folder of all three.")
    return {} if missing else paths


def read_numbered(files: dict[str, Path], lists: dict[str, list[str]]) -> dict[str, ImageArray]:
    """The splits of CIFAR-FS or FC100 from their pickles."""
    order = sorted(name for split in SPLITS for name in lists[split])
    place = {name: number for number, name in enumerate(order)}
    contents: dict[str, ImageArray] = {}
    for split, path in files.items():
        images, labels = images_and_labels(path)
        numbers = sorted(place[name] for name in lists[split])
        if np.unique(labels).tolist() != numbers:
            raise UserError(
                f"{path} numbers its classes {labels.min()} to {labels.max()}, which are not the numbers that "
                f"CIFAR-100 gives the {len(numbers)} classes of {split}, so they cannot be named; prepare the data "
                "set from cifar-100-python, from which it is cut."
            )
        classes = [order[number] for number in numbers]
        sizes = np.bincount(labels)[numbers].tolist()
        rows = np.argsort(labels, kind="stable")
        names = [f"{name}_{n:04d}.png" for name, size in zip(classes, sizes, strict=True) for n in range(size)]
        labels = np.repeat(np.arange(len(classes)), sizes)
        contents[split] = ImageArray(images[rows], labels, classes, names, f"pickle {path.name}")
    return contents


def images_and_labels(path: Path, content: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """`data` [N, H, W, 3] and `labels` [N] of a pickle."""
    content = load_pickle(path) if content is None else content
    images, labels = (content.get(key) for key in ("data", "labels")) if isinstance(content, dict) else (None, None)
    sound = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3
    labels = np.array(labels) if isinstance(labels, list | np.ndarray) else np.zeros(0)
    if not sound or labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or labels.min() < 0:
        raise UserError(f"{path} holds no data [N, H, W, 3] of uint8 with labels [N]; get the file from its publisher.")
    return images, labels.astype(np.int64)


def by_class(content: Any, path: Path) -> dict[str, Any]:
    """The content of a miniImageNet pickle with `catname2label`, rewritten as `image_data` and `class_dict`."""
    images, labels = images_and_labels(path, content)
    number_of = content.get("catname2label")
    if not isinstance(number_of, dict) or not all(
        isinstance(number, int | np.integer) for number in number_of.values()
    ):
        raise UserError(f"{path} numbers its classes and has no catname2label that names them; get the original file.")
    return {
        "image_data": images,
        "class_dict": {str(name): np.flatnonzero(labels == number).tolist() for name, number in number_of.items()},
    }
