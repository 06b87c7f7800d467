"""Files of features, and ImageNet low-shot in small: six base and six novel classes."""

from functools import partial

import numpy as np

from core.data.class_lists import STORED, LowShotClasses
from core.data.datasets import Dataset
from core.prepare.collect import Options
from core.prepare.lowshot import collect_lowshot
from core.prepare.prepare import prepare
from core.prepare.sources import Source

ORDER = ["n09", "n03", "n11", "n01", "n05", "n12", "n02", "n10", "n04", "n08", "n06", "n07"]  # as label_idx.json has it
SORTED = sorted(ORDER)
BASE = {"val": ["n01", "n02", "n03"], "test": ["n04", "n05", "n06"]}
NOVEL = {"val": ["n07", "n08", "n09"], "test": ["n10", "n11", "n12"]}
SMALL = LowShotClasses(BASE, NOVEL, ORDER, {name: f"bird {name}" for name in ORDER})
DIM = 8


def small_lowshot(name="ImageNet-LowShot"):
    """The source of ImageNet low-shot on the small lists."""
    return Source(Dataset(name, 0, SMALL.lists, splits=STORED), partial(collect_lowshot, classes=SMALL))


def features(order, per_class, seed=0, dtype=np.float32):
    """Features [N, D] around a centre of each class, shuffled, and labels that index `order`; no names of classes."""
    rng, label = np.random.default_rng(seed), np.repeat(np.arange(len(order)), per_class)
    rng.shuffle(label)
    centres = np.array([np.random.default_rng(int(name[1:])).normal(size=DIM) for name in order])
    return {
        "all_features": (centres[label] + rng.normal(0, 0.3, (len(label), DIM))).astype(dtype),
        "all_labels": label,
    }


def write_npz(folder, train, val, save=np.savez):
    """Both files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in (("train", train), ("val", val)):
        save(folder / f"features_{name}.npz", **arrays)
    return folder / "features_train.npz", folder / "features_val.npz"


def prepared(root, order=SORTED, class_ids="sorted", sources=(), train=(), **options):
    """The splits of 9 training and 4 validation images a class; see `few_images`."""
    files = write_npz(root / "files", features(order, 9) | dict(train), features(order, 4, seed=1))
    return prepare(root / "data", small_lowshot(), Options(tuple(sources) or files, class_ids=class_ids, **options))
