"""Turn files into the contents of splits: those of any folder, and those of benchmarks, checked against their lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.store import SPLITS
from ..errors import UserError
from .images import Decoding
from .layouts import ImageSet, find_images, nested_folders
from .packing import Content, Decoders, ImageFiles
from .skipped import skipped_note
from .split_files import read_class_lists, split_by_hash

LEAST_IMAGES = 2  # of a class: a support and a query


@dataclass(frozen=True)
class Options:
    """The choices of a user who prepares a data set."""

    sources: tuple[Path, ...] = ()  # files and folders
    size: int = 0  # side in pixels; 0 = native
    seed: int | None = None  # of an automatic class split; None = 0, or that of a prepared set
    workers: int = 0  # decoding processes; 0 = one a CPU
    allow_deviation: bool = False
    class_ids: str = ""  # the order that class numbers in files of features index: lowshot.CLASS_IDS; "" = none given
    depth: int = 0  # how far below a folder its class folders lie; 0 = 1, and nested folders are refused
    learned_from: str = ""  # the data that the network behind a file of features has seen; "" = not known
    scratch: Path = Path()  # a folder for what is too large for the memory, removed afterwards


@dataclass
class Collected:
    """The contents of the splits, and the notes on their origin that every manifest gets."""

    contents: Mapping[str, Content]
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """What the publisher of a benchmark says it holds."""

    lists: Callable[[], dict[str, list[str]]]  # class names of each split
    per_class: int = 0  # images of every class; 0 = they differ
    per_split: dict[str, int] = field(default_factory=dict)  # images of each split
    words: Callable[[], dict[str, str]] = dict  # English words for a class whose name is a WordNet id
    same_name: Callable[[str], str] | None = None  # what the names of a class have in common, however it is written

    def total(self) -> int:
        """Images of all splits."""
        return sum(self.per_split.values()) or self.per_class * sum(map(len, self.lists().values()))

    def named(self, classes: Iterable[str]) -> dict[str, str]:
        """{a source's name of a class: the published one}, where the two are spelled otherwise."""
        if self.same_name is None:
            return {}
        published = {self.same_name(name): name for names in self.lists().values() for name in names}
        given = set(classes)
        spelled = {name: published.get(self.same_name(name), name) for name in given}
        return {name: known for name, known in spelled.items() if known not in given}


def collect_folder(folder: Path, options: Options) -> Collected:
    """Any folder of images; its class split comes from split folders, a CSV or JSON file, or the classes' hashes."""
    if folder.is_file():
        raise UserError(
            f"'{folder}' is a file, but folder:PATH takes a folder of class folders; unpack it and give that."
        )
    csvs = [path for path in options.sources if path.suffix.lower() != ".json"]
    image_set = find_images([folder, *csvs], options.depth)
    if not (csvs or options.depth):
        _refuse_nested(image_set, folder)
    counts = {name: len(images) for name, images in image_set.images.items()}
    given_by = "CSV files" if csvs else "folders train, val and test"
    split_of, how = split_classes(folder, counts, image_set.split_of, given_by, options)
    decoding = Decoding(options.size)
    contents = file_contents(image_set.images, split_of, str(folder), decoding, options.workers)
    notes = {"split_by": how, "preparation": decoding.describe(), "depth": options.depth or 1}
    used = [path for images in image_set.images.values() for path in images.values()]
    skipped = "" if image_set.listed else skipped_note(folder, used)
    return Collected(contents, notes | ({"skipped": skipped} if skipped else {}))


def _refuse_nested(image_set: ImageSet, folder: Path) -> None:
    """Refuse a class whose images lie in several folders, which may be classes themselves."""
    for name, images in image_set.images.items():
        nested = nested_folders(images)
        if nested:
            raise UserError(
                f"{folder} holds the folder {name}, whose images lie in folders of their own, such as {nested[0]}; "
                f"give --depth 2 where these are classes ({name}/{nested[0]}), or --depth 1 where {name} is one class."
            )


def split_classes(
    source: Path, counts: Mapping[str, int], given: Mapping[str, str], given_by: str, options: Options
) -> tuple[dict[str, str], str]:
    """The split of each class, and how it came: from the user's JSON file, the source itself, or the classes' hashes.

    Args:
        source: where the classes come from.
        counts: images of each class.
        given: the split of each class as the source says it; {} where it does not.
        given_by: what in the source says it.
        options: the user's JSON file, if any, and the seed of the hashes.
    """
    lists = [path for path in options.sources if path.suffix.lower() == ".json"]
    if lists:
        split_of, how = read_class_lists(lists[0]), f"class lists of {lists[0].name}"
        unknown = sorted(split_of.keys() - counts.keys())
        if unknown:
            raise UserError(
                f"{lists[0]} names class {unknown[0]!r}, which {source} does not hold; correct one of them."
            )
    elif given:
        split_of, how = dict(given), given_by
        _refuse_missing_split(split_of, source)
    else:
        seed = options.seed or 0
        split_of = split_by_hash(list(counts), seed, source)
        how = f"order of the classes by hash, seed {seed}: 20 % test, 16 % val, the rest train"
    small = [name for name in split_of if counts[name] < LEAST_IMAGES]
    if small:
        raise UserError(
            f"class {small[0]!r} of {source} has a single image, and {len(small) - 1} other classes have too; "
            f"a class needs {LEAST_IMAGES} or more: add images or remove the class."
        )
    return split_of, how


def _refuse_missing_split(split_of: dict[str, str], source: Path) -> None:
    missing = [split for split in SPLITS if split not in split_of.values()]
    if missing:
        raise UserError(
            f"{source} has classes for {' and '.join(sorted(set(split_of.values())))} but none for "
            f"{' and '.join(missing)}; add them, or name no splits at all to have the classes split."
        )


def collect_listed(published: Published, origin: str, options: Options) -> Collected:
    """A benchmark from folders or CSV lists, split by its published class lists, its counts checked."""
    image_set = find_images(list(options.sources))
    image_set.rename(published.named(image_set.images))
    split_of = split_of_classes(published, image_set.images)
    notes: dict[str, Any] = {}
    moved = sum(image_set.split_of.get(name, split) != split for name, split in split_of.items())
    if moved:
        notes["classes_the_source_had_in_other_splits"] = moved
    counts = {name: len(image_set.images[name]) for name in split_of}
    notes |= compare_with_published(published, counts, options)
    decoding = Decoding(options.size, as_published=True)
    contents = file_contents(image_set.images, split_of, origin, decoding, options.workers)
    add_words(contents, published)
    return Collected(contents, {"preparation": decoding.describe(), **notes})


def split_of_classes(published: Published, classes: Mapping[str, Any]) -> dict[str, str]:
    """The published split of those of the published classes that a source holds."""
    return {name: split for split, names in published.lists().items() for name in names if name in classes}


def compare_with_published(published: Published, counts: dict[str, int], options: Options) -> dict[str, str]:
    """The manifest's note on how a source's image counts deviate from the published ones; {} where they do not.

    Raises:
        UserError: where they deviate and the user did not allow it, or where a split is left with hardly a class.
    """
    notes = refuse_deviation("; ".join(deviations(published, counts)), options)
    for split, names in published.lists().items() if notes else ():
        if sum(counts.get(name, 0) >= LEAST_IMAGES for name in names) < LEAST_IMAGES:
            source, deviation = options.sources[0], notes["deviation"]
            raise UserError(
                f"--from is '{source}', which lacks nearly all classes of {split} ({deviation}); give the files "
                "that hold them."
            )
    return notes


def refuse_deviation(deviation: str, options: Options) -> dict[str, str]:
    """The manifest's note on a deviation ("" = none), which is refused unless the user allowed it."""
    if deviation and not options.allow_deviation:
        raise UserError(
            f"--from is '{options.sources[0]}', which is not the published benchmark: {deviation}; get the original, "
            "or give --allow-deviation, which every result will then show."
        )
    return {"deviation": deviation} if deviation else {}


def deviations(published: Published, counts: dict[str, int]) -> list[str]:
    """In words, how the number of images of each class differs from what was published."""
    lists = published.lists()
    missing = [name for split in SPLITS for name in lists[split] if name not in counts]
    total = sum(map(len, lists.values()))
    texts = [f"{len(missing)} of {total} classes are missing, such as {missing[0]}"] if missing else []
    if published.per_class:
        wrong = [f"{count} images of {name}" for name, count in counts.items() if count != published.per_class]
        if wrong:
            texts.append(f"{wrong[0]} instead of {published.per_class}, and {len(wrong) - 1} other classes differ")
    for split, expected in published.per_split.items():
        images = sum(counts.get(name, 0) for name in lists[split])
        if images != expected:
            texts.append(f"{images} images of {split} instead of {expected}")
    return texts


def image_counts(contents: Mapping[str, Content]) -> dict[str, int]:
    """The number of images of each class of all splits."""
    counts: dict[str, int] = {}
    for content in contents.values():
        sizes = np.bincount(content.labels, minlength=len(content.classes)).tolist()
        counts |= dict(zip(content.classes, sizes, strict=True))
    return counts


def file_contents(
    images: dict[str, dict[str, Path]], split_of: dict[str, str], origin: str, decoding: Decoding, workers: int
) -> dict[str, ImageFiles]:
    """The content of each split, from the image files of each class by name."""
    contents, decoders = {}, Decoders(workers)
    for split in SPLITS:
        classes = sorted(name for name in split_of if split_of[name] == split)
        labels = np.repeat(np.arange(len(classes)), [len(images[name]) for name in classes])
        files = [path for name in classes for path in images[name].values()]
        names = [image for name in classes for image in images[name]]
        contents[split] = ImageFiles(files, labels, classes, names, origin, decoding, decoders)
    return contents


def add_words(contents: Mapping[str, Content], published: Published) -> None:
    """Note in each split's manifest what its classes are called in English."""
    words = published.words()
    for content in contents.values():
        if words:
            content.notes["words"] = {name: words[name] for name in content.classes}
