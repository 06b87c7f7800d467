"""CIFAR-100 from whatever form it is at hand, cut into the class splits of few-shot benchmarks.

Krizhevsky, Learning multiple layers of features from tiny images, 2009.
CIFAR-FS: Bertinetto et al., Meta-learning with differentiable closed-form solvers, ICLR 2019.
FC100: Oreshkin et al., TADAM: task dependent adaptive metric for improved few-shot learning, NeurIPS 2018.
"""

from __future__ import annotations

import json
import os
import struct
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from .. import paths
from ..data.store import SPLITS, Pictures
from ..errors import UserError
from .layouts import find_images
from .numbered_pickles import numbered_files, read_numbered
from .unpickle import load_pickle, read_archive

SPLIT_FILES = paths.SPLITS
PICKLES = ("meta", "train", "test")
IMAGES_PER_CLASS = 600
SIDE = 32
WHAT = "the cifar-100-python archive, its unpacked folder, or a folder with one folder of PNGs a class"


def class_lists(name: str) -> dict[str, list[str]]:
    """The class names of each split, as data/splits/<name>.json has them."""
    content = json.loads((SPLIT_FILES / f"{name}.json").read_text(encoding="utf-8"))
    return {split: content[split]["classes"] if name == "fc100" else content[split] for split in SPLITS}


def read_cifar_fs(source: Path, per_class: int = IMAGES_PER_CLASS) -> dict[str, Pictures]:
    """The three splits of CIFAR-FS: 64, 16 and 20 classes of CIFAR-100, its train and test images merged."""
    return _read_splits(source, "cifar_fs", per_class)


def read_fc100(source: Path, per_class: int = IMAGES_PER_CLASS) -> dict[str, Pictures]:
    """The three splits of FC100: 60, 20 and 20 classes of CIFAR-100, no superclass in two of them."""
    return _read_splits(source, "fc100", per_class)


def _read_splits(source: Path, split_list: str, per_class: int) -> dict[str, Pictures]:
    """CIFAR-100 cut by the class lists of data/splits/<split_list>.json."""
    lists = class_lists(split_list)
    numbered = numbered_files(source, split_list.upper()) if os.path.isdir(source) else {}
    if numbered:
        return read_numbered(numbered, lists, per_class)
    expected = {name: per_class for split in SPLITS for name in lists[split]}
    everything = read_cifar100(source, expected)
    origin = f"CIFAR-100 from {source.resolve().name}; classes of data/splits/{split_list}.json"
    return {split: _select(everything, lists[split], origin) for split in SPLITS}


def read_cifar100(source: Path, expected: dict[str, int]) -> Pictures:
    """All images of CIFAR-100, checked against the `expected` number of images of each class."""
    try:
        return _read_any(source, expected)
    except OSError as error:
        raise UserError(f"{error.filename or source} cannot be read ({error.strerror}); check --from.") from error


def _read_any(source: Path, expected: dict[str, int]) -> Pictures:
    """Tell the forms CIFAR-100 comes in apart."""
    if not source.exists():
        raise UserError(f"--from is '{source}', which does not exist; give {WHAT}.")
    if source.is_dir():
        files = _pickle_files(source)
        if not files:
            return _read_class_folders(source, expected)
        contents = {name: path.read_bytes() for name, path in files.items()}
    else:
        contents = read_archive(source, PICKLES)
    missing = [name for name in PICKLES if name not in contents]
    if missing:
        raise UserError(f"--from is '{source}', which lacks the file {' and '.join(missing)}; give {WHAT}.")
    return _from_pickles(contents, source, expected)


def _pickle_files(source: Path) -> dict[str, Path]:
    """The pickles in a folder or in its cifar-100-python folder, by name."""
    for folder in (source, source / "cifar-100-python"):
        files = {name: folder / name for name in PICKLES if (folder / name).is_file()}
        if files:
            return files
    return {}


def _from_pickles(contents: dict[str, bytes], source: Path, expected: dict[str, int]) -> Pictures:
    """Merge the train and test pickles; which of the two an image came from is forgotten."""
    meta = _load_dict(contents["meta"], source, "meta")
    classes = _strings(meta.get("fine_label_names"))
    if not classes or len(set(classes)) < len(classes):
        raise UserError(f"{source}: meta has no fine_label_names, or names one twice; get the file from its publisher.")
    parts = [_read_part(contents[name], source, name, len(classes)) for name in PICKLES[1:]]
    images, labels = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    counts = Counter(classes[label] for label in labels.tolist())
    _compare({name: counts[name] for name in classes}, expected, source)
    images = images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    names = _distinct([name for part in parts for name in part[2]], labels, images, source)
    return Pictures(images, labels, classes, names, str(source))


def _read_part(content: bytes, source: Path, name: str, ways: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pixels [N, 3072], labels [N] and file names of one pickle, after checking that they are that."""
    part = _load_dict(content, source, name)
    pixels, labels, names = part.get("data"), part.get("fine_labels"), _strings(part.get("filenames"))
    reason = ""
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3 * SIDE * SIDE,):
        reason = f"data is not a uint8 array of {3 * SIDE * SIDE} values an image"
    elif not isinstance(labels, list) or not all(isinstance(x, int | np.integer) and 0 <= x < ways for x in labels):
        reason = f"fine_labels is not a list of numbers from 0 to {ways - 1}"
    elif names is None:
        reason = "filenames is not a list of names"
    elif not len(pixels) == len(labels) == len(names):
        reason = f"it holds {len(pixels)} images, {len(labels)} fine_labels and {len(names)} filenames"
    if reason:
        raise UserError(f"{source}: {name} is not a CIFAR-100 pickle: {reason}; get the file from its publisher.")
    return pixels, np.array(labels, np.int64), names


def _load_dict(content: bytes, source: Path, name: str) -> dict:
    """A pickled dict, its keys as strings."""
    loaded = load_pickle(content, f"{source}: {name}")
    if not isinstance(loaded, dict):
        raise UserError(f"{source}: {name} holds a {type(loaded).__name__}, not a dict; give {WHAT}.")
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in loaded.items()}


def _strings(value: object) -> list[str] | None:
    """A list of strings or bytes as strings; None for anything else."""
    if not isinstance(value, list) or not all(isinstance(item, str | bytes) for item in value):
        return None
    return [item.decode("latin1") if isinstance(item, bytes) else item for item in value]


def _read_class_folders(source: Path, expected: dict[str, int]) -> Pictures:
    """Decode one folder of PNGs a class, whatever folders are above those, or the images that CSV files list."""
    files: dict[str, list[Path]] = defaultdict(list)
    if (source / "train.csv").is_file():
        files |= {name: list(images.values()) for name, images in find_images([source]).images.items()}
    else:
        for path in _pngs(source, depth=3):
            files[path.parent.name].append(path)
    if not files:
        raise UserError(f"--from is '{source}', which holds neither CIFAR-100 pickles nor PNGs; give {WHAT}.")
    _compare({name: len(paths) for name, paths in files.items()}, expected, source)
    classes = sorted(files)
    paths = [path for name in classes for path in files[name]]
    labels = np.repeat(np.arange(len(classes)), [len(files[name]) for name in classes])
    images = np.stack([_decode(path) for path in paths])
    names = _distinct([path.name for path in paths], labels, images, source)
    return Pictures(images, labels, classes, names, str(source))


def _pngs(folder: Path, depth: int) -> list[Path]:
    """PNG files below a folder, hidden ones left out; links are followed, so the depth is bounded."""
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "__MACOSX")):
            continue
        if entry.is_dir():
            found += _pngs(entry, depth - 1) if depth else []
        elif entry.suffix.lower() == ".png":
            found.append(entry)
    return found


def _decode(path: Path) -> np.ndarray:
    """Pixels [32, 32, 3] of one PNG."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.size == (SIDE, SIDE):  # asked before the pixels are decoded
                return np.asarray(image.convert("RGB"))
            size = image.size
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(f"{path} does not decode as a PNG; replace it, or get the data again.") from error
    raise UserError(f"{path} is {size[0]}x{size[1]} pixels instead of {SIDE}x{SIDE}; give the original images.")


def _compare(found: dict[str, int], expected: dict[str, int], source: Path) -> None:
    """Refuse a source whose classes or numbers of images are not the expected ones."""
    wrong = [f"lacks {name}" for name in expected if name not in found]
    wrong += [f"has {name!r}" for name in found if name not in expected]
    if wrong:
        raise UserError(
            f"--from is '{source}', whose class names are not those of CIFAR-100: it {_some(wrong)}; give {WHAT}."
        )
    wrong = [f"{found[name]} of {name}" for name in expected if found[name] != expected[name]]
    if wrong:
        raise UserError(
            f"--from is '{source}', which should hold {max(expected.values())} images of each class "
            f"but holds {_some(wrong)}; get the data again."
        )


def _some(items: list[str]) -> str:
    """The first three items in words, and how many more there are."""
    rest = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(items[:3]) + rest


def _distinct(names: list[str], labels: np.ndarray, images: np.ndarray, source: Path) -> list[str]:
    """Image names that are unique within a class: repeats are numbered by pixels, so any order gives the same."""
    rows: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row, key in enumerate(zip(labels.tolist(), names, strict=True)):
        if not names[row].isprintable():
            raise UserError(f"--from is '{source}', which holds an image named {names[row]!r}; rename the image.")
        rows[key].append(row)
    distinct = list(names)
    for (_, name), repeats in rows.items():
        for number, row in enumerate(sorted(repeats, key=lambda r: images[r].tobytes())):
            distinct[row] = f"{name}~{number + 1}" if number else name
    return distinct


def _select(pictures: Pictures, classes: list[str], origin: str) -> Pictures:
    """The images of some classes, labelled by their place in `classes`."""
    label_of = {pictures.classes.index(name): place for place, name in enumerate(classes)}
    rows = np.flatnonzero(np.isin(pictures.labels, list(label_of)))
    labels = np.array([label_of[label] for label in pictures.labels[rows].tolist()])
    return Pictures(pictures.images[rows], labels, list(classes), [pictures.names[row] for row in rows], origin)
