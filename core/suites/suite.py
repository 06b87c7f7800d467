"""A suite file: configs, overrides, seeds and tests, and the cells that they make."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import expanduser  # that of pathlib raises where there is no such user
from pathlib import Path
from typing import Any

import yaml

from ..build.config import load_config
from ..config import Loaded
from ..config.provenance import COMMAND_LINE
from ..config.read import parse
from ..data.datasets import dataset
from ..errors import UserError, reworded
from ..files import read_regular
from ..names import nearest
from ..paths import find_config
from ..report.run import RunFolder, run_name

SUITE_KEYS = ("AGAINST", "BASE", "SEEDS", "OVERRIDES", "RUNS", "TESTS")
RUN_KEYS = ("CFG", "NAME", "OVERRIDES", "SEEDS", "TAG", "TESTS")
TEST_KEYS = ("OVERRIDES", "OPTIONS")


@dataclass(frozen=True)
class Cell:
    """One training with its tests. Its run folder is its identity."""

    cfg: str  # as --cfg takes it
    overrides: tuple[str, ...]  # KEY=VALUE, SEED among them
    tag: str
    tests: tuple[tuple[str, ...], ...]  # arguments of each evaluation: options, then overrides
    base: Path  # folder of the run folders
    loaded: Loaded
    row_name: str = ""  # what tables of collected results call it; "" = the words of its YAML
    against: str = ""  # the row that these tables compare it with; "" = none

    @property
    def name(self) -> str:
        """Name of the run folder."""
        cfg = self.loaded.cfg
        return run_name(dataset(cfg.DATASET.TRAIN.NAME).name, self.loaded.stem, cfg.SEED, self.tag)

    @property
    def row(self) -> str:
        """Its name in tables of collected results."""
        return self.row_name or " ".join(words_of(self.loaded.stem))

    @property
    def run(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.base / self.name)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that the tests evaluate."""
        test = self.loaded.cfg.TASK.TEST
        return self.run.best(test.WAY, test.SHOT)

    def train_arguments(self, device: str, resume: bool) -> list[str]:
        """Arguments of run_trainer.py; the evaluations follow on their own."""
        tag = ["--tag", self.tag] if self.tag else []
        where = ["--cfg", self.cfg, "--device", device, "-c", str(self.base)]
        return [*where, *tag, "-e", "0", *(["--resume"] if resume else []), *self.overrides]

    def test_arguments(self, number: int, device: str) -> list[str]:
        """Arguments of run_evaluator.py for one of the tests."""
        where = ["--cfg", self.cfg, "--device", device, "-c", str(self.checkpoint)]
        return [*where, *self.overrides, *self.tests[number]]


def read_suite(path: str | Path) -> list[Cell]:
    """The cells of a suite file, in its order.

    Keys of the file:

        RUNS       YAML files, or {CFG, NAME, OVERRIDES, SEEDS, TAG, TESTS} for one with keys of its own; tables of
                   collected results call it NAME, or by the words of its YAML
        SEEDS      training seeds of every run; that of its YAML if left out
        OVERRIDES  KEY=VALUE of every run
        TESTS      {OVERRIDES, OPTIONS} of each evaluation; one evaluation as the config has it if left out
        BASE       folder of the run folders; checkpoint if left out
        AGAINST    name of the row with which tables of collected results compare the others; none if left out

    Raises:
        UserError: for an unknown key, a missing YAML, a broken setting, or two cells with one run folder.
    """
    file = Path(path)
    tree = _read(file)
    _refuse_unknown(tree, SUITE_KEYS, str(file))
    if not tree.get("RUNS"):
        raise UserError(f"{file}: RUNS is missing; list the YAML files of the suite.")
    cells = [cell for run in _items(tree, "RUNS", file) for cell in _cells(run, tree, file)]
    folders: dict[str, Cell] = {}
    for cell in cells:
        if cell.name in folders:
            raise UserError(f"{file}: two cells have the run folder {cell.name}; give one of them a TAG.")
        folders[cell.name] = cell
    _refuse_unknown_row(cells, file)
    return cells


def words_of(cfg: str) -> list[str]:
    """Words of a YAML's name before its task: CIFAR-FS/AM3_TRAML_N5K1_C4.yaml gives AM3 and TRAML.

    `short` says how long a recipe trains, not what it is.
    """
    return [word for word in re.split(r"_N\d+K\d+_", Path(cfg).stem)[0].split("_") if word != "short"]


def _refuse_unknown_row(cells: Sequence[Cell], file: Path) -> None:
    """Refuse an AGAINST that names neither a run nor another head on a run's features."""
    against, rows = cells[0].against, {cell.row for cell in cells}
    heads = tuple(f" on {words_of(cell.loaded.stem)[0]}'s features" for cell in cells)
    if against and against not in rows and not against.endswith(heads):
        raise UserError(f"{file}: AGAINST is {against}, which is no row{nearest(against, rows)}; name one of RUNS.")


def _cells(run: Any, tree: Mapping[str, Any], file: Path) -> list[Cell]:
    """The cells of one entry of RUNS: one for each seed."""
    run = {"CFG": run} if isinstance(run, str) else run
    _refuse_unknown(run, RUN_KEYS, f"{file}: RUNS")
    if not find_config(str(run.get("CFG", "")))[0].is_file():
        raise UserError(f"{file}: RUNS names {run.get('CFG')!r}, which is not a file; give the path of a YAML.")
    shared, of_run = _items(tree, "OVERRIDES", file), _items(run, "OVERRIDES", file)
    tag, row_name, against = _word(run, "TAG"), _word(run, "NAME"), _word(tree, "AGAINST")
    tests = _items(run, "TESTS", file) or _items(tree, "TESTS", file) or [{}]
    words = tuple(_test(test, file) for test in tests)
    common = tuple(str(item) for item in (*shared, *of_run))
    seed_as_written = _loaded(run["CFG"], common, file).cfg.SEED
    cells = []
    for seed in _items(run, "SEEDS", file) or _items(tree, "SEEDS", file) or [seed_as_written]:
        overrides = common if seed == seed_as_written else (*common, f"SEED={seed}")
        loaded = _loaded(run["CFG"], overrides, file)
        cells.append(Cell(run["CFG"], overrides, tag, words, _base(tree), loaded, row_name, against))
    for test in tests:  # what an evaluation would refuse is refused before the training that comes first
        _loaded(run["CFG"], (*common, *map(str, _items(test, "OVERRIDES", file))), file)
    return cells


def _loaded(cfg: str, overrides: Sequence[str], file: Path) -> Loaded:
    """The configuration of a cell; the suite is named as the source of what it overrides."""
    with reworded({f"{COMMAND_LINE}: ": f"{file}: "}):
        return load_config(cfg, overrides)


def _word(tree: Mapping[str, Any], key: str) -> str:
    """The word that a key holds; "" where it is left out or empty."""
    return "" if tree.get(key) is None else str(tree[key])


def _base(tree: Mapping[str, Any]) -> Path:
    return Path(expanduser(str(tree.get("BASE") or "checkpoint")))


def _test(test: Any, file: Path) -> tuple[str, ...]:
    """The arguments of one entry of TESTS."""
    _refuse_unknown(test, TEST_KEYS, f"{file}: TESTS")
    return tuple(str(item) for key in ("OPTIONS", "OVERRIDES") for item in _items(test, key, file))


def _items(tree: Mapping[str, Any], key: str, file: Path) -> Sequence[Any]:
    """The list that a key holds; none where it is left out."""
    items = tree.get(key, [])
    if not isinstance(items, list):
        raise UserError(f"{file}: {key} is {items!r}, but it must be a list.")
    if key in ("SEEDS", "TESTS") and key in tree and not items:
        raise UserError(f"{file}: {key} is an empty list; list something, or leave {key} out.")
    return items


def _refuse_unknown(tree: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(tree, Mapping):
        raise UserError(f"{where} has {tree!r}, but it must hold keys of: {', '.join(known)}.")
    for key in tree:
        if key not in known:
            raise UserError(
                f"{where} has the unknown key {key}{nearest(str(key), known)}; it may have {', '.join(known)}."
            )


def _read(file: Path) -> Mapping[str, Any]:
    """The content of a suite file."""
    try:
        tree = parse(read_regular(file).decode("utf-8"))
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error.strerror}); give a suite file, such as configs/suites/glyphs.yaml."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not YAML ({str(error).splitlines()[0]}); correct it.") from error
    return tree or {}
