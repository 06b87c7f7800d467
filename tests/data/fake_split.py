"""A split of six images in three classes."""

import numpy as np

from core.data.store import split_dir, write_split

CLASSES = ["pear", "apple", "quince"]


def fruit(seed=0, size=4):
    """The arguments of `write_fruit`: images, labels and names of three classes in no order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation([0, 0, 1, 1, 1, 2])
    images = rng.integers(0, 256, (6, size, size, 3), dtype=np.uint8)
    return images, labels, CLASSES, ["f", "b", "d", "a", "c", "e"], "nowhere"


def write_fruit(root, *arguments, **options):
    folder = split_dir(root, "Fruit", 4, "val")
    write_split(folder, "Fruit", *arguments, **options)
    return folder
