"""A published benchmark in small: two or three classes a split, three images a class, in the forms it comes in."""

import pickle
import shutil
from functools import partial

import numpy as np

from core.data.datasets import Dataset
from core.data.store import SPLITS
from core.prepare import catalogue
from core.prepare.collect import Options, Published
from core.prepare.prepare import prepare
from core.prepare.sources import Source

LISTS = {"train": ["n01", "n02", "n03"], "val": ["n04", "n05"], "test": ["n06", "n07"]}
ALL = [name for split in SPLITS for name in LISTS[split]]
WORDS = {name: f"bird {name}, Avis {name}" for name in ALL}
SMALL = Published(lambda: LISTS, per_class=3, words=lambda: WORDS)


def prepared(root, paths, collect=catalogue.mini, published=SMALL, **options):
    source = Source(Dataset("Mini", 8, published.lists), partial(collect, published=published), terms="none")
    paths = tuple(paths) if isinstance(paths, list) else (paths,)
    return prepare(root, source, Options(paths, workers=1, **options))


def as_published(splits):
    return [split.classes for split in splits] == [LISTS[split] for split in SPLITS] and all(
        (split.counts == 3).all() for split in splits
    )


def write_csv_layout(folder, flat, by_class):
    (folder / "images").mkdir(parents=True)
    for split in SPLITS:
        lines = ["filename,label"]
        for name in LISTS[split]:
            lines += [f"{path.name},{name}" for path in (flat / name).iterdir()]
            shutil.copytree(flat / name, folder / "images" / (name if by_class else ""), dirs_exist_ok=True)
        (folder / f"{split}.csv").write_text("\n".join(lines))
    return folder


def mini_pickles(folder, **change):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, word in zip(SPLITS, ("train", "validation", "test"), strict=True):
        count = 3 * len(LISTS[split])
        rows = np.arange(count).reshape(-1, 3).tolist()
        content = {
            "image_data": rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8),
            "class_dict": dict(zip(LISTS[split], rows, strict=True)),
        }
        (folder / f"mini-imagenet-cache-{word}.pkl").write_bytes(pickle.dumps(content | change, 2))
    return folder


def tiered_pickles(folder, flat):
    folder.mkdir()
    for split in SPLITS:
        paths = [path for name in LISTS[split] for path in sorted((flat / name).iterdir())]
        pngs = [np.frombuffer(path.read_bytes(), np.uint8) for path in paths]
        texts = [f"bird {name}" for name in LISTS[split]]
        labels = {"label_specific": np.arange(len(texts)).repeat(3), "label_specific_str": texts}
        (folder / f"{split}_images_png.pkl").write_bytes(pickle.dumps(pngs, 2))
        (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels, 2))
    return folder
