"""From a source's files to the contents of three splits: own folders, and benchmarks checked against their lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.store import SPLITS
from ..errors import UserError
from .images import Recipe
from .layouts import find_images
from .packing import Content, Decoders, ImageFiles
from .split_files import read_class_lists, split_by_hash

LEAST_IMAGES = 2  # of a class: a support and a query


@dataclass(frozen=True)
class Options:
    """What a user asks of a preparation."""

    sources: tuple[Path, ...] = ()  # files and folders
    size: int = 0  # side in pixels; 0 = native
    seed: int | None = None  # of an automatic class split; None = 0, or whatever a prepared set has
    workers: int = 0  # decoding processes; 0 = one a CPU
    allow_deviation: bool = False
    class_ids: str = ""  # what numbered classes of files of features are: lowshot.CLASS_IDS; "" = the files name them
    scratch: Path = Path()  # a folder for what is too large for the memory, removed afterwards


@dataclass
class Collected:
    """The contents of the splits, and what their manifests say about where they come from."""

    contents: dict[str, Content]
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """What a benchmark is known to hold."""

    lists: Callable[[], dict[str, list[str]]]  # class names of each split
    per_class: int = 0  # images of every class; 0 = they differ
    per_split: dict[str, int] = field(default_factory=dict)  # images of each split
    words: Callable[[], dict[str, str]] = dict  # what a class is called in English, where its name does not say


def collect_folder(folder: Path, options: Options) -> Collected:
    """Any folder of images; its class split comes from split folders, a CSV or JSON file, or the classes' hashes."""
    lists = [source for source in options.sources if source.suffix.lower() == ".json"]
    others = [source for source in options.sources if source not in lists]
    found = find_images([folder, *others])
    if lists:
        split_of, how = read_class_lists(lists[0]), f"class lists of {lists[0].name}"
        unknown = sorted(split_of.keys() - found.images.keys())
        if unknown:
            raise UserError(
                f"{lists[0]} names class {unknown[0]!r}, which {folder} does not hold; correct one of them."
            )
    elif found.split_of:
        split_of, how = found.split_of, "CSV files" if others else "folders train, val and test"
        _refuse_missing_split(split_of, folder)
    else:
        seed = options.seed or 0
        split_of = split_by_hash(list(found.images), seed)
        how = f"order of the classes by hash, seed {seed}: 20 % test, 16 % val, the rest train"
    small = [name for name in split_of if len(found.images[name]) < LEAST_IMAGES]
    if small:
        raise UserError(
            f"class {small[0]!r} of {folder} has a single image, and {len(small) - 1} other classes have too; "
            f"a class needs {LEAST_IMAGES} or more: add images or remove the class."
        )
    recipe = Recipe(options.size)
    contents = file_contents(found.images, split_of, str(folder), recipe, options.workers)
    return Collected(contents, {"split_by": how, "preparation": recipe.describe()})


def _refuse_missing_split(split_of: dict[str, str], folder: Path) -> None:
    missing = [split for split in SPLITS if split not in split_of.values()]
    if missing:
        raise UserError(
            f"{folder} has classes for {' and '.join(sorted(set(split_of.values())))} but none for "
            f"{' and '.join(missing)}; add them, or put all class folders into one folder to have them split."
        )


def collect_listed(published: Published, origin: str, options: Options) -> Collected:
    """A benchmark from folders or CSV lists: its classes by its published list, its counts checked."""
    found = find_images(list(options.sources))
    lists = published.lists()
    notes: dict[str, Any] = {}
    wanted = {name: split for split in SPLITS for name in lists[split] if name in found.images}
    if found.split_of:
        moved = sum(found.split_of[name] != split for name, split in wanted.items() if name in found.split_of)
        notes |= {"classes_the_source_had_in_other_splits": moved} if moved else {}
    counts = {name: len(found.images[name]) for name in wanted}
    notes |= check(published, counts, options)
    recipe = Recipe(options.size, as_published=True)
    contents = file_contents(found.images, wanted, origin, recipe, options.workers)
    add_words(contents, published)
    return Collected(contents, {"preparation": recipe.describe(), **notes})


def check(published: Published, counts: dict[str, int], options: Options) -> dict[str, str]:
    """The note on how a source deviates from the published benchmark; it is refused where that was not allowed."""
    notes = refuse_deviation("; ".join(deviations(published, counts)), options)
    for split, names in published.lists().items() if notes else ():
        if sum(counts.get(name, 0) >= LEAST_IMAGES for name in names) < LEAST_IMAGES:
            source, said = options.sources[0], notes["deviation"]
            raise UserError(f"--from is '{source}', which holds hardly a class of {split}; {said}.")
    return notes


def refuse_deviation(deviation: str, options: Options) -> dict[str, str]:
    """The note on a deviation ("" = none), which is refused where that was not allowed."""
    if deviation and not options.allow_deviation:
        raise UserError(
            f"--from is '{options.sources[0]}', which is not the published benchmark: {deviation}; get the original, "
            "or give --allow-deviation, which every result will then show."
        )
    return {"deviation": deviation} if deviation else {}


def deviations(published: Published, counts: dict[str, int]) -> list[str]:
    """How the number of images of each class found differ from what was published, in words."""
    lists = published.lists()
    missing = [name for split in SPLITS for name in lists[split] if name not in counts]
    total = sum(map(len, lists.values()))
    found = [f"{len(missing)} of {total} classes are missing, such as {missing[0]}"] if missing else []
    if published.per_class:
        wrong = [f"{count} images of {name}" for name, count in counts.items() if count != published.per_class]
        if wrong:
            found.append(f"{wrong[0]} instead of {published.per_class}, and {len(wrong) - 1} other classes differ")
    for split, expected in published.per_split.items():
        images = sum(counts.get(name, 0) for name in lists[split])
        if images != expected:
            found.append(f"{images} images of {split} instead of {expected}")
    return found


def file_contents(
    images: dict[str, dict[str, Path]], split_of: dict[str, str], origin: str, recipe: Recipe, workers: int
) -> dict[str, ImageFiles]:
    """Files by class and name, as the contents of each split."""
    contents, decoders = {}, Decoders(workers)
    for split in SPLITS:
        classes = sorted(name for name in split_of if split_of[name] == split)
        labels = np.repeat(np.arange(len(classes)), [len(images[name]) for name in classes])
        files = [path for name in classes for path in images[name].values()]
        names = [image for name in classes for image in images[name]]
        contents[split] = ImageFiles(files, labels, classes, names, origin, recipe, decoders)
    return contents


def add_words(contents: dict[str, Content], published: Published) -> None:
    """Note what each class is called in English."""
    words = published.words()
    for content in contents.values():
        if words:
            content.notes["words"] = {name: words[name] for name in content.classes}
