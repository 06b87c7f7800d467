"""Photographs of a user: where they are, what they are labelled, and whether two are the same."""

from __future__ import annotations

import hashlib
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from ..files import read_regular
from ..prepare.images import SUFFIXES, BadImage
from ..prepare.layouts import folders_in, images_below, loose_images

DEPTH = 8  # folders below a folder of queries
MOST_NAMED = 5  # files or folders in one sentence


@dataclass(frozen=True)
class Photo:
    """A file, or the bytes of one."""

    name: str  # as the user knows it
    source: Path | bytes
    label: str = ""  # the class whose folder holds it; "" = not known

    @cached_property
    def sha256(self) -> str:
        """Hash of its content.

        Raises:
            BadImage: where it cannot be read.
        """
        return hashlib.sha256(self.content()).hexdigest()

    def content(self) -> bytes:
        """Its bytes.

        Raises:
            BadImage: where it cannot be read.
        """
        try:
            return self.source if isinstance(self.source, bytes) else read_regular(self.source)
        except OSError as error:
            raise BadImage(f"cannot be read ({error.strerror})") from error


def readable(photos: Sequence[Photo]) -> tuple[list[Photo], dict[str, str]]:
    """The photographs whose bytes can be read, and {name: reason} of the others."""
    good, bad = [], {}
    for photo in photos:
        try:
            photo.sha256  # noqa: B018  # it reads the file
            good.append(photo)
        except BadImage as error:
            bad[photo.name] = str(error)
    return good, bad


def support_photos(folder: Path, option: str = "--support", depth: int = 1) -> list[Photo]:
    """The labelled photographs: one folder a class, in the order of their names.

    Args:
        folder: holds them.
        option: names the folder in errors.
        depth: how far below the folder the class folders lie; a class is called by its path there.

    Raises:
        UserError: where there are fewer than two classes, a class is empty, or folders lie in a class's folder.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{option} is {folder}, which {what}; give a folder with one folder of photos for each class.")
    if not folders_in(folder) and images_below(folder, 0):
        raise UserError(
            f"{option} is {folder}, which holds photos but no folders; put those of each class in a folder of its own."
        )
    classes = {name: images_below(folder / name, 0) for name in _class_folders(folder, option, depth)}
    empty = [name for name, files in classes.items() if not files]
    if empty:
        raise UserError(
            f"{option} is {folder}, where {_few(empty)} holds no photo ({', '.join(SUFFIXES)}); "
            "add photos, or remove the folder."
        )
    if len(classes) < 2:
        raise UserError(f"{option} is {folder}, which holds {len(classes)} class folders; give two classes or more.")
    return [
        Photo(f"{name}/{file}", path, name) for name, files in classes.items() for file, path in sorted(files.items())
    ]


def _class_folders(folder: Path, option: str, depth: int) -> list[str]:
    """The class folders, by their path in the folder."""
    names = [entry.name for entry in folders_in(folder)]
    for _ in range(depth - 1):
        loose = [name for name in names if images_below(folder / name, 0)]
        if loose:
            first = folder / loose[0]
            raise UserError(f"--depth is {depth}, but {first} {loose_images(first, 'photos')}.")
        names = [f"{name}/{entry.name}" for name in names for entry in folders_in(folder / name)]
    for name in names:
        nested = [entry.name for entry in folders_in(folder / name) if images_below(entry, DEPTH)]
        if nested:
            classes = f", or --depth {depth + 1} where these are classes too" if option == "--support" else ""
            raise UserError(
                f"{option} is {folder}, where the folder {name} holds folders ({_few(nested)}); give {option} "
                f"{folder / name}{classes}, or put all photos of {name} into one folder."
            )
    return names


def query_photos(paths: Sequence[Path], classes: Sequence[str]) -> list[Photo]:
    """The photographs to answer: files, and all that folders hold at any depth.

    Where a folder holds folders of which one is called like a class, the folders' names are taken for labels.

    Raises:
        UserError: where a path is missing, or a folder holds no photograph.
    """
    photos: list[Photo] = []
    for path in paths:
        if path.is_dir():
            photos += _in_folder(path, classes)
        elif path.exists():
            photos.append(Photo(str(path), path))
        else:
            raise UserError(f"--query names {path}, which does not exist; give a folder of photos, or files.")
    by_name: dict[str, Photo] = {}
    for photo in photos:  # a file that is named twice keeps the label that one of both knows
        if photo.name not in by_name or photo.label:
            by_name[photo.name] = photo
    return list(by_name.values())


def _in_folder(folder: Path, classes: Sequence[str]) -> list[Photo]:
    """The photographs in a folder at any depth."""
    files = images_below(folder, DEPTH)
    if not files:
        raise UserError(
            f"--query is {folder}, which holds no photo ({', '.join(SUFFIXES)}); give a folder of photos, or files."
        )
    depth = 1 + max((name.count("/") for name in classes), default=0)
    known = {_composed(name): name for name in classes}  # macOS writes an accent as a letter of its own
    labels = {name: "/".join(name.split("/")[:-1][:depth]) for name in files}
    labels = {name: known.get(_composed(label), label) for name, label in labels.items()}
    labelled = not set(classes).isdisjoint(labels.values())
    return [Photo(str(folder / name), path, labels[name] if labelled else "") for name, path in sorted(files.items())]


def _composed(name: str) -> str:
    """A name with each accented letter as one character."""
    return unicodedata.normalize("NFC", name)


def photos_from(items: Sequence[Any], labels: Sequence[str] | None = None) -> list[Photo]:
    """Photographs from paths, or from arrays [H, W, 3] uint8, as Python users give them.

    Raises:
        UserError: where an array is something else.
    """
    photos = []
    for number, item in enumerate(items):
        label = "" if labels is None else labels[number]
        if isinstance(item, str | Path):
            photos.append(Photo(str(item), Path(item), label))
        else:
            photos.append(Photo(f"image {number}", _as_png(item, number), label))
    return photos


def _as_png(array: Any, number: int) -> bytes:
    """An array as the bytes of a file that loses nothing."""
    pixels = np.asarray(array)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UserError(
            f"image {number} is an array {list(pixels.shape)} of {pixels.dtype}; give paths, or arrays "
            "[height, width, 3] of uint8."
        )
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _few(names: Sequence[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
