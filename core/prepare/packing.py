"""Pack a data set: decode its files in several processes and write its splits.

All splits appear, or none. All images that cannot be read are named in one error.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import progress
from ..data.store import read_split, sorted_rows
from ..data.writer import SplitWriter, Summary, blocks
from ..errors import UserError
from .images import Decoded, Decoding, decode_all, resize_all

BLOCK = 64  # images of one job
AHEAD = 4  # jobs in flight for each process
LOOKED_AT = 512  # images of a split before it is judged whether they are enlarged
FEW = 256  # images that are not worth starting processes for
MOST_NAMED = 100  # bad images named in one error


class Content(Protocol):
    """The images or features of one split before they are packed."""

    labels: np.ndarray  # [M], index classes
    classes: list[str]
    names: list[str]  # unique within a class
    source: str  # where they come from, for the manifest
    notes: dict[str, Any]  # further entries of this split's manifest

    def blocks(self, order: np.ndarray) -> Iterable[np.ndarray]:
        """The rows `order` in blocks: images [n, H, W, 3] uint8, or features [n, D]."""
        ...


@dataclass
class ImageArray:
    """The images of one split as an array."""

    images: np.ndarray  # [M, H, W, 3] uint8
    labels: np.ndarray
    classes: list[str]
    names: list[str]
    source: str
    notes: dict[str, Any] = field(default_factory=dict)

    def blocks(self, order: np.ndarray) -> Iterable[np.ndarray]:
        """The images `order` in blocks."""
        return blocks(self.images, order)


class Decoders:
    """The processes that decode images, shared by the splits; they start once there are enough images for them."""

    def __init__(self, workers: int = 0) -> None:
        """`workers` processes; 0 = one a CPU, 1 = decode in this process."""
        self.workers = workers or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None

    def run(self, jobs: Iterable[list[Path | bytes]], total: int, decoding: Decoding) -> Iterator[Decoded]:
        """The results of `decode_all` for each job, in order, a bounded number at a time.

        `total` is the number of images of all jobs; few of them are decoded in this process.
        """
        if self._pool is None and (self.workers == 1 or total < FEW):
            yield from (decode_all(files, decoding) for files in jobs)
            return
        if self._pool is None:
            # A server process forks the workers: forking this one would copy the state of its threads.
            self._pool = ProcessPoolExecutor(self.workers, mp_context=get_context("forkserver"))
        running: deque[tuple[list[Path | bytes], Future[Decoded]]] = deque()
        try:
            for files in jobs:
                running.append((files, self._pool.submit(decode_all, files, decoding)))
                if len(running) >= self.workers * AHEAD:
                    yield running[0][1].result()
                    running.popleft()
            while running:
                yield running[0][1].result()
                running.popleft()
        except BrokenProcessPool as error:
            deadly = _deadly([file for files, _ in running for file in files], decoding)
            raise UserError(
                f"{deadly} makes its decoder crash; remove the image, or get it again."
                if deadly
                else "a process that decodes images died, perhaps for lack of memory; prepare again with --workers 1."
            ) from error

    def close(self) -> None:
        """Stop the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _deadly(files: Sequence[Path | bytes], decoding: Decoding) -> str:
    """The first file whose decoding ends its process, in a process that tries one after another; "" for none."""
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool:
        for file in files:
            try:
                pool.submit(decode_all, [file], decoding).result()
            except BrokenProcessPool:
                return str(file) if isinstance(file, Path) else "an image"
    return ""


@dataclass
class ImageFiles:
    """The images of one split as files, or as the bytes of files."""

    files: Sequence[Path | bytes]
    labels: np.ndarray
    classes: list[str]
    names: list[str]
    source: str
    decoding: Decoding
    decoders: Decoders
    bad: list[str] = field(default_factory=list)  # "FILE REASON" of each file that cannot be used
    decoded: int = 0  # images so far
    enlarged: int = 0  # of these, smaller than what they are packed at
    notes: dict[str, Any] = field(default_factory=dict)

    def blocks(self, order: np.ndarray) -> Iterator[np.ndarray]:
        """The images `order`, decoded, in blocks; a file that cannot be used gives black and is added to `bad`."""
        chunks = [order[start : start + BLOCK].tolist() for start in range(0, len(order), BLOCK)]
        jobs = ([self.files[row] for row in chunk] for chunk in chunks)
        results = self.decoders.run(jobs, len(order), self.decoding)
        for chunk, result in zip(chunks, results, strict=True):
            self.bad += [f"{self._name(chunk[place])} {reason}" for place, reason in result.bad.items()]
            self.decoded, self.enlarged = self.decoded + len(chunk), self.enlarged + result.enlarged
            yield result.pixels

    def refuse_enlargement(self) -> None:
        """Refuse a benchmark most of whose images, among the first ones already, are smaller than they are packed.

        Images that are published at one small size (CIFAR's) may be enlarged; a few small images are in every set.
        """
        published, size = self.decoding.as_published and not self.decoding.side, self.decoding.size
        if published and self.decoded >= min(LOOKED_AT, len(self.names)) and 2 * self.enlarged > self.decoded:
            raise UserError(
                f"{self.enlarged} of the first {self.decoded} images of {self.source} are smaller than --size {size}, "
                "and would be enlarged; get larger originals, or give --allow-deviation, which every result then shows."
            )

    def _name(self, row: int) -> str:
        """What an error calls an image."""
        file = self.files[row]
        return str(file) if isinstance(file, Path) else f"{self.classes[self.labels[row]]}/{self.names[row]}"


@dataclass
class ResizedContent:
    """The images of one split at another size."""

    content: Content
    size: int

    def __post_init__(self) -> None:
        self.labels, self.classes, self.names = self.content.labels, self.content.classes, self.content.names
        self.source, self.notes = self.content.source, self.content.notes

    def blocks(self, order: np.ndarray) -> Iterator[np.ndarray]:
        """The images `order`, resized, in blocks."""
        return (resize_all(block, self.size) for block in self.content.blocks(order))


def pack(
    folders: dict[str, Path],
    dataset: str,
    contents: dict[str, Content],
    notes: dict[str, Any],
    may_enlarge: bool = False,
) -> None:
    """Write the splits in `contents`; `folders` are those of all splits, `notes` join the manifest of each.

    Raises:
        UserError: where an image cannot be used, the disk refuses, or a benchmark would be enlarged and must not be.
    """
    total = sum(len(content.names) for content in contents.values())
    bar = progress.bar(total, "images", name=dataset)
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
                if isinstance(content, ImageFiles) and not may_enlarge:
                    content.refuse_enlargement()
        _refuse_bad([bad for content in contents.values() for bad in getattr(content, "bad", ())])
        digests = {split: writer.summary.digests for split, writer in writers.items()}
        digests |= {split: _digests(folder) for split, folder in folders.items() if split not in writers}
        notes = {**notes, "duplicates_across_splits": count_duplicates(digests)}
        notes |= _enlargement(contents, notes)
        for split, writer in writers.items():
            writer.finish(contents[split].source, **notes, **contents[split].notes)


def _enlargement(contents: Mapping[str, Content], notes: Mapping[str, Any]) -> dict[str, Any]:
    """How many images were enlarged, and the deviation that this is where it is most images of a benchmark."""
    files = [content for content in contents.values() if isinstance(content, ImageFiles)]
    enlarged, decoded = sum(content.enlarged for content in files), sum(content.decoded for content in files)
    if not enlarged:
        return {}
    text = f"{enlarged} of {decoded} images are enlarged to {files[0].decoding.size} px"
    entry = {"enlarged": text}
    if 2 * enlarged > decoded and files[0].decoding.as_published and not files[0].decoding.side:
        entry["deviation"] = "; ".join(filter(None, [notes.get("deviation"), text]))
    return entry


def _refuse_bad(bad: list[str]) -> None:
    """One error that names every unreadable image."""
    if bad:
        rest = f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        count = "1 image" if len(bad) == 1 else f"{len(bad)} images"
        raise UserError(
            f"{count} cannot be used: {'; '.join(bad[:MOST_NAMED])}{rest}. Replace or remove them, and prepare again."
        )


def _digests(folder: Path) -> np.ndarray:
    """The digests of the images of a split on disk."""
    images, summary = read_split(folder).images, Summary()
    for block in blocks(images, np.arange(len(images))):
        summary.add(block)
    return summary.digests


def count_duplicates(digests: dict[str, np.ndarray]) -> dict[str, int]:
    """The number of distinct images that two splits share, for each pair of splits that share any."""
    counts = {}
    for first, second in combinations(sorted(digests), 2):
        common = len(np.intersect1d(digests[first], digests[second]))
        if common:
            counts[f"{first}/{second}"] = common
    return counts
