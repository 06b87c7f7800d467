"""Read CIFAR-100 in any of the forms it circulates in, and cut it into the class splits of few-shot benchmarks.

Krizhevsky, Learning multiple layers of features from tiny images, 2009.
CIFAR-FS: Bertinetto et al., Meta-learning with differentiable closed-form solvers, ICLR 2019.
FC100: Oreshkin et al., TADAM: task dependent adaptive metric for improved few-shot learning, NeurIPS 2018.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datasets import DATASETS
from ..errors import UserError
from ..progress import bar
from .collect import (
    Collected,
    Options,
    Published,
    compare_with_published,
    file_contents,
    image_counts,
    split_of_classes,
)
from .images import FILTER, Decoding, decode_all
from .layouts import find_images, folders_in, images_below
from .numbered_pickles import numbered_files, read_numbered
from .packing import Content, ImageArray, ResizedContent
from .unpickle import load_pickle

PICKLES = ("meta", "train", "test")
SIDE = 32
DEPTH = 3  # folders between the source and its images
FORMS = "the cifar-100-python archive, its unpacked folder, or a folder with one folder of PNGs a class"
CIFAR_FS = Published(DATASETS["CIFAR-FS"].classes, per_class=600)
FC100 = Published(DATASETS["FC100"].classes, per_class=600)


def cifar_fs(options: Options, published: Published = CIFAR_FS) -> Collected:
    """CIFAR-FS: 64, 16 and 20 classes of CIFAR-100, its train and test images merged."""
    return _collect(published, "cifar_fs", options)


def fc100(options: Options, published: Published = FC100) -> Collected:
    """FC100: 60, 20 and 20 classes of CIFAR-100, no superclass in two of the splits."""
    return _collect(published, "fc100", options)


def _collect(published: Published, list_name: str, options: Options) -> Collected:
    """CIFAR-100 cut by the class lists of data/splits/<list_name>.json."""
    source, *more = options.sources
    if more:
        raise UserError(f"--from has {len(options.sources)} paths, but CIFAR-100 is read from one; give that one.")
    if not source.is_dir():
        raise UserError(
            f"--from is '{source}', which is neither a folder nor an archive (.zip, .tar.gz); give {FORMS}."
        )
    origin = f"CIFAR-100 from {source.resolve().name}; classes of data/splits/{list_name}.json"
    contents = _pickled(source, list_name, published.lists(), origin)
    if not contents:
        return _collect_files(published, source, origin, options)
    notes = compare_with_published(published, image_counts(contents), options)
    if options.size != SIDE:
        contents = {split: ResizedContent(content, options.size) for split, content in contents.items()}
    return Collected(contents, {**_preparation(options.size), **notes})


def _pickled(source: Path, list_name: str, lists: dict[str, list[str]], origin: str) -> dict[str, Content]:
    """The splits from pickles, of CIFAR-100 or of the benchmark; {} where the folder has none."""
    numbered = numbered_files(source, list_name.upper())
    if numbered:
        return read_numbered(numbered, lists)
    files = _pickle_files(source)
    if not files:
        return {}
    everything = _read_pickles(files, source)
    return {split: _cut(everything, names, origin) for split, names in lists.items()}


def _preparation(size: int) -> dict[str, Any]:
    """The manifest's entry on resizing; {} at the native size."""
    return {} if size == SIDE else {"preparation": {"size": size, "filter": FILTER}}


def _collect_files(published: Published, source: Path, origin: str, options: Options) -> Collected:
    """PNGs in one folder a class, whatever folders are above those, or the images that CSV files list."""
    files: dict[str, list[Path]] = defaultdict(list)
    if (source / "train.csv").is_file():
        files |= {name: list(images.values()) for name, images in find_images([source]).images.items()}
    else:
        for path in images_below(source, DEPTH).values():
            if path.suffix.lower() == ".png":
                files[path.parent.name].append(path)
    if not files:
        raise UserError(f"--from is '{source}', which holds neither CIFAR-100 pickles nor PNGs; give {FORMS}.")
    split_of = split_of_classes(published, files)
    notes = compare_with_published(published, {name: len(files[name]) for name in split_of}, options)
    images = {name: _by_unique_name(files[name]) for name in split_of}
    decoding = Decoding(options.size, as_published=True, side=SIDE)
    contents = file_contents(images, split_of, origin, decoding, options.workers)
    return Collected(contents, {**_preparation(options.size), **notes})


def _by_unique_name(paths: list[Path]) -> dict[str, Path]:
    """The files of one class by names that are unique, as two folders may hold files of one name."""
    as_stored = Decoding(SIDE, as_published=True, side=SIDE)
    names = _unique_names(
        [path.name for path in paths], lambda row: decode_all([paths[row]], as_stored).pixels.tobytes()
    )
    return dict(zip(names, paths, strict=True))


def _unique_names(names: list[str], pixels: Callable[[int], bytes]) -> list[str]:
    """The names of a class's images, made unique: equal names are numbered in the order of their images' pixels.

    So the order in which images are read changes no name. `pixels` gives the pixels of a row.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows_of[name].append(row)
    unique = list(names)
    for name, rows in rows_of.items():
        if len(rows) > 1:
            for number, row in enumerate(sorted(rows, key=pixels)[1:], 2):
                unique[row] = f"{name}~{number}"
    return unique


def _pickle_files(source: Path) -> dict[str, Path]:
    """The paths of meta, train and test in a folder or in one of its folders; {} where no folder holds any."""
    for folder in (source, *folders_in(source)):
        files = {name: folder / name for name in PICKLES if (folder / name).is_file()}
        missing = [name for name in PICKLES if name not in files]
        if files and missing:
            raise UserError(f"--from is '{source}', which lacks the file {' and '.join(missing)}; give {FORMS}.")
        if files:
            return files
    return {}


def _read_pickles(files: dict[str, Path], source: Path) -> ImageArray:
    """All images of the train and the test pickle, merged."""
    meta = _load_dict(files["meta"])
    classes = _strings(meta.get("fine_label_names"))
    if not classes or len(set(classes)) < len(classes):
        raise UserError(f"{source}: meta has no fine_label_names, or names one twice; get the file from its publisher.")
    with bar(len(PICKLES), "files", initial=1, name="reading") as counter:
        parts = []
        for name in PICKLES[1:]:
            parts.append(_read_part(files[name], len(classes)))
            counter.update()
    images, labels = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    images = images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    names = [name for part in parts for name in part[2]]
    unprintable = [name for name in names if not name.isprintable()]
    if unprintable:
        raise UserError(f"--from is '{source}', which holds an image named {unprintable[0]!r}; rename the image.")
    for label in range(len(classes)):
        rows = np.flatnonzero(labels == label)
        unique = _unique_names([names[row] for row in rows], lambda place, rows=rows: images[rows[place]].tobytes())
        for row, name in zip(rows, unique, strict=True):
            names[row] = name
    return ImageArray(images, labels, classes, names, str(source))


def _read_part(file: Path, n_classes: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pixels [N, 3072], labels [N] and file names of one pickle, after checking that they are that."""
    part = _load_dict(file)
    pixels, labels, names = part.get("data"), part.get("fine_labels"), _strings(part.get("filenames"))
    reason = ""
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3 * SIDE * SIDE,):
        reason = f"data is not a uint8 array of {3 * SIDE * SIDE} values an image"
    elif not isinstance(labels, list) or not all(_is_label(label, n_classes) for label in labels):
        reason = f"fine_labels is not a list of numbers from 0 to {n_classes - 1}"
    elif names is None:
        reason = "filenames is not a list of names"
    elif not len(pixels) == len(labels) == len(names):
        reason = f"it holds {len(pixels)} images, {len(labels)} fine_labels and {len(names)} filenames"
    if reason:
        raise UserError(f"{file} is not a CIFAR-100 pickle: {reason}; get the file from its publisher.")
    return pixels, np.array(labels, np.int64), names


def _is_label(label: object, n_classes: int) -> bool:
    return isinstance(label, int | np.integer) and 0 <= int(label) < n_classes


def _load_dict(file: Path) -> dict[str, Any]:
    """A pickled dict, its keys as strings."""
    content = load_pickle(file)
    if not isinstance(content, dict):
        raise UserError(f"{file} holds a {type(content).__name__}, not a dict; give {FORMS}.")
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}


def _strings(value: object) -> list[str] | None:
    """A list of strings or bytes as strings; None for anything else."""
    if not isinstance(value, list) or not all(isinstance(item, str | bytes) for item in value):
        return None
    return [item.decode("latin1") if isinstance(item, bytes) else item for item in value]


def _cut(everything: ImageArray, names: list[str], origin: str) -> ImageArray:
    """The images of the named classes; a class without images is left out."""
    classes = [name for name in names if name in everything.classes]
    label_of = np.full(len(everything.classes), -1)
    label_of[[everything.classes.index(name) for name in classes]] = np.arange(len(classes))
    labels = label_of[everything.labels]
    rows = np.flatnonzero(labels >= 0)
    image_names = [everything.names[row] for row in rows.tolist()]
    return ImageArray(everything.images[rows], labels[rows], classes, image_names, origin)
