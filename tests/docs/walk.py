"""Walk through a document as a reader does: one convention for all documents whose code a test executes.

    block                                what happens
    without a language                   run in bash, in the folder of the walk; a command that fails ends the walk
    after a line "`FILE`...:"            written to FILE
    ```python                            executed; names carry over to the next one
    ```text                              what the commands above printed: its lines are looked for in their output
    any other language, such as ```sh    shown to the reader, and not executed

In ```text every number stands for any number, and a line `...` for lines that are left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r"`([\w.+-]+\.\w+)`.*:$")
NUMBER = re.compile(r"[<+−-]?\d[\d.,]*")


@dataclass(frozen=True)
class Block:
    """A block of code in a document."""

    language: str
    text: str
    file: str  # the name of the file that it is; "" = none


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a document, in order."""
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip().splitlines()
        file = FILE.match(before[-1]) if before else None
        yield Block(match[1], match[2], file[1] if file else "")


def clone(folder: Path) -> Path:
    """A fresh clone of the project at `folder`."""
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(folder)], check=True)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Of a terminal whose environment is activated, and whose caches are empty."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    path = f"{Path(sys.executable).parent}:{inherited['PATH']}"
    return inherited | {"PATH": path, "PYTHONPATH": "", "XDG_CACHE_HOME": str(folder / ".cache")}


def walk(text: str, folder: Path, skipped: tuple[str, ...] = (), is_compared: bool = True) -> str:
    """Do what a document shows, in `folder`; returns all that was printed.

    `skipped` are the beginnings of lines that are left out. `is_compared`: whether ```text is looked for.
    """
    printed, names = "", {}
    for block in blocks(text):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "":
            printed += run(block.text, folder, skipped)
        elif block.language == "python":
            exec(compile(block.text, "a block of the document", "exec"), names)
        elif block.language == "text" and is_compared:
            missing = missing_lines(block.text, printed)
            assert not missing, f"the document shows lines that were not printed: {missing}\n{printed[-3000:]}"
    return printed


def run(commands: str, folder: Path, skipped: tuple[str, ...] = ()) -> str:
    """What the commands of a block print, both streams."""
    lines = [line for line in commands.splitlines() if not line.startswith(skipped or ("\0",))]
    started: dict[str, Any] = {"cwd": folder, "env": environment(folder), "text": True}
    script = subprocess.run(
        ["bash", "-ec", "\n".join(lines)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **started
    )
    assert script.returncode == 0, f"exit code {script.returncode}\n{commands}\n{script.stdout[-3000:]}"
    return script.stdout


def missing_lines(shown: str, printed: str) -> list[str]:
    """The lines of a ```text block that are not in the output, any number being as good as another."""
    output = {_without_numbers(line) for line in printed.splitlines()}
    lines = [line for line in shown.splitlines() if line.strip() not in ("", "...")]
    return [line for line in lines if _without_numbers(line) not in output]


def _without_numbers(line: str) -> str:
    return " ".join(NUMBER.sub("#", line).split())
