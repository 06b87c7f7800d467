"""The split of each class or image: from CSV and JSON files, or by a hash of the classes' names."""

from __future__ import annotations

import csv
import hashlib
import json
import unicodedata
from pathlib import Path
from typing import NamedTuple

from ..data.store import SPLITS
from ..errors import UserError

SHARES = {"val": 0.16, "test": 0.20}  # of the classes, in an automatic split; train has the rest
LEAST_CLASSES = 2  # of a split
ALIASES = {"validation": "val", "valid": "val", "base": "train", "novel": "test"}
ALIASES |= {f"meta-{split}": split for split in SPLITS}
LABEL_COLUMNS = ("label", "class", "class_name")
FILE_COLUMNS = ("filename", "image_name", "image", "file", "path")


class Row(NamedTuple):
    """One image of a CSV file."""

    file: str
    label: str
    split: str  # "" = the file names none


def split_name(text: str) -> str:
    """Translate the words in use for a split into train, val or test; "" for any other word."""
    lower = text.strip().lower()
    return lower if lower in SPLITS else ALIASES.get(lower, "")


def split_by_hash(classes: list[str], seed: int, source: Path) -> dict[str, str]:
    """The split of each class, in the order of a hash of (seed, name): test takes 20 %, val 16 %, train the rest."""
    if len(classes) < LEAST_CLASSES * len(SPLITS):
        raise UserError(
            f"{source} holds {len(classes)} classes; train, val and test need {LEAST_CLASSES} each; add classes."
        )

    def place(name: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{unicodedata.normalize('NFC', name)}".encode()).digest()

    order = sorted(classes, key=place)
    split_of: dict[str, str] = {}
    for split, share in SHARES.items():
        count = max(LEAST_CLASSES, round(share * len(classes)))
        split_of |= dict.fromkeys(order[:count], split)
        order = order[count:]
    return split_of | dict.fromkeys(order, "train")


def read_class_lists(file: Path) -> dict[str, str]:
    """The split of each class, from a JSON file {"train": [...], "val": [...], "test": [...]}."""
    try:
        content = json.loads(_text(file))
    except ValueError as error:
        raise UserError(f"{file} is not JSON ({error}); correct it.") from error
    lists = {split_name(key): value for key, value in content.items()} if isinstance(content, dict) else {}
    missing = [split for split in SPLITS if split not in lists]
    if missing:
        raise UserError(
            f'{file} lacks {" and ".join(missing)}; it should be {{"train": [...], "val": ..., "test": ...}}.'
        )
    split_of: dict[str, str] = {}
    for split in SPLITS:
        classes = lists[split]
        if isinstance(classes, dict):
            classes = classes.get("classes")
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes) or not classes:
            raise UserError(f"{file}: {split} is not a list of class names; correct it.")
        for name in classes:
            if name in split_of:
                raise UserError(f"{file} names class {name!r} in {split_of[name]} and in {split}; keep one.")
            split_of[name] = split
    return split_of


def read_rows(file: Path) -> list[Row]:
    """The images of a CSV file with columns filename and label, and perhaps split."""
    try:
        reader = csv.reader(_text(file).splitlines(), strict=True)
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise UserError(f"{file} is not a CSV file ({error}); correct it.") from error
    if not lines:
        raise UserError(f"{file} is empty; it should begin with the line filename,label.")
    header = [cell.strip().lower() for cell in lines[0][1]]
    at_file, at_label = (
        next((header.index(name) for name in names if name in header), -1) for names in (FILE_COLUMNS, LABEL_COLUMNS)
    )
    if -1 in (at_file, at_label):
        raise UserError(f"{file} begins with {','.join(lines[0][1])!r} instead of a line such as filename,label.")
    at_split = header.index("split") if "split" in header else -1
    return [_row(file, number, cells, len(header), at_file, at_label, at_split) for number, cells in lines[1:]]


def _row(file: Path, number: int, cells: list[str], width: int, at_file: int, at_label: int, at_split: int) -> Row:
    """Check one line of a CSV file; returns its row."""
    if len(cells) != width:
        raise UserError(f"{file} line {number} has {len(cells)} fields instead of {width}; correct it.")
    name, label = cells[at_file].strip(), cells[at_label].strip()
    if not name or not label:
        raise UserError(f"{file} line {number} lacks the {'file name' if not name else 'label'}; correct it.")
    if at_split < 0:
        return Row(name, label, "")
    split = split_name(cells[at_split])
    if not split:
        raise UserError(f"{file} line {number} has split {cells[at_split]!r}, which is not one of: train, val, test.")
    return Row(name, label, split)


def classes_of_rows(rows: list[Row], file: Path) -> dict[str, str]:
    """The split of each class of a CSV file; a class may not lie in two."""
    split_of: dict[str, str] = {}
    for row in rows:
        if split_of.setdefault(row.label, row.split) != row.split:
            raise UserError(f"{file} has class {row.label!r} in {split_of[row.label]} and in {row.split}; keep one.")
    return split_of


def _text(file: Path) -> str:
    """A text file's content."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text; save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); check the path.") from error
