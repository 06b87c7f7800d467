"""Files among photographs that are not read: which they are, and why."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from ..text import is_printable
from .images import SUFFIXES, foreign_format
from .layouts import files_below

DEEPEST = 12  # folders that are looked through
BESIDE = (".txt", ".json", ".csv", ".md", ".xml")  # texts that go with photographs, and nobody expects to be read
DROPPINGS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")  # a desktop leaves them; other ones are hidden
MOST_NAMED = 5
HEAD = 64  # bytes that tell a format
MISPLACED = "where no photos are looked for"
MISNAMED = "ending not known"


def skipped_files(folder: Path, used: Collection[Path]) -> dict[str, str]:
    """{path in the folder: reason} of the regular files below it that are not `used`, those to convert first."""
    known = set(used)
    left = [(name, path) for name, path in files_below(folder, DEEPEST) if path not in known and _counts(path)]
    reasons = {name if is_printable(name) else ascii(name): _reason(path) for name, path in left}
    return dict(sorted(reasons.items(), key=lambda item: item[1] in (MISPLACED, MISNAMED)))


def _counts(path: Path) -> bool:
    """Whether a user may take a file for a photograph."""
    name = path.name.lower()
    return name not in DROPPINGS and not name.endswith(BESIDE) and os.path.isfile(path)


def _reason(path: Path) -> str:
    """Why a file is not read."""
    if path.name.lower().endswith(SUFFIXES):
        return MISPLACED
    try:
        with path.open("rb") as file:
            known = foreign_format(file.read(HEAD))
    except OSError:
        known = ""
    return f"{known}: save it as JPEG" if known else MISNAMED


def skipped_note(folder: Path, used: Collection[Path]) -> str:
    """A sentence that names the first files of `skipped_files`; "" where there are none."""
    skipped = skipped_files(folder, used)
    if not skipped:
        return ""
    named = [f"{name} ({reason})" for name, reason in list(skipped.items())[:MOST_NAMED]]
    more = f" and {len(skipped) - MOST_NAMED} more" if len(skipped) > MOST_NAMED else ""
    what = "1 file is" if len(skipped) == 1 else f"{len(skipped)} files are"
    return f"{what} skipped in {folder}: {', '.join(named)}{more}"
