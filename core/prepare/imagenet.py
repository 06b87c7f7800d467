"""Collect the images of ImageNet from class folders, under the classes of ImageNet low-shot (`core.data.lowshot`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data.class_lists import QUERIES, STORED, LowShotClasses, lowshot_classes
from ..errors import UserError
from .collect import Collected, Options, refuse_deviation
from .images import Decoding
from .layouts import class_folders
from .lowshot import deviations
from .packing import Content, Decoders, ImageFiles

FORM = "the folders train and val of ILSVRC 2012, each with one folder a class (torchvision's ImageFolder)"


def collect_imagenet(options: Options, classes: LowShotClasses | None = None) -> Collected:
    """The six splits from the folder of the training images and that of the validation images.

    Images are decoded as they are packed; memory holds their paths alone. `classes` are other classes than the
    published ones.
    """
    classes = classes or lowshot_classes()
    images = {part: class_folders(folder) for part, folder in _two_folders(options.sources).items()}
    empty = [part for part, folders in images.items() if not folders]
    if empty:
        raise UserError(
            f"--from is '{options.sources[0]}', where the {'validation' if empty[0] else 'training'} images lie in no "
            f"class folders; give {FORM}."
        )
    counts = {part: {name: len(files) for name, files in folders.items()} for part, folders in images.items()}
    notes = refuse_deviation("; ".join(deviations(classes, counts)), options)
    decoding, decoders = Decoding(options.size, as_published=True), Decoders(options.workers)
    contents: dict[str, Content] = {}
    for split, wanted in classes.lists().items():
        folders = images[QUERIES if split.endswith(QUERIES) else ""]
        contents[split] = _content(split, {n: folders[n] for n in wanted if n in folders}, classes, decoding, decoders)
    return Collected({split: contents[split] for split in STORED}, {"preparation": decoding.describe(), **notes})


def _content(
    split: str, images: dict[str, dict[str, Path]], lowshot: LowShotClasses, decoding: Decoding, decoders: Decoders
) -> ImageFiles:
    """The files of one split, of which `images` are the classes."""
    labels = np.repeat(np.arange(len(images)), [len(files) for files in images.values()])
    files = [path for of_class in images.values() for path in of_class.values()]
    names = [name for of_class in images.values() for name in of_class]
    notes: dict[str, Any] = {"words": {name: lowshot.words[name] for name in images}}
    if split.startswith("train"):
        notes["groups"] = lowshot.base
    return ImageFiles(files, labels, list(images), names, "ILSVRC 2012", decoding, decoders, notes=notes)


def _two_folders(sources: tuple[Path, ...]) -> dict[str, Path]:
    """The folder of the training images, under "", and that of the validation images."""
    if len(sources) == 1:
        sources = tuple(sources[0] / name for name in ("train", "val"))
    folders = {"" if path.name.startswith("train") else QUERIES: path for path in sources}
    if len(sources) != 2 or len(folders) != 2 or not all(path.is_dir() for path in sources):
        raise UserError(f"--from names {', '.join(map(str, sources))}; give {FORM}, or the folder that holds both.")
    return folders
