"""What the commands do, once their arguments are parsed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import ranks
from .build.config import differing_keys, last_stage, load_config
from .build.data import Data
from .build.evaluation import UNTRAINED, Network, initialised, measured, refuse_test
from .build.identity import describe
from .build.saved import load_given_or_saved
from .build.training import build_trainer
from .config import Loaded, check_files
from .config.provenance import COMMAND_LINE
from .config.roles import roles_of
from .engine import checkpoint, device
from .engine.environment import environment
from .engine.selection import best_checkpoint, select
from .errors import UserError
from .files import write_files, write_text
from .log import log_result, start_log
from .protocols.base import Answer, Protocol, protocol_named, refuse_ensemble, refuse_options
from .report.page.files import file_sections, page_title
from .report.page.render import page
from .report.page.runs import run_sections
from .report.result import at_chance
from .report.run import RunFolder, run_name
from .stopping import why

RUNS = "checkpoint"  # where run folders go
PAGE = "report.html"  # beside the files of a result


def train(
    cfg_file: str,
    overrides: Sequence[str],
    *,
    device_name: str = "0",
    threads: int = 0,
    base: str = "checkpoint",
    folder: str = "",
    tag: str = "",
    resume: bool = False,
    overwrite: bool = False,
    evaluate_after: bool = True,
) -> Path:
    """Train the stages of a config, evaluate the selected checkpoint on the test split, return the run folder.

    It lies in `base`, named after the config, the seed and the `tag`, unless `folder` names it.
    """
    loaded = load_config(cfg_file, overrides)
    check_files(loaded.cfg)
    everyone = ranks.join()
    start_log(quiet=not everyone.first)
    where, note = device.prepare(device_name, threads)
    if folder and tag:
        raise UserError(f"--tag is {tag}, but --checkpoint_dir names the run folder already; leave one of them out.")
    with everyone.first_before_others():
        data = Data(loaded.cfg, where)
        name = run_name(data.split("train").dataset, loaded.stem, loaded.cfg.SEED, tag)
        run = RunFolder(Path(folder) if folder else Path(base) / name, writes=everyone.first)
        trainer = build_trainer(data, run, loaded.stem, Path(base) / "pretrained", loaded.full())
        trainer.rehearse()
        refuse_test(data)  # what the test split cannot give is said now, not after training
    if ranks.restarted() and run.config.is_file():
        resume, overwrite = True, False
    with run.kept_from_others(overwrite):
        differing = differing_keys(loaded, run.config) if run.config.is_file() and not overwrite else []
        if resume:
            trainer.resume()
        if resume and _only_longer(loaded, run, differing):
            trainer.refuse_longer(_epochs(load_config(run.config)))
            differing = []
        with everyone.first_before_others():
            run.begin(loaded.full(), loaded.diff(), differing, resume, overwrite)
        log = start_log(run.path / "train.log" if everyone.first else None, quiet=not everyone.first)
        for line in [note, *loaded.notes, loaded.diff(), f"run folder  {run.path}"]:
            if line:
                log.info(line)
        run.write_json("env.json", environment(where))
        run.set_running()
        with _ending(run):
            best = trainer.fit()
            if evaluate_after:
                for line in _result_lines(protocol_named("episodes")(data, measured(data, best))):
                    log_result(line)
    return run.path


@contextmanager
def _ending(run: RunFolder) -> Iterator[None]:
    """Record how a run ends."""
    try:
        yield
    except KeyboardInterrupt as stop:
        run.set_state("interrupted", why=why(stop))
        raise
    except BaseException as error:
        run.set_state("failed", why=f"{type(error).__name__}: {error}".removesuffix(": "))
        raise
    run.set_state("done")


def _only_longer(loaded: Loaded, run: RunFolder, differing: Sequence[str]) -> bool:
    """Whether all that differs from the run in the folder is a larger number of epochs of the last stage."""
    key = f"STAGE.{last_stage(loaded.cfg)}.EPOCHS"
    return list(differing) == [key] and _epochs(loaded) > _epochs(load_config(run.config))


def _epochs(loaded: Loaded) -> int:
    """The epochs of the last stage."""
    return int(loaded.cfg.STAGE[last_stage(loaded.cfg)].EPOCHS)


def evaluate(
    cfg_file: str,
    overrides: Sequence[str],
    checkpoints: Sequence[str],
    *,
    device_name: str = "0",
    threads: int = 0,
    untrained: bool = False,
    protocol: str = "episodes",
    **options: Any,
) -> None:
    """Evaluate checkpoints, or the freshly initialised network, on the test split of a config.

    Without a `cfg_file` it is the checkpoint's own. `protocol` names the way of asking, see `core/protocols`; `options`
    are its own.
    """
    paths = [Path(path) for path in checkpoints]
    loaded = load_given_or_saved(cfg_file, paths, overrides)
    everyone = ranks.join()
    where, note = device.prepare(device_name, threads)
    log = start_log(quiet=not everyone.first)
    for line in [note, *loaded.notes]:
        if line:
            log.info(line)
    kind = protocol_named(protocol)
    refuse_options(kind, options)
    refuse_ensemble(kind, loaded.cfg.EVAL.ENSEMBLE)
    data = Data(loaded.cfg, where, checkpoint.load(best_checkpoint(paths[0]))["meta"] if len(paths) == 1 else None)
    several = False
    if untrained:
        run_folder = RunFolder(Path(RUNS) / _untrained_name(loaded, data))
        networks: Iterator[Network] = iter([initialised(data, run_folder.path)])
    else:
        selection = select(paths, loaded.path, describe(data))
        if options.get("save_features") and len(selection.chosen) > 1:
            raise UserError(
                f"--save-features takes one checkpoint, but --checkpoint (-c) names {len(selection.chosen)}; give one."
            )
        for line in selection.lines():
            log.info(line)
        several = len(selection.chosen) > 1
        networks = (measured(data, path) for path in selection.chosen)
    for network in networks:
        run = f"  run {network.path.parent.name}" if network.path and several else ""
        for line in _result_lines(kind(data, network, **options), run):
            log_result(line)
    if untrained and everyone.first and run_folder.path.is_dir():  # what run_compare.py reads beside the results
        write_text(run_folder.config, loaded.full())
        write_text(run_folder.path / "diff.txt", loaded.diff())


OF_A_RESULT = ("SEED", "EVAL.", "TASK.TEST.", "TASK.VAL.")  # keys that the name of a result's folder says
UNSAID = ("EVAL.BASE_IMAGES", "EVAL.PRIOR")  # those of them that it says for a trained network alone


def _untrained_name(loaded: Loaded, data: Data) -> str:
    """The run folder's name of a network that was not trained, with a hash of what the command line changed of it."""
    changed = {
        key: loaded.values[key]
        for key, source in loaded.sources.items()
        if source == COMMAND_LINE
        and (key in UNSAID or not key.startswith(OF_A_RESULT))
        and roles_of(key) & {"trains", "varies", "encodes", "measures"}
    }
    text = json.dumps(changed, sort_keys=True, default=str)
    tag = f"{UNTRAINED}-{hashlib.sha256(text.encode()).hexdigest()[:6]}" if changed else UNTRAINED
    return run_name(data.split("train").dataset, loaded.stem, loaded.cfg.SEED, tag)


def _result_lines(protocol: Protocol, run: str = "") -> Iterator[str]:
    """Ask a protocol, write the files of each answer, and yield the lines to print, with what names the `run`."""
    network = protocol.network
    state = "" if network.path else "frozen  " if network.external else "untrained  "
    protocol.refuse()
    for answer in protocol.answers():
        folder = network.folder / answer.folder if answer.folder else Path()
        if ranks.current().first:
            write_files(folder, dict(answer.files))
            if file := _write_page(answer, folder, protocol.cfg.EVAL.PAGE):
                yield f"page  {file}"
        if network.path and at_chance(answer.files.get("result.json")):
            yield "These answers are no better than guessing: see the losses in train.log; a lower OPTIM.LR may help."
        yield f"{state}{answer.line}{run}\nresult files  {folder}" if answer.folder else f"{answer.line}{run}"


def _write_page(answer: Answer, folder: Path, wanted: bool) -> Path | None:
    """Write report.html beside the result.json of an answer in a folder of a run; None where it has no result.

    Where none is `wanted`, one of an earlier result is removed.
    """
    result = next((content for content in answer.files.values() if isinstance(content, Mapping)), None)
    if not answer.folder or result is None:
        return None
    file, run = folder / PAGE, folder.parents[2]
    if not wanted:
        file.unlink(missing_ok=True)
        return None
    sections = answer.sections() if answer.sections else file_sections(answer.line, answer.files)
    write_text(file, page(page_title(result, answer.line), [*sections, *run_sections(run, result)]))
    return file
