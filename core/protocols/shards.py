"""Shards of an evaluation: episodes A .. B - 1 in a file each, and what joins them by number."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import UserError
from ..files import DAMAGE
from ..kinds import parse_json
from ..report.tally import Evaluation, join_evaluations

FOLDER = "shards"
ARRAYS = ("correct", "top2", "classes", "confusion", "bins")
ABOUT = {"identity": {"": object}, "queries": int, "seconds": {"": float}, "numbers?": [int]}
EXAMPLES = "examples"  # which shards of earlier versions lack


def parse_range(text: str, episodes: int) -> range:
    """The numbers that `--episodes A:B` means.

    Raises:
        UserError: where it is not A:B with 0 <= A < B <= `episodes`.
    """
    match = re.fullmatch(r"(\d+):(\d+)", text)
    numbers = range(int(match[1]), int(match[2])) if match else range(0)
    if not numbers or numbers.stop > episodes:
        raise UserError(
            f"--episodes is {text!r}, but it must be A:B with 0 <= A < B <= EVAL.EPISODES ({episodes}): episodes A to "
            "B - 1."
        )
    return numbers


def shard_name(numbers: range) -> str:
    """The file of a shard, below the folder of the evaluation's result."""
    return f"{FOLDER}/{numbers.start}-{numbers.stop}.npz"


def write_shard(file: BinaryIO, evaluation: Evaluation, identity: dict[str, Any], numbers: range) -> None:
    """Write the counts of the episodes of these numbers, without pickled objects.

    `identity` is what all shards of one evaluation have in common.
    """
    arrays = {name: getattr(evaluation, name) for name in (*ARRAYS, EXAMPLES)}
    about = {"identity": identity, "queries": evaluation.queries, "seconds": evaluation.seconds}
    about["numbers"] = [numbers.start, numbers.stop]
    np.savez(file, about=np.array(json.dumps(about)), **arrays)


def read_shards(folder: Path, episodes: int, identity: dict[str, Any]) -> Evaluation:
    """The evaluation of all episodes, from the shards below the folder of its result.

    Raises:
        UserError: where shards overlap, are missing, or come from another evaluation.
    """
    files = {numbers: folder / shard_name(numbers) for numbers in _shards(folder)}
    _refuse_holes(folder, list(files), episodes)
    return join_evaluations([_read(file, identity, numbers) for numbers, file in files.items()])


def _shards(folder: Path) -> list[range]:
    """The numbers of the shards below a folder, in their order."""
    names = [re.fullmatch(r"(\d+)-(\d+)\.npz", file.name) for file in (folder / FOLDER).glob("*.npz")]
    numbers = [range(int(match[1]), int(match[2])) for match in names if match]
    return sorted(numbers, key=lambda shard: (shard.start, shard.stop))


def _refuse_holes(folder: Path, shards: Sequence[range], episodes: int) -> None:
    """Refuse shards that do not hold each episode once."""
    after = 0
    for shard in [*shards, range(episodes, episodes)]:
        if shard.start > after:
            missing = f"{after}:{shard.start}"
            raise UserError(
                f"{folder / FOLDER} lacks episodes {missing} of {episodes}; evaluate them with --episodes {missing}."
            )
        if shard.start < after:
            raise UserError(
                f"{folder / FOLDER} holds episodes {shard.start}:{min(after, shard.stop)} twice; delete one of the "
                f"shards that overlap, {shard.start}-{shard.stop}.npz for example."
            )
        after = shard.stop


def _read(file: Path, identity: dict[str, Any], numbers: range) -> Evaluation:
    """A shard of the episodes of these numbers."""
    try:
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            about = parse_json(str(arrays["about"]), ABOUT)
            counts = {name: arrays[name] for name in ARRAYS}
            examples = arrays.get(EXAMPLES)
    except DAMAGE as error:
        raise UserError(f"{file} is not a shard ({error}); delete it and evaluate its episodes again.") from error
    start, stop = about.get("numbers", (numbers.start, numbers.stop))  # which shards of earlier versions do not say
    if (start, stop) != (numbers.start, numbers.stop) or len(counts["correct"]) != len(numbers):
        raise UserError(
            f"{file} holds other episodes than its name says ({len(counts['correct'])}, {start}:{stop}); delete it and "
            "evaluate its episodes again."
        )
    differing = [key for key in identity if about["identity"].get(key) != identity[key]]
    if differing:
        raise UserError(
            f"{file} comes from another evaluation (differs in {', '.join(differing)}); delete it and evaluate its "
            "episodes again."
        )
    return Evaluation(**counts, queries=about["queries"], seconds=about["seconds"], examples=examples)
