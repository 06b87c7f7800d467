"""CIFAR-100 in small, in every form it comes in."""

import pickle
import tarfile
from functools import partial

import numpy as np
from PIL import Image

from core.data.class_lists import class_lists
from core.data.datasets import DATASETS
from core.prepare import cifar
from core.prepare.collect import Published
from core.prepare.sources import Source

LISTS = class_lists("cifar_fs")
CLASSES = sorted(name for names in LISTS.values() for name in names)
PER_CLASS = 3


def small_cifar(name="CIFAR-FS", per_class=PER_CLASS, **facts):
    """The source of CIFAR-FS or FC100 with a few images a class."""
    collect = {"CIFAR-FS": cifar.cifar_fs, "FC100": cifar.fc100}[name]
    published = Published(DATASETS[name].classes, per_class=per_class)
    return Source(DATASETS[name], partial(collect, published=published), **facts)


def make_parts(seed=0, copies=(2, 1)):
    """The three pickled dicts of CIFAR-100 in small: so many training images and test images of each class."""
    rng = np.random.default_rng(seed)
    parts = {"meta": {"fine_label_names": list(CLASSES), "coarse_label_names": ["things"] * 20}}
    for name, count in zip(("train", "test"), copies, strict=True):
        labels = rng.permutation(np.repeat(np.arange(100), count)).tolist()
        parts[name] = {
            "filenames": [f"{name}_{row:04d}.png" for row in range(len(labels))],
            "batch_label": name,
            "fine_labels": labels,
            "coarse_labels": [label // 5 for label in labels],
            "data": rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8),
        }
    return parts


def write_pickles(folder, parts, protocol=2):
    """The unpacked folder cifar-100-python. Bytes are written as they are, so that a test can damage them."""
    folder = folder / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, part in parts.items():
        (folder / name).write_bytes(part if isinstance(part, bytes) else pickle.dumps(part, protocol))
    return folder


def write_tar(folder, parts, compression):
    pickles = write_pickles(folder / "unpacked", parts)
    path = folder / f"cifar-100-python.tar.{compression}"
    with tarfile.open(path, f"w:{compression}") as tar:
        tar.add(pickles, "cifar-100-python")
    return path


def write_pngs(folder, parts, nested=False):
    """One folder a class; nested, the folders of a split lie in a folder named as the split."""
    split_of = {name: split for split in ("train", "val", "test") for name in LISTS[split]}
    for part in (parts["train"], parts["test"]):
        for name, label, pixels in zip(part["filenames"], part["fine_labels"], part["data"], strict=True):
            target = folder / split_of[CLASSES[label]] if nested else folder
            target = target / CLASSES[label] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.reshape(3, 32, 32).transpose(1, 2, 0)).save(target)
    return folder


def by_name(split):
    """Pixels of each (class, image name)."""
    labels = [split.classes[label] for label in split.labels]
    keys = list(zip(labels, split.names, strict=True))
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, split.images, strict=True))
