"""Packing a data set: its files decoded by several processes, its splits written side by side, described and compared.

Either all three splits appear or none; an image that cannot be read is named together with all the others.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from ..data.store import read_split, sorted_rows
from ..data.writer import SplitWriter, Summary, blocks
from ..errors import UserError
from .images import Recipe, decode_all, resize_all

BLOCK = 64  # images of one job
AHEAD = 4  # jobs in flight for each process
FEW = 256  # images that are not worth starting processes for
MOST_NAMED = 100  # bad images named in one error


class Content(Protocol):
    """The images of one split before they are packed: in memory (`store.Pictures`) or in files (`ImageFiles`)."""

    labels: np.ndarray  # [M], index classes
    classes: list[str]
    names: list[str]  # unique within a class
    source: str

    def blocks(self, order: np.ndarray) -> Iterable[np.ndarray]:
        """The images `order`, some at a time, [n, H, W, 3] uint8, or features [n, D]."""
        ...


class Decoders:
    """The processes that decode images, started when there is enough for them to do, and shared by the splits."""

    def __init__(self, workers: int = 0) -> None:
        """`workers` processes; 0 = one a CPU, 1 = none, all is done here."""
        self.workers = workers or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None

    def run(self, jobs: Iterable[list[Path | bytes]], total: int, recipe: Recipe) -> Iterator[tuple[np.ndarray, dict]]:
        """What `decode_all` gives for each job, in order, with a bounded number in flight; `total` images in all."""
        if self._pool is None and (self.workers == 1 or total < FEW):
            yield from (decode_all(files, recipe) for files in jobs)
            return
        if self._pool is None:
            # A server process forks the workers: forking this one would copy the state of its threads.
            self._pool = ProcessPoolExecutor(self.workers, mp_context=get_context("forkserver"))
        running = deque()
        try:
            for files in jobs:
                running.append(self._pool.submit(decode_all, files, recipe))
                if len(running) >= self.workers * AHEAD:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that decodes images died, perhaps for lack of memory; prepare again with --workers 1."
            ) from error

    def close(self) -> None:
        """Stop the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


@dataclass
class ImageFiles:
    """The images of one split as files, or as the contents of files."""

    files: Sequence[Path | bytes]
    labels: np.ndarray
    classes: list[str]
    names: list[str]
    source: str
    recipe: Recipe
    decoders: Decoders
    bad: list[str] = field(default_factory=list)  # "FILE REASON" for each that could not be read
    notes: dict[str, Any] = field(default_factory=dict)  # joins the manifest of this split

    def blocks(self, order: np.ndarray) -> Iterator[np.ndarray]:
        """Decoded images; an unreadable one is black and entered in `bad`."""
        chunks = [order[start : start + BLOCK].tolist() for start in range(0, len(order), BLOCK)]
        jobs = ([self.files[row] for row in chunk] for chunk in chunks)
        yield from self._noted(chunks, self.decoders.run(jobs, len(order), self.recipe))

    def _noted(self, chunks: list[list[int]], found: Iterable[tuple[np.ndarray, dict]]) -> Iterator[np.ndarray]:
        """Enter what was bad in a chunk, and pass its pixels on."""
        for chunk, (pixels, bad) in zip(chunks, found, strict=True):
            for place, reason in bad.items():
                row = chunk[place]
                file = self.files[row]
                name = file if isinstance(file, Path) else f"{self.classes[self.labels[row]]}/{self.names[row]}"
                self.bad.append(f"{name} {reason}")
            yield pixels


@dataclass
class Resized:
    """The images of one split at another size."""

    content: Content
    size: int

    def __post_init__(self) -> None:
        self.labels, self.classes = self.content.labels, self.content.classes
        self.names, self.source = self.content.names, self.content.source

    def blocks(self, order: np.ndarray) -> Iterator[np.ndarray]:
        """The images `order`, resized."""
        return (resize_all(block, self.size) for block in self.content.blocks(order))


def pack(folders: dict[str, Path], dataset: str, contents: dict[str, Content], notes: dict[str, Any]) -> None:
    """Write the splits whose folders are missing; `notes` join the manifest of each."""
    total = sum(len(content.names) for content in contents.values())
    bar = tqdm(total=total, desc=dataset, unit="image", disable=not sys.stderr.isatty(), leave=False)
    with bar, ExitStack() as stack:
        writers: dict[str, SplitWriter] = {}
        for split, content in contents.items():
            if isinstance(content, ImageFiles):
                stack.callback(content.decoders.close)
            class_order, order, labels = sorted_rows(content.labels, content.classes, content.names)
            classes, names = [content.classes[c] for c in class_order], [content.names[i] for i in order]
            writers[split] = stack.enter_context(SplitWriter(folders[split], dataset, labels, classes, names))
            for block in content.blocks(order):
                writers[split].add(block)
                bar.update(len(block))
        _refuse_bad([bad for content in contents.values() for bad in getattr(content, "bad", ())])
        digests = {split: writer.summary.digests for split, writer in writers.items()}
        others = {split: _digests(folder) for split, folder in folders.items() if split not in writers}
        notes = {**notes, "duplicates_across_splits": count_duplicates(digests | others)}
        for split, writer in writers.items():
            writer.finish(contents[split].source, **notes, **getattr(contents[split], "notes", {}))


def _refuse_bad(bad: list[str]) -> None:
    """One error that names every unreadable image."""
    if bad:
        rest = f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        count = "1 image" if len(bad) == 1 else f"{len(bad)} images"
        raise UserError(
            f"{count} cannot be used: {'; '.join(bad[:MOST_NAMED])}{rest}. Replace or remove them, and prepare again."
        )


def _digests(folder: Path) -> np.ndarray:
    """Image digests of a split that is on disk."""
    images, summary = read_split(folder).images, Summary()
    for block in blocks(images, np.arange(len(images))):
        summary.add(block)
    return summary.digests


def count_duplicates(digests: dict[str, np.ndarray]) -> dict[str, int]:
    """How many distinct images two splits have in common, pixel by pixel, for every two splits that share one."""
    found, splits = {}, sorted(digests)
    for place, one in enumerate(splits):
        for other in splits[place + 1 :]:
            common = len(np.intersect1d(digests[one], digests[other]))
            if common:
                found[f"{one}/{other}"] = common
    return found
