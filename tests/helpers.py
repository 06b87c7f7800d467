"""Splits and tasks that exist in memory only."""

import numpy as np
import torch

from core.data.store import Split, fingerprint
from core.episode import Task


def make_split(n_classes, per_class, size=16, seed=0, vectors=True):
    """Random pixels; `per_class` is one count for all classes, or one count for each."""
    rng = np.random.default_rng(seed)
    counts = np.broadcast_to(per_class, n_classes)
    labels = np.repeat(np.arange(n_classes), counts).astype(np.int64)
    images = rng.integers(0, 256, (len(labels), size, size, 3), dtype=np.uint8)
    classes = [f"class{c:03d}" for c in range(n_classes)]
    names = [f"{i:05d}" for count in counts for i in range(count)]
    pixels = images / 255
    manifest = {
        "dataset": "Made",
        "split": "train",
        "classes": classes,
        "counts": counts.tolist(),
        "size": size,
        "mean": pixels.mean((0, 1, 2)).tolist(),
        "std": pixels.std((0, 1, 2)).tolist(),
        "fingerprint": fingerprint(classes, names, labels),
    }
    words = rng.normal(size=(n_classes, 7)).astype(np.float32) if vectors else None
    return Split("Made", "train", images, labels, classes, names, manifest, words)


def make_task(support, query, way, shot=None, support_y=None, seed=0):
    """A task around given features; labels are class-major unless `support_y` [T, n_s] says otherwise."""
    tasks, queries = next(iter(query.values())).shape[:2]
    if support_y is None:
        support_y = torch.arange(way).repeat_interleave(shot).expand(tasks, -1)
    return Task(
        support=support,
        support_y=support_y,
        query=query,
        query_y=torch.arange(queries).remainder(way).sort().values.expand(tasks, -1),
        way=way,
        shot=shot,
        class_ids=torch.arange(way).expand(tasks, -1),
        seed=torch.arange(tasks) + seed,
    )
