"""Data that the documents ask their reader for, made up."""

import numpy as np

from tests.prepare.fake_cifar import make_parts, write_tar


def write_cifar(folder):
    """An archive like CIFAR-100's, with as many images, below `folder`; they are blocks of colours."""
    parts = make_parts(copies=(5, 1))
    rng = np.random.default_rng(0)
    for name, count in (("train", 500), ("test", 100)):
        labels = np.repeat(np.arange(100), count).tolist()
        blocks = rng.integers(0, 256, (len(labels), 3, 4, 1, 4, 1), dtype=np.uint8)
        pixels = np.broadcast_to(blocks, (len(labels), 3, 4, 8, 4, 8)).reshape(len(labels), 3072)
        names = [f"{name}_{row:05d}.png" for row in range(len(labels))]
        parts[name] |= {"filenames": names, "fine_labels": labels, "data": pixels}
        parts[name]["coarse_labels"] = [label // 5 for label in labels]
    return write_tar(folder, parts, "gz")
