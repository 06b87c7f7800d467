"""Find the classes and images in the folders that people have: class folders, split folders, CSV lists."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..data.store import SPLITS
from ..errors import UserError
from ..text import is_printable
from .images import SUFFIXES
from .split_files import Row, classes_of_rows, read_rows, split_name

DEPTH = 4  # folders below a class folder
HIDDEN = (".", "__MACOSX")
Identity = tuple[int, int]  # device and number of a folder


@dataclass
class ImageSet:
    """The images of a source by class and name, and the split of each class where the source says.

    `listed` says whether CSV files chose the images.
    """

    images: dict[str, dict[str, Path]] = field(default_factory=dict)
    split_of: dict[str, str] = field(default_factory=dict)
    listed: bool = False

    def rename(self, names: Mapping[str, str]) -> None:
        """Call classes otherwise, {name: new name}."""
        self.images = {names.get(name, name): images for name, images in self.images.items()}
        self.split_of = {names.get(name, name): split for name, split in self.split_of.items()}


def find_images(sources: list[Path], depth: int = 0) -> ImageSet:
    """The images of all sources together: folders of any layout, and CSV files in them or beside them.

    Args:
        sources: folders and CSV files.
        depth: how far below a source, or below its folders of splits, the class folders lie; 0 = 1, below folders that
            hold nothing but one folder.

    Raises:
        UserError: where a source is missing, or no class folder with images is there.
    """
    image_set = ImageSet()
    csvs = [source for source in sources if source.suffix.lower() == ".csv"]
    for source in sources:
        if not os.path.exists(source):
            raise UserError(f"'{source}' does not exist; give a folder of class folders.")
        if source not in csvs:
            _add(image_set, _find_in(source, csvs, depth), source)
    if not image_set.images:
        raise UserError(f"'{sources[0]}' holds no class folders with images; give such a folder.")
    return image_set


def _find_in(folder: Path, csvs: list[Path], depth: int) -> ImageSet:
    """The images of one folder."""
    if not folder.is_dir():
        raise UserError(f"'{folder}' is neither a folder nor an archive (.zip, .tar, .tar.gz, .tgz); give one of them.")
    folder = folder if depth else _descend(folder)
    lists = csvs or _csv_files(folder)
    if lists and depth:
        raise UserError(f"--depth is {depth}, but {lists[0]} says which class an image is of; leave --depth out.")
    if lists:
        return _from_lists(lists, folder / "images" if (folder / "images").is_dir() else folder)
    splits = {split_name(entry.name): entry for entry in folders_in(folder) if split_name(entry.name)}
    splits = {split: entry for split, entry in splits.items() if folders_in(entry)}
    if len(splits) == 1 and "train" in splits:  # ImageNet's train folder
        return ImageSet(class_folders(splits["train"], depth))
    if len(splits) > 1:
        strays = [entry.name for entry in folders_in(folder) if not split_name(entry.name)]
        if strays:
            raise UserError(f"{folder} holds {strays[0]!r} beside {' and '.join(sorted(splits))}; move it elsewhere.")
        return _split_folders(splits, depth)
    return ImageSet(class_folders(folder, depth))


def _descend(folder: Path) -> Path:
    """Descend through folders that hold nothing but one folder, and into the `images` of an archive such as CUB's."""
    for _ in range(DEPTH):
        folders = folders_in(folder)
        if len(folders) == 1 and not split_name(folders[0].name) and folders_in(folders[0]) and not _csv_files(folder):
            folder = folders[0]
        elif (folder / "images").is_dir() and folders_in(folder / "images") and not _csv_files(folder):
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


def _split_folders(splits: dict[str, Path], depth: int) -> ImageSet:
    """The class folders in the folder of each split."""
    image_set = ImageSet()
    classes = {split: class_folders(folder, depth) for split, folder in splits.items()}
    for split, folder in splits.items():
        for name, images in classes[split].items():
            other = image_set.split_of.get(name, "")
            if other and classes[split].keys() == classes[other].keys():
                raise UserError(
                    f"{folder} holds the classes of {splits[other]}: splits of few-shot learning part the classes, not "
                    f"the images of each; prepare folder:{splits[other]}, whose classes are then split."
                )
            if other:
                raise UserError(f"{folder / name} is a class of {other} too; a class has one split.")
            image_set.images[name], image_set.split_of[name] = images, split
    return image_set


def class_folders(folder: Path, depth: int = 1) -> dict[str, dict[str, Path]]:
    """The images of each class folder, by their path in it; {} where no folder holds an image.

    Class folders lie `depth` folders below, and their names are their paths there; 0 is the same as 1.
    """
    entries = {entry.name: entry for entry in folders_in(folder)}
    for _ in range(depth - 1):
        for name, entry in entries.items():
            if images_below(entry, 0):
                raise UserError(f"--depth is {depth}, but {folder / name} {loose_images(entry, 'images')}.")
        entries = {f"{name}/{inner.name}": inner for name, entry in entries.items() for inner in folders_in(entry)}
    classes = {name: images_below(entry, DEPTH) for name, entry in entries.items()}
    empty = [str(folder / name) for name, images in classes.items() if not images]
    if empty and len(empty) < len(classes):
        raise UserError(f"{' and '.join(empty[:5])} holds no images; remove the folder, or put its images there.")
    return {} if empty else classes


def loose_images(folder: Path, what: str) -> str:
    """Words on a folder of class folders that holds images itself, and what to do about them."""
    if folders_in(folder):
        return f"holds {what} beside class folders; move them into one"
    return f"holds {what} and no class folders; give a smaller --depth, or leave it out"


def nested_folders(images: dict[str, Path]) -> list[str]:
    """The folders in a class folder that hold its images, where they lie in more than one place; [] elsewhere."""
    places = {str(PurePosixPath(name).parent) for name in images}
    return sorted(places - {"."}) if len(places) > 1 else []


def images_below(folder: Path, depth: int) -> dict[str, Path]:
    """The image files in a folder and in the folders in it, `depth` levels deep, by their path in the folder."""
    files = {name: path for name, path in files_below(folder, depth) if name.lower().endswith(SUFFIXES)}
    unprintable = [name for name in files if not is_printable(name)]
    if unprintable:
        raise UserError(f"{folder} holds an image named {unprintable[0]!r}; rename it.")
    return files


def files_below(folder: Path, depth: int) -> Iterator[tuple[str, Path]]:
    """Every file in a folder and in the folders in it, `depth` levels deep, after its path in the folder.

    Hidden files and folders are left out, and so are links that lead back to a folder they lie in.
    """
    return _walk(folder, depth, "", _ancestry(folder))


def _walk(folder: Path, depth: int, prefix: str, above: frozenset[Identity]) -> Iterator[tuple[str, Path]]:
    """`files_below`, of a folder that lies in the folders `above`; `prefix` begins every path."""
    try:
        with os.scandir(folder) as entries:
            shown = sorted((entry for entry in entries if not entry.name.startswith(HIDDEN)), key=lambda e: e.name)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}); give another folder, or make it readable."
        ) from error
    for entry in shown:
        if not os.path.isdir(entry.path):  # entry.is_dir raises where links lead in a circle
            yield prefix + entry.name, Path(entry.path)
        elif depth and (inner := _identity(entry.path)) not in above:
            yield from _walk(Path(entry.path), depth - 1, f"{prefix}{entry.name}/", above | {inner})


def _ancestry(folder: Path) -> frozenset[Identity]:
    """A folder and all that hold it, also by way of a link; a link to one of them leads in a circle."""
    here, named = Path(os.path.realpath(folder)), Path(os.path.abspath(folder))
    return frozenset(_identity(each) for each in (here, *here.parents, *named.parents) if os.path.isdir(each))


def _identity(folder: str | Path) -> Identity:
    """What a folder has in common with every link to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _from_lists(lists: list[Path], folder: Path) -> ImageSet:
    """The images that CSV files name: one file for each split, or one file with a column `split`."""
    rows: list[Row] = []
    for file in lists:
        split = split_name(file.stem)
        rows += [row if row.split else row._replace(split=split) for row in read_rows(file)]
    split_of = classes_of_rows(rows, lists[0].parent if len(lists) > 1 else lists[0])
    image_set = ImageSet(split_of={} if "" in split_of.values() else split_of, listed=True)
    index = _Index(folder)
    missing = []
    for row in rows:
        path = index.path(row)
        if path is None:
            missing.append(row.file)
        elif image_set.images.setdefault(row.label, {}).setdefault(row.file, path) != path:
            raise UserError(f"{lists[0]} names {row.file!r} twice in class {row.label!r}; keep one.")
    if missing:
        raise UserError(
            f"{len(missing)} of {len(rows)} images of the CSV files are not in {folder}, such as {missing[0]!r}; give "
            "the folder that holds them."
        )
    return image_set


class _Index:
    """Finds the file that a CSV line names: by its path, by its name in the class's folder, or by a unique name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths = set(images_below(folder, DEPTH))
        self._path_of: dict[str, str] = {}  # path of each file name; "" where two files have it
        for path in self._paths:
            name = PurePosixPath(path).name
            self._path_of[name] = "" if name in self._path_of else path

    def path(self, row: Row) -> Path | None:
        """The file of a line, or None."""
        file = row.file.replace("\\", "/")
        candidates = (file, f"{row.label}/{file}", self._path_of.get(PurePosixPath(file).name))
        return next((self._folder / path for path in candidates if path in self._paths), None)


def _add(image_set: ImageSet, more: ImageSet, source: Path) -> None:
    """Add the images of a further source to a set."""
    image_set.listed |= more.listed
    for name, new_images in more.images.items():
        images = image_set.images.setdefault(name, {})
        twice = images.keys() & new_images.keys()
        if twice:
            raise UserError(
                f"--from names '{source}' and another folder that both hold {name}/{min(twice)}; remove one of the two."
            )
        images |= new_images
        split = more.split_of.get(name)
        if split and image_set.split_of.setdefault(name, split) != split:
            raise UserError(
                f"--from names '{source}' and another folder that have class {name!r} in two splits; give it one split."
            )


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without hidden ones and links to a folder that holds this one."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}); give another folder, or make it readable."
        ) from error
    folders = [entry for entry in entries if os.path.isdir(entry) and not entry.name.startswith(HIDDEN)]
    if any(entry.is_symlink() for entry in folders):
        above = _ancestry(folder)
        folders = [entry for entry in folders if _identity(entry) not in above]
    unprintable = [entry.name for entry in folders if not is_printable(entry.name)]
    if unprintable:
        raise UserError(f"{folder} holds a folder named {unprintable[0]!r}; rename it.")
    return folders
