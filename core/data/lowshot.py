"""ImageNet low-shot (Hariharan and Girshick, ICCV 2017) on features: 389 base and 611 novel classes, in two groups.

Stored splits, each of features:

    train  val  test                             images of ImageNet's training set: base, novel 1, novel 2
    train-queries  val-queries  test-queries     images of its validation set, of the same classes

Group "val" (193 base, 300 novel classes) is for choices, group "test" (196 base, 311 novel) for results. Shots of a
novel class are drawn from `val` or `test`; queries are all the images of `*-queries` of the group's classes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..prepare.cifar import SPLIT_FILES
from ..prepare.collect import Collected, Options, refuse_deviation
from ..prepare.feature_files import Rows, Table, read_features
from .store import SPLITS, Split, read_split, split_dir
from .writer import fingerprint

QUERIES = "-queries"
GROUPS = ("val", "test")
STORED = (*SPLITS, *(split + QUERIES for split in SPLITS))
PER_CLASS, TRAINING_IMAGES = 50, 1_281_167  # validation images of a class, training images in all
CLASS_IDS = ("sorted", "label_names")


@dataclass(frozen=True)
class Published:
    """The classes of the benchmark, by wnid."""

    base: dict[str, list[str]]  # of each group
    novel: dict[str, list[str]]
    label_names: list[str]  # wnids in the order of the benchmark's class ids
    words: dict[str, str]

    def lists(self) -> dict[str, list[str]]:
        """Classes of every stored split."""
        lists = {"train": sorted(self.base["val"] + self.base["test"]), **self.novel}
        return lists | {split + QUERIES: classes for split, classes in lists.items()}


@cache
def published(by_sorted_wnid: bool = False) -> Published:
    """The class lists; `by_sorted_wnid` reads their class ids as places among the sorted wnids.

    The ids of label_idx.json index its label_names, which are not sorted. The code of Gidaris and Komodakis uses the
    same ids for torchvision's labels, and so has other classes: 150 of 389 base classes are the same.
    """
    content = json.loads((SPLIT_FILES / "imagenet_lowshot.json").read_text(encoding="utf-8"))
    order = content["label_names"]
    read_as = dict(zip(order, sorted(order), strict=True)) if by_sorted_wnid else {name: name for name in order}
    groups = {
        kind: {group: sorted(read_as[name] for name in content[f"{kind}_{group}"]) for group in GROUPS}
        for kind in ("base", "novel")
    }
    return Published(groups["base"], groups["novel"], order, content["names"])


def collect_lowshot(options: Options, by_sorted_wnid: bool = False, found: Published | None = None) -> Collected:
    """The six splits from a file of features of the training images and one of the validation images."""
    found = found or published(by_sorted_wnid)
    files = _two_files(options.sources)
    tables = {part: read_features(file, options.scratch / f"{part or 'train'}.raw") for part, file in files.items()}
    first, second = tables.values()
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        raise UserError(
            f"{first.origin} holds {first.shape[0]} numbers of {first.dtype} an image, and {second.origin} "
            f"{second.shape[0]} of {second.dtype}; give features of one network."
        )
    wnids = {part: _class_order(table, found, options.class_ids) for part, table in tables.items()}
    counts = {part: _counts(table, wnids[part]) for part, table in tables.items()}
    notes = refuse_deviation("; ".join(_deviations(found, counts)), options)
    contents = {split: _content(split, tables, wnids, found) for split in STORED}
    order = options.class_ids or "named in the files"
    return Collected(contents, {"preparation": {"features": first.shape[0], "class_ids": order}, **notes})


def _two_files(sources: tuple[Path, ...]) -> dict[str, Path]:
    """The files of the training images ("") and of the validation images; their names must tell them apart."""
    found: dict[str, list[Path]] = {"": [], QUERIES: []}
    for source in sources:
        words = source.name.lower()
        if ("train" in words) == ("val" in words):
            raise UserError(f"--from names '{source}', which says neither train nor val; rename the file.")
        found["" if "train" in words else QUERIES].append(source)
    for files, what in zip(found.values(), ("training", "validation"), strict=True):
        if len(files) != 1:
            raise UserError(f"--from has {len(files)} files of {what} images; give one with train and one with val.")
    return {part: files[0] for part, files in found.items()}


def _class_order(table: Table, found: Published, class_ids: str) -> list[str]:
    """The wnids that a file's labels index; never guessed, as two orders are in use."""
    if table.classes and class_ids:
        raise UserError(f"--class-ids is {class_ids}, but {table.origin} names its classes itself; leave it out.")
    if not table.classes and not class_ids:
        raise UserError(
            f"{table.origin} numbers its classes, and two orders are in use; give --class-ids sorted (by wnid, as "
            "torchvision's ImageFolder and the code of Gidaris and Komodakis) or --class-ids label_names (the order "
            "of label_idx.json)."
        )
    order = table.classes or (sorted(found.label_names) if class_ids == "sorted" else found.label_names)
    if len(set(order)) < len(order) or int(table.labels.max()) >= len(order):
        raise UserError(
            f"{table.origin} has labels up to {table.labels.max()} for {len(set(order))} classes; get it again."
        )
    return order


def _counts(table: Table, wnids: list[str]) -> dict[str, int]:
    """Images of each class."""
    return dict(zip(wnids, np.bincount(table.labels, minlength=len(wnids)).tolist(), strict=True))


def _deviations(found: Published, counts: dict[str, dict[str, int]]) -> list[str]:
    """How the numbers of images differ from ImageNet's, in words."""
    said = []
    for part, what in (("", "training"), (QUERIES, "validation")):
        missing = [name for name in found.label_names if not counts[part].get(name)]
        if missing:
            said.append(f"{len(missing)} of 1000 classes have no {what} image, such as {missing[0]}")
    total = sum(counts[""].get(name, 0) for name in found.label_names)
    if total != TRAINING_IMAGES:
        said.append(f"{total} training images instead of {TRAINING_IMAGES}")
    wrong = [name for name in found.label_names if counts[QUERIES].get(name, 0) not in (0, PER_CLASS)]
    if wrong:
        said.append(f"{counts[QUERIES][wrong[0]]} validation images of {wrong[0]} instead of {PER_CLASS}")
    return said


def _content(split: str, tables: dict[str, Table], wnids: dict[str, list[str]], found: Published) -> Rows:
    """The features of one stored split; images are numbered within their class in the order of the file."""
    part = QUERIES if split.endswith(QUERIES) else ""
    table, place = tables[part], {name: i for i, name in enumerate(wnids[part])}
    classes = [name for name in found.lists()[split] if name in place]
    label_of = np.full(len(place), -1)
    label_of[[place[name] for name in classes]] = np.arange(len(classes))
    labels = label_of[table.labels]
    rows = np.argsort(labels, kind="stable")[np.count_nonzero(labels < 0) :]
    labels = labels[rows]
    number = np.arange(len(rows)) - np.searchsorted(labels, labels)
    names = [f"{classes[label]}_{n:05d}" for label, n in zip(labels.tolist(), number.tolist(), strict=True)]
    notes = {"words": {name: found.words[name] for name in classes}}
    if split.startswith("train"):
        notes["groups"] = found.base
    return Rows(table, rows, labels, classes, names, f"features of {table.origin.name}", notes)


@dataclass(frozen=True)
class Generalized:
    """What an evaluation of one group over base and novel classes reads; its label space is base, then novel."""

    shots: Split  # novel classes, training images: supports are drawn here
    novel: Split  # the same classes, validation images: every one is a query
    base: Split  # the group's base classes, validation images: every one is a query
    base_ids: np.ndarray  # [classes of base] their labels in the split `train`


def open_group(root: str | Path, name: str, group: str) -> Generalized:
    """The splits of group "val" or "test" of a prepared ImageNet-LowShot."""
    shots, novel, queries = (read_split(split_dir(root, name, 0, s)) for s in (group, group + QUERIES, STORED[3]))
    wanted = queries.manifest["groups"][group]
    base = select_classes(queries, wanted)
    return Generalized(shots, novel, base, np.array([queries.classes.index(name) for name in base.classes]))


def select_classes(split: Split, classes: list[str]) -> Split:
    """The images of some classes, which are numbered anew in the order of their names."""
    wanted = sorted(set(classes) & set(split.classes))
    label_of = np.full(len(split.classes), -1)
    label_of[[split.classes.index(name) for name in wanted]] = np.arange(len(wanted))
    chosen = np.flatnonzero(label_of[split.labels] >= 0)
    labels, names = label_of[split.labels[chosen]], [split.names[row] for row in chosen.tolist()]
    manifest = split.manifest | {"classes": wanted, "fingerprint": fingerprint(wanted, names, labels)}
    manifest["counts"] = np.bincount(labels, minlength=len(wanted)).tolist()
    vectors = None if split.vectors is None else split.vectors[[split.classes.index(name) for name in wanted]]
    rows = chosen if split.rows is None else split.rows[chosen]
    return replace(split, labels=labels, names=names, classes=wanted, manifest=manifest, rows=rows, vectors=vectors)
