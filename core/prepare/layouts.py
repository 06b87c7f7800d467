"""Finding the classes and images in the folders that people have: class folders, split folders, CSV lists."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..data.store import SPLITS
from ..errors import UserError
from .images import SUFFIXES
from .split_files import Row, classes_of_rows, read_rows, split_name

DEPTH = 4  # folders below a class folder


@dataclass
class Found:
    """The images of a source by class and name, and the split of each class where the source says."""

    images: dict[str, dict[str, Path]] = field(default_factory=dict)
    split_of: dict[str, str] = field(default_factory=dict)


def find_images(sources: list[Path]) -> Found:
    """Read folders, and CSV files beside or in them, whatever their layout; several folders are one set."""
    found = Found()
    csvs = [source for source in sources if source.suffix.lower() == ".csv"]
    for source in sources:
        if not os.path.exists(source):
            raise UserError(f"'{source}' does not exist; give a folder of class folders.")
        if source not in csvs:
            _join(found, _find_in(source, csvs), source)
    if not found.images:
        raise UserError(f"'{sources[0]}' holds no class folders with images; give such a folder.")
    return found


def _find_in(folder: Path, csvs: list[Path]) -> Found:
    """The images of one folder."""
    if not folder.is_dir():
        raise UserError(f"'{folder}' is neither a folder nor an archive (.zip, .tar, .tar.gz, .tgz); give one of them.")
    folder = _descend(folder)
    lists = csvs or _csv_files(folder)
    if lists:
        return _from_lists(lists, folder / "images" if (folder / "images").is_dir() else folder)
    inside = {split_name(entry.name): entry for entry in _folders(folder) if split_name(entry.name)}
    inside = {split: entry for split, entry in inside.items() if _folders(entry)}
    if len(inside) == 1 and "train" in inside:  # ImageNet's train folder
        return Found(class_folders(inside["train"]))
    if len(inside) > 1:
        others = [entry.name for entry in _folders(folder) if not split_name(entry.name)]
        if others:
            raise UserError(f"{folder} holds {others[0]!r} beside {' and '.join(sorted(inside))}; move it elsewhere.")
        return _split_folders(inside)
    return Found(class_folders(folder))


def _descend(folder: Path) -> Path:
    """Past folders that hold nothing but one folder, and into the `images` of an archive such as CUB's."""
    for _ in range(DEPTH):
        inside = _folders(folder)
        if len(inside) == 1 and not split_name(inside[0].name) and _folders(inside[0]) and not _csv_files(folder):
            folder = inside[0]
        elif (folder / "images").is_dir() and _folders(folder / "images") and not _csv_files(folder):
            folder = folder / "images"
        else:
            break
    return folder


def _csv_files(folder: Path) -> list[Path]:
    """train.csv, val.csv and test.csv in a folder or in its `split`."""
    for place in (folder, folder / "split", folder / "splits", folder / "csv"):
        files = [place / f"{split}.csv" for split in SPLITS]
        if all(file.is_file() for file in files):
            return files
    return []


def _split_folders(inside: dict[str, Path]) -> Found:
    """Class folders below train, val and test."""
    found = Found()
    for split, folder in inside.items():
        for name, images in class_folders(folder).items():
            if name in found.images:
                raise UserError(f"{folder / name} is a class of {found.split_of[name]} too; a class has one split.")
            found.images[name], found.split_of[name] = images, split
    return found


def class_folders(folder: Path) -> dict[str, dict[str, Path]]:
    """The images of each class folder, by their path in it."""
    found = {entry.name: images_below(entry, DEPTH) for entry in _folders(folder)}
    empty = [str(folder / name) for name, images in found.items() if not images]
    if empty and len(empty) < len(found):
        raise UserError(f"{' and '.join(empty[:5])} holds no images; remove the folder, or put its images there.")
    return {} if empty else found


def images_below(folder: Path, depth: int, prefix: str = "") -> dict[str, Path]:
    """Image files in a folder and the folders in it; hidden ones are left out."""
    found: dict[str, Path] = {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if entry.is_dir():
                found |= images_below(Path(entry.path), depth - 1, f"{prefix}{entry.name}/") if depth else {}
            elif entry.name.lower().endswith(SUFFIXES):
                found[prefix + entry.name] = Path(entry.path)
    unprintable = [name for name in found if not name.isprintable()]
    if unprintable:
        raise UserError(f"{folder} holds an image named {unprintable[0]!r}; rename it.")
    return found


def _from_lists(lists: list[Path], folder: Path) -> Found:
    """The images that CSV files name, one file a split or one with a column `split`."""
    rows: list[Row] = []
    for file in lists:
        split = split_name(file.stem)
        rows += [row if row.split else row._replace(split=split) for row in read_rows(file)]
    split_of = classes_of_rows(rows, lists[0].parent if len(lists) > 1 else lists[0])
    found = Found(split_of={} if "" in split_of.values() else split_of)
    by_name = _Index(folder)
    missing = []
    for row in rows:
        path = by_name.path(row)
        if path is None:
            missing.append(row.file)
        elif found.images.setdefault(row.label, {}).setdefault(row.file, path) != path:
            raise UserError(f"{lists[0]} names {row.file!r} twice in class {row.label!r}; keep one.")
    if missing:
        raise UserError(
            f"{len(missing)} of {len(rows)} images of the CSV files are not in {folder}, such as {missing[0]!r}."
        )
    return found


class _Index:
    """Finds the file that a CSV line means: as it stands, in its class's folder, or the only one of that name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths = set(images_below(folder, DEPTH))
        self._last: dict[str, str] = {}
        for path in self._paths:
            name = PurePosixPath(path).name
            self._last[name] = "" if name in self._last else path  # two of one name: neither is meant for sure

    def path(self, row: Row) -> Path | None:
        """The file of a line, or None."""
        asked = row.file.replace("\\", "/")
        tries = (asked, f"{row.label}/{asked}", self._last.get(PurePosixPath(asked).name))
        return next((self._folder / path for path in tries if path in self._paths), None)


def _join(found: Found, more: Found, source: Path) -> None:
    """Add the images of another folder."""
    for name, images in more.images.items():
        mine = found.images.setdefault(name, {})
        twice = mine.keys() & images.keys()
        if twice:
            raise UserError(f"--from is '{source}', whose {name}/{min(twice)} another of the folders holds too.")
        mine |= images
        if name in more.split_of and found.split_of.setdefault(name, more.split_of[name]) != more.split_of[name]:
            raise UserError(f"--from is '{source}', where class {name!r} is in another split than before.")


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones left out, by name."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}); check --from.") from error
    return [entry for entry in inside if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))]
