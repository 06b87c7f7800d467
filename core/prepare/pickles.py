"""The packed files in circulation: pickles of miniImageNet and tieredImageNet, and Omniglot in one bit a pixel.

miniImageNet: `mini-imagenet-cache-{train,val,test}.pkl`, {image_data: [N, 84, 84, 3] uint8, class_dict: {wnid: rows}};
or `miniImageNet_category_split_{train_phase_train,val,test}.pickle` of Gidaris and Komodakis, also MetaOptNet's,
{data: [N, 84, 84, 3] uint8, labels: [N], catname2label: {wnid: label}}.
tieredImageNet (Ren et al. 2018): `{split}_images_png.pkl`, a list of PNG contents, with `{split}_labels.pkl`,
{label_specific: [N], label_specific_str: names}; MetaOptNet has `{split}_images.npz`, images [N, 84, 84, 3], instead.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..data.store import SPLITS
from ..errors import UserError
from .collect import Collected, Options, Published, add_words, compare_with_published, image_counts
from .feature_files import FeatureRows, read_images
from .images import Decoding
from .numbered_pickles import by_class
from .packing import Content, Decoders, ImageArray, ImageFiles
from .pickle_index import Contents, index_pickle
from .unpickle import load_pickle


def pickle_files(sources: tuple[Path, ...]) -> dict[str, Path]:
    """Pickle files, and arrays beside them, among the sources and in their folders, by name."""
    inside = [sorted(source.rglob("*.*")) if source.is_dir() else [source] for source in sources]
    return {
        path.name.removeprefix("tiered-imagenet-"): path
        for paths in inside
        for path in paths
        if path.suffix in (".pkl", ".pickle", ".npz")
    }


def collect_mini(published: Published, options: Options) -> Collected | None:
    """miniImageNet from its three pickles, one in memory at a time; None where the sources hold none of them."""
    known = ("mini-imagenet-cache-", "miniImageNet_category_split_")
    files = {name: path for name, path in pickle_files(options.sources).items() if name.startswith(known)}
    if not files:
        return None
    lists, contents = published.lists(), {}
    for split in SPLITS:
        names = [f"mini-imagenet-cache-{word}.pkl" for word in (split, "validation") if split == "val" or word == split]
        names.append(f"miniImageNet_category_split_{'train_phase_train' if split == 'train' else split}.pickle")
        path = next((files[name] for name in names if name in files), None)
        if path is None:
            raise UserError(f"--from lacks {' or '.join(names)}; give all three pickles, or their folder.")
        contents[split] = _mini_split(path, set(lists[split]), options, split)
    notes = compare_with_published(published, image_counts(contents), options)
    add_words(contents, published)
    return Collected(contents, {"preparation": {"size": options.size, "crop": "as in the pickles"}, **notes})


def _mini_split(path: Path, wanted: set[str], options: Options, split: str) -> ImageArray:
    """The wanted classes of one pickle; their pixels are copied to a scratch file."""
    content = load_pickle(path)
    if path.suffix == ".pickle":
        content = by_class(content, path)
    images, rows_of = (
        (content.get(key) for key in ("image_data", "class_dict")) if isinstance(content, dict) else (0, 0)
    )
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise UserError(f"{path} holds no image_data [N, 84, 84, 3] of uint8; get the file from its publisher.")
    if images.shape[1:3] != (options.size, options.size):
        raise UserError(
            f"{path} holds images of {images.shape[2]}x{images.shape[1]} px; give --size {images.shape[1]}."
        )
    if not isinstance(rows_of, dict) or not all(_are_rows(rows, len(images)) for rows in rows_of.values()):
        raise UserError(f"{path} holds no class_dict of rows of its images; get the file from its publisher.")
    classes = sorted(wanted & rows_of.keys())
    rows = np.array([row for name in classes for row in rows_of[name]], np.int64)
    if len(set(rows.tolist())) < len(rows):
        raise UserError(f"{path} gives an image to two classes; get the file from its publisher.")
    kept = np.lib.format.open_memmap(options.scratch / f"{split}.npy", "w+", np.uint8, (len(rows), *images.shape[1:]))
    for start in range(0, len(rows), 1024):
        kept[start : start + 1024] = images[rows[start : start + 1024]]
    labels = np.repeat(np.arange(len(classes)), [len(rows_of[name]) for name in classes])
    names = [f"{name}{number:08d}" for name in classes for number in range(len(rows_of[name]))]
    return ImageArray(kept, labels, classes, names, f"pickle {path.name}")


def _are_rows(rows: Any, count: int) -> bool:
    """Whether a value is a list of row numbers."""
    return isinstance(rows, list | np.ndarray) and all(
        isinstance(row, int | np.integer) and 0 <= row < count for row in rows
    )


def collect_tiered(published: Published, options: Options) -> Collected | None:
    """tieredImageNet from Ren's pickles, whose PNGs stay in their files; None where the sources hold none of them."""
    files = pickle_files(options.sources)
    ends = [end for end in ("images_png.pkl", "images.npz") if any(name.endswith(f"_{end}") for name in files)]
    if not ends:
        return None
    wnid_of = {
        text: wnid for wnid, words in published.words().items() for text in (words.split(",")[0].strip(), words, wnid)
    }
    contents: dict[str, Content] = {}
    decoders = Decoders(options.workers)
    for split, wanted in published.lists().items():
        missing = [f"{split}_{end}" for end in (ends[0], "labels.pkl") if f"{split}_{end}" not in files]
        if missing:
            raise UserError(f"--from lacks {' and '.join(missing)}; give the folder of all six pickles.")
        rows_of = _tiered_rows(files[f"{split}_labels.pkl"], wnid_of, set(wanted))
        path = files[f"{split}_{ends[0]}"]
        if path.suffix == ".npz":
            contents[split] = _tiered_images(path, rows_of, options)
        else:
            contents[split] = _tiered_files(index_pickle(path), rows_of, path, options.size, decoders)
    notes = compare_with_published(published, image_counts(contents), options)
    add_words(contents, published)
    how = {"size": options.size, "crop": "as in the files"}
    if not ends[0].endswith(".npz"):
        how = Decoding(options.size, as_published=True).describe()
    return Collected(contents, {"preparation": how, **notes})


def _tiered_images(path: Path, rows_of: dict[str, list[int]], options: Options) -> FeatureRows:
    """One split's array of images, which is copied to a scratch file."""
    table = read_images(path, options.scratch / f"{path.name}.raw")
    if table.shape[:2] != (options.size, options.size):
        raise UserError(f"{path} holds images of {table.shape[1]}x{table.shape[0]} px; give --size {table.shape[0]}.")
    classes = sorted(rows_of)
    rows = np.array([row for name in classes for row in rows_of[name]], np.int64)
    if rows.max(initial=-1) >= len(table.labels):
        raise UserError(f"{path} holds {len(table.labels)} images, fewer than there are labels; get the file again.")
    labels = np.repeat(np.arange(len(classes)), [len(rows_of[name]) for name in classes])
    names = [f"{name}_{number:05d}.png" for name in classes for number in range(len(rows_of[name]))]
    return FeatureRows(table, rows, labels, classes, names, f"arrays of {path.parent.name}")


def _tiered_rows(path: Path, wnid_of: dict[str, str], wanted: set[str]) -> dict[str, list[int]]:
    """The rows of each wnid of one split."""
    content = load_pickle(path)
    labels, texts = (
        (content.get("label_specific", content.get("labels")), content.get("label_specific_str"))
        if isinstance(content, dict)
        else (0, 0)
    )
    if not isinstance(texts, list) or not isinstance(labels, list | np.ndarray):
        raise UserError(
            f"{path} holds no label_specific with label_specific_str, which names the classes that it numbers; "
            "take the labels of Ren et al.'s files, or class folders."
        )
    names = [wnid_of.get(text if isinstance(text, str) else str(text, "latin1"), "") for text in texts]
    rows_of: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        if not isinstance(label, int | np.integer) or not 0 <= label < len(names):
            raise UserError(f"{path} row {row} has label {label!r}, which names no class; get the file again.")
        if names[label] in wanted:
            rows_of.setdefault(names[label], []).append(row)
    return rows_of


def _tiered_files(
    pngs: Contents, rows_of: dict[str, list[int]], path: Path, size: int, decoders: Decoders
) -> ImageFiles:
    """The PNG contents of one split."""
    most = max((max(rows) for rows in rows_of.values()), default=-1)
    if len(pngs) <= most:
        raise UserError(f"{path} holds {len(pngs)} PNGs, fewer than there are labels; get the file again.")
    classes = sorted(rows_of)
    files = pngs.select(row for name in classes for row in rows_of[name])
    labels = np.repeat(np.arange(len(classes)), [len(rows_of[name]) for name in classes])
    names = [f"{name}_{number:05d}.png" for name in classes for number in range(len(rows_of[name]))]
    decoding = Decoding(size, as_published=True)
    return ImageFiles(files, labels, classes, names, f"pickles of {path.parent.name}", decoding, decoders)


def collect_omniglot_bits(published: Published, path: Path, options: Options) -> Collected:
    """All of Omniglot from an .npz with `bits`, `names` and `shape`: ink is 1, and becomes black on white."""
    try:
        with np.load(path, allow_pickle=False) as content:
            bits, names, (characters, drawings, side, _) = content["bits"], content["names"], content["shape"].tolist()
        ink = np.unpackbits(bits, axis=1)[:, : side * side].reshape(characters, drawings, side, side)
        classes = ["/".join(name.decode().split("__")[1:]) for name in names.tolist()]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UserError(f"{path} is not Omniglot as bits, names and shape ({error}); get the file again.") from error
    if side != options.size:
        raise UserError(f"{path} holds images of {side} px; give --size {side}, or the class folders.")
    notes = compare_with_published(published, dict.fromkeys(classes, drawings), options)
    place, contents = {name: i for i, name in enumerate(classes)}, {}
    for split, wanted in published.lists().items():
        names = [name for name in wanted if name in place]
        images = np.where(ink[[place[name] for name in names]], np.uint8(0), np.uint8(255)).reshape(-1, side, side, 1)
        labels = np.repeat(np.arange(len(names)), drawings)
        files = [f"{number:02d}.png" for _ in names for number in range(1, drawings + 1)]
        contents[split] = ImageArray(images.repeat(3, 3), labels, names, files, f"{path.name}, one bit a pixel")
    return Collected(contents, {"preparation": {"size": side, "crop": "as in the file"}, **notes})
