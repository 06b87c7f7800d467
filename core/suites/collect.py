"""Keep what the finished cells of a suite measured, without checkpoints, in a folder for the repository.

RESULTS/<suite>/<run>/
    cell.json  config.yaml  env.json  metrics.jsonl
    eval/<checkpoint stem>/<evaluation>/  result.json  episodes.csv.gz  disjoint.csv.gz

The layout is that of run folders, so run_compare.py reads it. A cell that failed has its cell.json alone.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_file, write_json, write_text
from ..kinds import parse_json
from .progress import Progress, Record, progress
from .stages import stage_files
from .suite import Cell, read_suite

ENVIRONMENT = ("python", "torch", "torchvision", "numpy", "device", "cpus", "threads", "commit")
COPIED = ("config.yaml", "metrics.jsonl")
PACKED = ("episodes.csv", "disjoint.csv")
PATHS = ("checkpoint", "file", "path")  # entries of result.json that name a place on the machine


def collect(file: str, results: Path) -> list[str]:
    """Copy what is measured of the cells that are done or failed; what is there already stays as it is.

    The first result stands: a run of the same name that was collected before is not replaced, unless it had failed. It
    gains the results of tests that were added since, of the same checkpoint.

    Args:
        file: of the suite.
        results: folder of all suites' results.

    Returns:
        The names of the cells that were copied, or gained results.

    Raises:
        UserError: where a file of a cell that is done is missing or damaged.
    """
    copied = []
    for cell in read_suite(file):
        folder, now = results / Path(file).stem / cell.name, progress(cell)
        if now.state in ("done", "failed") and _state(folder) not in ("done", now.state):
            if now.state == "done":
                _copy(cell, folder)
            write_json(folder / "cell.json", _describe(file, cell, now))
            copied.append(cell.name)
        elif now.state == "done" and _copy_added(cell, folder):
            copied.append(cell.name)
    return copied


def _state(folder: Path) -> str:
    """Of a cell that was collected before; "" for none."""
    try:
        return str(json.loads((folder / "cell.json").read_text(encoding="utf-8"))["state"])
    except (OSError, ValueError, KeyError):
        return ""


def _describe(file: str, cell: Cell, now: Progress) -> dict[str, Any]:
    """What identifies a cell: its suite, YAML and overrides, and the stages it shares; and its place in the tables."""
    about = {
        "suite": Path(file).stem,
        "cfg": f"{cell.loaded.cfg.DATASET.NAME}/{cell.loaded.stem}.yaml",
        "overrides": list(cell.overrides),
        "state": now.state,
        "shared": [path.stem for path in stage_files(cell)],
        "row": cell.row_name,
        "against": cell.against,
    }
    return about | ({"reason": now.reason.splitlines()[-1]} if now.reason else {})


def _copy(cell: Cell, folder: Path) -> None:
    """Copy the files of a cell that is done; cell.json, which says so, is written after them."""
    environment, places = _read(cell.run.path / "env.json"), _evaluations(cell)
    for name in COPIED:
        if (cell.run.path / name).is_file():  # a run without stages has no metrics
            write_text(folder / name, (cell.run.path / name).read_text(encoding="utf-8"))
    write_json(folder / "env.json", {key: environment[key] for key in ENVIRONMENT if key in environment})
    for place, results in places.items():
        _copy_evaluation(place, results, folder)


def _copy_added(cell: Cell, folder: Path) -> bool:
    """Copy the evaluations of the collected checkpoint that are not there yet; says whether there were any."""
    known = {_read(file).get("checkpoint_sha256") for file in folder.glob("eval/*/*/*.json")}
    added = {
        place: results
        for place, results in _evaluations(cell).items()
        if not any(_target(folder, place).glob("*.json"))
        and all(result.get("checkpoint_sha256") in known for result in results.values())
    }
    for place, results in added.items():
        _copy_evaluation(place, results, folder)
    return bool(added)


def _evaluations(cell: Cell) -> dict[Path, dict[str, dict[str, Any]]]:
    """The results of each evaluation of a cell by their files' names: result.json, or what another protocol writes."""
    places = map(Path, Record(cell).result_folders())
    return {place: {file.name: _read(file) for file in sorted(place.glob("*.json"))} for place in places}


def _read(file: Path) -> dict[str, Any]:
    """A JSON file of the run."""
    try:
        return parse_json(file.read_text(encoding="utf-8"), {"": object})
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); evaluate or train that run again.") from error


def _target(folder: Path, place: Path) -> Path:
    """Where an evaluation is kept."""
    return folder / "eval" / place.parent.name / place.name


def _copy_evaluation(place: Path, results: dict[str, dict[str, Any]], folder: Path) -> None:
    """Copy the files of an evaluation; its results, without which it counts as not copied, come last."""
    target = _target(folder, place)
    for name in PACKED:
        if (place / name).is_file():
            _pack(place / name, target / f"{name}.gz")
    for name, result in results.items():
        write_json(target / name, {key: value for key, value in result.items() if key not in PATHS})


def _pack(source: Path, target: Path) -> None:
    """Write a file packed, without its date, so that the same content gives the same bytes."""
    write_file(target, lambda opened: opened.write(gzip.compress(source.read_bytes(), mtime=0)))
