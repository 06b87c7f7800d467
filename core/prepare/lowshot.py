"""Collect ImageNet low-shot from files of features; its splits are described in `core.data.lowshot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data.class_lists import QUERIES, STORED, LowShotClasses, lowshot_classes
from ..errors import UserError
from .collect import Collected, Options, refuse_deviation
from .feature_files import FeatureRows, RowFile, read_features

PER_CLASS, TRAINING_IMAGES = 50, 1_281_167  # validation images of a class, training images of all classes
CLASS_IDS = ("sorted", "label_names")  # what the class numbers of a file may index


def total() -> int:
    """Images of all splits."""
    return TRAINING_IMAGES + PER_CLASS * len(lowshot_classes().label_names)


def collect_lowshot(options: Options, by_sorted_wnid: bool = False, classes: LowShotClasses | None = None) -> Collected:
    """The six splits from a file of features of the training images and one of the validation images.

    `by_sorted_wnid` is that of `lowshot_classes`; `classes` are other classes than the published ones.
    """
    classes = classes or lowshot_classes(by_sorted_wnid)
    files = _two_files(options.sources)
    tables = {part: read_features(file, options.scratch / f"{part or 'train'}.raw") for part, file in files.items()}
    train, queries = tables.values()
    if (train.shape, train.dtype) != (queries.shape, queries.dtype):
        raise UserError(
            f"{train.origin} holds {train.shape[0]} numbers of {train.dtype} an image, and {queries.origin} "
            f"{queries.shape[0]} of {queries.dtype}; give features of one network."
        )
    wnids = {part: _class_order(table, classes, options.class_ids) for part, table in tables.items()}
    counts = {part: _counts(table, wnids[part]) for part, table in tables.items()}
    notes = refuse_deviation("; ".join(deviations(classes, counts)), options)
    contents = {split: _content(split, tables, wnids, classes) for split in STORED}
    order = options.class_ids or "named in the files"
    return Collected(contents, {"preparation": {"features": train.shape[0], "class_ids": order}, **notes})


def _two_files(sources: tuple[Path, ...]) -> dict[str, Path]:
    """The file of the training images, under "", and that of the validation images; their names tell them apart."""
    files: dict[str, list[Path]] = {"": [], QUERIES: []}
    for source in sources:
        name = source.name.lower()
        if ("train" in name) == ("val" in name):
            raise UserError(f"--from names '{source}', which says neither train nor val; rename the file.")
        files["" if "train" in name else QUERIES].append(source)
    for paths, kind in zip(files.values(), ("training", "validation"), strict=True):
        if len(paths) != 1:
            raise UserError(f"--from has {len(paths)} files of {kind} images; give one with train and one with val.")
    return {part: paths[0] for part, paths in files.items()}


def _class_order(table: RowFile, classes: LowShotClasses, class_ids: str) -> list[str]:
    """The wnids that a file's labels index; they are never guessed, as two orders are in use."""
    if table.classes and class_ids:
        raise UserError(f"--class-ids is {class_ids}, but {table.origin} names its classes itself; leave it out.")
    if not table.classes and not class_ids:
        raise UserError(
            f"{table.origin} numbers its classes, and two orders are in use; give --class-ids sorted (by wnid, as "
            "torchvision's ImageFolder and the code of Gidaris and Komodakis) or --class-ids label_names (the order "
            "of label_idx.json)."
        )
    order = table.classes or (sorted(classes.label_names) if class_ids == "sorted" else classes.label_names)
    if len(set(order)) < len(order) or int(table.labels.max()) >= len(order):
        raise UserError(
            f"{table.origin} has labels up to {table.labels.max()} for {len(set(order))} classes; get it again."
        )
    return order


def _counts(table: RowFile, wnids: list[str]) -> dict[str, int]:
    """The number of images of each class."""
    return dict(zip(wnids, np.bincount(table.labels, minlength=len(wnids)).tolist(), strict=True))


def deviations(classes: LowShotClasses, counts: dict[str, dict[str, int]]) -> list[str]:
    """In words, how the numbers of images of the training ("") and the validation part differ from ImageNet's."""
    texts = []
    for part, kind in (("", "training"), (QUERIES, "validation")):
        missing = [name for name in classes.label_names if not counts[part].get(name)]
        if missing:
            texts.append(f"{len(missing)} of 1000 classes have no {kind} image, such as {missing[0]}")
    training_images = sum(counts[""].get(name, 0) for name in classes.label_names)
    if training_images != TRAINING_IMAGES:
        texts.append(f"{training_images} training images instead of {TRAINING_IMAGES}")
    wrong = [name for name in classes.label_names if counts[QUERIES].get(name, 0) not in (0, PER_CLASS)]
    if wrong:
        texts.append(f"{counts[QUERIES][wrong[0]]} validation images of {wrong[0]} instead of {PER_CLASS}")
    return texts


def _content(
    split: str, tables: dict[str, RowFile], wnids: dict[str, list[str]], lowshot: LowShotClasses
) -> FeatureRows:
    """The features of one stored split; images are numbered within their class in the order of the file."""
    part = QUERIES if split.endswith(QUERIES) else ""
    table, number_of = tables[part], {name: number for number, name in enumerate(wnids[part])}
    classes = [name for name in lowshot.lists()[split] if name in number_of]
    label_of = np.full(len(number_of), -1)
    label_of[[number_of[name] for name in classes]] = np.arange(len(classes))
    labels = label_of[table.labels]
    rows = np.argsort(labels, kind="stable")[np.count_nonzero(labels < 0) :]
    labels = labels[rows]
    place = np.arange(len(rows)) - np.searchsorted(labels, labels)  # within the class
    names = [f"{classes[label]}_{n:05d}" for label, n in zip(labels.tolist(), place.tolist(), strict=True)]
    notes: dict[str, Any] = {"words": {name: lowshot.words[name] for name in classes}}
    if split.startswith("train"):
        notes["groups"] = lowshot.base
    return FeatureRows(table, rows, labels, classes, names, f"features of {table.origin.name}", notes)
