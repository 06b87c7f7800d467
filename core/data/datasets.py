"""The data sets that FiveWay knows by name: their classes, image sizes and splits.

Where their files come from and how these are read is `core.prepare.sources`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from os.path import expanduser  # that of pathlib raises where there is no such user
from pathlib import Path

from ..errors import UserError
from ..names import nearest
from .class_lists import STORED, class_lists, lowshot_classes
from .store import SPLITS, prepared, split_dir

FOLDER = "folder:"
FEATURES = "features:"
FEATURE_FILES = (".npz", ".h5", ".hdf5")


@dataclass(frozen=True)
class Dataset:
    """What is known about a data set before its files are there."""

    name: str
    native_size: int  # side of its images in pixels; 0 = it holds features
    classes: Callable[[], dict[str, list[str]]] = dict  # published classes of each split; {} = none are published
    splits: tuple[str, ...] = SPLITS  # that are stored
    drawn: bool = False  # FiveWay draws it where it is missing
    path: Path | None = None  # the user's folder of class folders or file of features, in place of a benchmark
    features_as: str = ""  # the data set that reads features of its images; "" = features: before its own name

    @property
    def features(self) -> bool:
        """Whether it holds features instead of images."""
        return not self.native_size


def _lowshot(name: str, by_sorted_wnid: bool) -> Dataset:
    """ImageNet low-shot under one of the two readings of its class ids."""
    return Dataset(name, 0, lambda: lowshot_classes(by_sorted_wnid).lists(), splits=STORED)


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("Glyphs", 32, drawn=True),
        Dataset("CIFAR-FS", 32, partial(class_lists, "cifar_fs")),
        Dataset("FC100", 32, partial(class_lists, "fc100")),
        Dataset("miniImagenet", 84, partial(class_lists, "miniimagenet")),
        Dataset("tieredImagenet", 84, partial(class_lists, "tieredimagenet")),
        Dataset("CUB", 84, partial(class_lists, "cub_closerlook")),
        Dataset("CUB-FEAT", 84, partial(class_lists, "cub_feat")),
        Dataset("Omniglot", 28, partial(class_lists, "omniglot")),
        Dataset("ImageNet", 224, lambda: lowshot_classes().lists(), STORED, features_as="ImageNet-LowShot"),
        _lowshot("ImageNet-LowShot", by_sorted_wnid=False),
        _lowshot("ImageNet-LowShot-Sorted", by_sorted_wnid=True),
    )
}


def dataset(name: str, key: str = "DATASET.NAME") -> Dataset:
    """Look a data set up by its name in any case, or by `folder:PATH`, any folder of class folders.

    `features:FILE` is a file of features, .npz or HDF5; `features:NAME` are those that a network gave of a data set's
    images.

    Raises:
        UserError: where there is none of that name.
    """
    if name.lower().startswith(FOLDER):
        return _from_path(FOLDER, name[len(FOLDER) :], 84, key)
    if is_feature_file(name):
        return _from_path(FEATURES, name[len(FEATURES) :], 0, key)
    if name.lower().startswith(FEATURES):
        return replace(dataset(name[len(FEATURES) :], key), native_size=0, drawn=False)
    by_lower_name = {known.lower(): known for known in DATASETS}
    if name.lower() not in by_lower_name:
        path = "/" in name or Path(expanduser(name)).is_dir()
        advice = f"; for a folder of your own images write {FOLDER}{name}" if path else nearest(name, DATASETS)
        raise UserError(f"{key} is {name!r}, which is not one of: {', '.join(DATASETS)}{advice}.")
    return DATASETS[by_lower_name[name.lower()]]


def is_feature_file(name: str) -> bool:
    """Whether a name of a data set is `features:FILE`."""
    return name.lower().startswith(FEATURES) and name.lower().endswith(FEATURE_FILES)


def _from_path(kind: str, text: str, native_size: int, key: str) -> Dataset:
    """The data set of a path of the user's, stored under the path's last part and a hash of all of it."""
    if not text:
        raise UserError(f"{key} is '{kind}' without a path; write {kind}PATH.")
    path = Path(expanduser(text)).resolve()
    stem = "".join(c if c.isalnum() or c in "._-" else "_" for c in path.name) or "root"
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    return Dataset(f"{kind.removesuffix(':')}-{stem}-{digest}", native_size, path=path)


def split_folders(root: str | Path, dataset: Dataset, size: int = 0) -> list[Path]:
    """The folders of a data set's splits at a size in pixels; 0 is the native size."""
    return [split_dir(root, dataset.name, size or dataset.native_size, split) for split in dataset.splits]


def is_prepared(root: str | Path, dataset: Dataset, size: int = 0) -> bool:
    """Whether all splits of a data set are on disk at a size in pixels; 0 is the native size."""
    return prepared(split_folders(root, dataset, size))
