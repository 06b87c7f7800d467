"""Any file of features as a data set: its classes, their names and their splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data.store import SPLITS
from ..errors import UserError
from ..files import sha256
from .collect import Collected, Options, split_classes
from .feature_files import FeatureRows, RowFile, read_features
from .split_files import split_name

BASE_CLASSES = "base classes"  # what --learned-from says where a network has seen nothing else


def collect_feature_file(file: Path, options: Options) -> Collected:
    """The splits of a file of features; see `core.prepare.feature_files` for what it holds.

    Classes without names are called by their numbers. Their split comes from a JSON file, the file itself, or the
    classes' hashes.

    Raises:
        UserError: where the file is none, or its classes cannot be split.
    """
    others = [path for path in options.sources if path.suffix.lower() != ".json"]
    if others:
        raise UserError(
            f"--from names '{others[0]}', but {file} holds the features; give a JSON file of classes or none."
        )
    table = read_features(file, options.scratch / "features.raw")
    names = _class_names(table)
    sizes = dict(zip(names, np.bincount(table.labels, minlength=len(names)).tolist(), strict=True))
    counts = {name: size for name, size in sizes.items() if size}
    split_of, how = split_classes(file, counts, _given_splits(table, names), "the file", options)
    contents = {split: _rows(table, names, split_of, split) for split in SPLITS}
    notes = {"split_by": how, "preparation": {"features": table.shape[0]}}
    return Collected(contents, notes | _external_data(file, options.learned_from))


def _external_data(file: Path, learned_from: str) -> dict[str, Any]:
    """The manifest's note on the network behind a file of features, for every result; {} where it needs none."""
    if learned_from == BASE_CLASSES:
        return {}
    data = learned_from or "data not known"
    facts = {"encoder": "not known", "weights": f"the network behind {file.name}", "data": data}
    return {"external_data": facts | {"licence": "not known", "sha256": sha256(file)}}


def _class_names(table: RowFile) -> list[str]:
    """What the labels of a file stand for."""
    twice = [name for name in table.classes if table.classes.count(name) > 1]
    if twice:
        raise UserError(f"{table.origin} has two classes called {twice[0]!r}; rename one.")
    most = int(table.labels.max())
    return table.classes or [f"{label:0{len(str(most))}d}" for label in range(most + 1)]


def _given_splits(table: RowFile, names: list[str]) -> dict[str, str]:
    """The split of each class as the file says it, once a class or once a row; {} where it says none."""
    words = table.splits
    if not words:
        return {}
    if len(words) not in (len(names), len(table.labels)):
        raise UserError(
            f"{table.origin} names {len(words)} splits for {len(names)} classes and {len(table.labels)} rows; give one "
            "for each class or for each row."
        )
    labels = table.labels if len(words) == len(table.labels) else np.arange(len(names))
    unknown = [word for word in words if not split_name(word)]
    if unknown:
        raise UserError(f"{table.origin} names the split {unknown[0]!r}, which is not one of: {', '.join(SPLITS)}.")
    split_of: dict[str, str] = {}
    for label, split in sorted(set(zip(labels.tolist(), map(split_name, words), strict=True))):
        if names[label] in split_of:
            raise UserError(
                f"{table.origin} has class {names[label]!r} in {split_of[names[label]]} and in {split}: splits of "
                "few-shot learning part the classes, not the images of each; give a class one split."
            )
        split_of[names[label]] = split
    present = set(table.labels.tolist())
    return {name: split for label, name in enumerate(names) if label in present for split in [split_of[name]]}


def _rows(table: RowFile, names: list[str], split_of: dict[str, str], split: str) -> FeatureRows:
    """The features of one split; images are numbered in the order of the file."""
    chosen = [label for label, name in enumerate(names) if split_of.get(name) == split]
    label_of = np.full(len(names), -1)
    label_of[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(label_of[table.labels] >= 0)
    digits = len(str(len(table.labels)))
    images = [f"{row:0{digits}d}" for row in rows.tolist()]
    return FeatureRows(table, rows, label_of[table.labels[rows]], [names[c] for c in chosen], images, str(table.origin))
