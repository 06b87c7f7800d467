"""A suite on SLURM: what is refused without it, and a real one-node cluster on which jobs are killed."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from core.errors import UserError
from core.suites.commands import table
from core.suites.progress import Record, progress
from core.suites.queue import read_queue
from core.suites.slurm import Resources, _alone
from core.suites.suite import read_suite
from tests.conftest import ROOT
from tests.suites.conftest import TWO

TOOL = Path(os.environ.get("FIVEWAY_SLURM", ROOT.parent / "shared/tools/slurm_one_machine"))
ON_SLURM = ("--launch", "slurm", "--partition", "local", "--gpus", "0", "--time", "00:30:00")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gpus": 2}, "--gpus is 2, but a cell trains on one device; write 1, or 0 for the CPU"),
        ({"cpus": 0}, "--cpus is 0, but a job needs one at least"),
        ({"requeue": -1}, "--requeue is -1, which cannot be negative"),
        ({"time": "12h"}, "--time is '12h', but it must be [DAYS-]HH:MM:SS"),
        ({"time": "00:00:00"}, "--time is '00:00:00', but it must be [DAYS-]HH:MM:SS"),
        (
            {"time": "00:03:30"},
            "SLURM signals a job 90 s before its time is up, so it would train nothing; write --time 00",
        ),
    ],
)
def test_what_a_cell_cannot_use_is_a_sentence(options, sentence):
    with pytest.raises(UserError) as error:
        Resources(**options)
    assert sentence in str(error.value)


def test_the_time_in_minutes():
    times = {"00:05:30": 6, "00:30:00": 30, "12:00:00": 720, "1-02:03:04": 1564}
    assert {time: Resources(time=time).minutes for time in times} == times


def test_without_submitit_the_sentence_says_what_to_install(suite, refused, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    sentence = refused("run_suite.py", suite(), "--launch", "slurm")
    assert sentence == "--launch slurm needs submitit, which is not installed: run `pip install submitit`."


def test_without_slurm_the_sentence_says_so(suite, refused, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is an optional extra")
    monkeypatch.setenv("PATH", "")
    assert "--launch slurm needs SLURM, but sbatch, srun and squeue are not" in refused(
        "run_suite.py", suite(), "--launch", "slurm"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--partition", "gpu"], "--partition is for cells on SLURM, but --launch is local; leave one out."),
        (
            ["--launch", "slurm", "--jobs", "2"],
            "--jobs is for cells on this machine, but --launch is slurm; leave one out.",
        ),
        (["--only", "Glyphs_Prto"], "--only is Glyphs_Prto, which is no cell of {suite} (did you mean Glyphs_Proto?)"),
    ],
)
def test_options_that_do_not_fit_are_refused(suite, refused, options, sentence):
    file = suite()
    assert refused("run_suite.py", file, *options).startswith(sentence.replace("{suite}", str(file)))


@pytest.mark.slow
def test_two_submissions_at_once_are_refused(suite):
    """Each would give the cells a job of its own."""
    cells = read_suite(suite())
    sentence = r"suites is in use: process \d+ on .* submits a suite"
    with _alone(cells[0].base), pytest.raises(UserError, match=sentence), _alone(cells[0].base):
        pass
    with _alone(cells[0].base):
        assert (cells[0].base / "suites" / ".submit.lock").exists()


def test_an_empty_name_is_no_cell(suite, refused):
    assert "--only is , which is no cell of" in refused("run_suite.py", suite(), "--only", "", "--devices", "cpu")


def test_only_runs_one_cell(suite, space):
    file = suite(TESTS=[{}])
    code, _, err = space.script("run_suite.py", file, "--only", "Glyphs_Proto", "--devices", "cpu", "--threads", "1")
    assert (code, err) == (0, "")
    assert [progress(cell).state for cell in read_suite(file)] == ["new", "new", "done"]


def test_a_job_that_left_the_queue_has_failed_unless_it_was_cancelled(suite):
    cell = read_suite(suite())[-1]
    record = Record(cell)
    record.note_job("12")
    states = [progress(cell, jobs).state for jobs in (None, {}, {cell.name: "queued"}, {cell.name: "running"})]
    assert states == ["new", "failed", "queued", "running"]
    assert progress(cell, {}).reason == "job 12 left SLURM's queue before the cell was done"
    record.job_log.parent.mkdir()
    record.job_log.write_text("DUE TO TIME LIMIT\n")
    assert progress(cell, {}).reason == "DUE TO TIME LIMIT"
    record.note_job("12", "cancelled")
    assert (record.job, progress(cell, {}).state) == ("12", "new")
    record.note_job("")
    assert (record.job, progress(cell, {}).state) == ("", "new")


def test_the_queue_is_read_by_number_and_name(suite, tmp_path, monkeypatch):
    """A number that SLURM has given to another job since is not ours."""
    two, _, proto = cells = read_suite(suite())
    for number, cell in enumerate(cells):
        Record(cell).note_job(str(number))
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(
        f"#!/bin/sh\necho '0|RUNNING|{two.name}'\necho '1|PENDING|another'\necho '2|PENDING|{proto.name}'\n"
    )
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    assert read_queue(cells) == {two.name: "running", proto.name: "queued"}
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact' >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"SLURM does not answer \(squeue says: slurm_load_jobs error: Unable to con"):
        read_queue(cells)


@pytest.fixture
def cluster(tmp_path_factory, monkeypatch):
    """A real SLURM with one node, for the commands of a test."""
    pytest.importorskip("submitit", reason="submitit is an optional extra")
    if not (TOOL / "start.sh").is_file():
        pytest.skip(f"{TOOL} has no start.sh; FIVEWAY_SLURM names the folder of the one-node SLURM")
    if shutil.which("apt-get") is None:
        pytest.skip("SLURM's packages are Debian's, and there is no apt-get")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([TOOL / "start.sh", folder], capture_output=True, text=True, check=False, timeout=120)
    if started.returncode:
        pytest.skip(f"SLURM did not start: {started.stderr.strip().splitlines()[-1:]}")
    try:
        for name, value in _environment(started.stdout).items():
            monkeypatch.setenv(name, value)
        with (folder / "slurm.conf").open("a") as conf:
            conf.write("KillWait=2\n")  # seconds from SIGTERM to SIGKILL; 30 would let a short training end
        _call("scontrol", "reconfigure")
        yield
        subprocess.run(["scancel", "--user", str(os.getuid())], check=False)
    finally:
        subprocess.run([TOOL / "stop.sh", folder], check=False)


def _environment(exports):
    """The variables that the lines of start.sh set."""
    shell = ["sh", "-c", f"{exports}\nenv -0"]
    variables = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.split("\0")
    values = dict(line.split("=", 1) for line in variables if "=" in line)
    return {name: values[name] for name in ("SLURM_CONF", "LD_LIBRARY_PATH", "PATH")}


@pytest.fixture
def twelve(suite, space):
    """A suite of four methods on one base training, three seeds each; `keys` replace others of its keys."""
    methods = [("ProtoNet", {}), ("ProtoNet", {"scale": 0.5}), ("MatchingNet", {}), ("MetaBaseline", {})]
    for number, (name, args) in enumerate(methods):
        space.config(TWO | {"METHOD": {"NAME": name, "ARGS": args}}, f"Method{number}.yaml")
    runs = [str(space.path / f"Method{number}.yaml") for number in range(len(methods))]
    keys = {"RUNS": runs, "SEEDS": [0, 1, 2], "OVERRIDES": ["STAGE.meta.EPOCHS=150"], "TESTS": [{}]}
    return lambda **more: suite(**keys | more)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_suite_whose_jobs_are_killed_ends_with_the_same_table(twelve, space, cluster):
    """Of twelve cells one is requeued, one preempted and the process of one killed, at random moments."""
    file = twelve()
    assert space.script("run_suite.py", file, "--devices", "cpu", "--jobs", "2")[0] == 0
    expected = table(file, "text")
    file = twelve(BASE=str(space.path / "slurm"))
    code, out, err = space.script("run_suite.py", file, *ON_SLURM)
    assert (code, err) == (0, "")
    cells = read_suite(file)
    jobs = {cell.name: Record(cell).job for cell in cells}
    waits = [line.split("  after ")[1] for line in out.splitlines() if "  after " in line]
    first_of_seed = [jobs["Glyphs_Method0" + seed] for seed in ("", "_s1", "_s2")]
    assert sorted(waits) == sorted(first_of_seed * 3)
    space.script("run_suite.py", file, *ON_SLURM)
    assert {cell.name: Record(cell).job for cell in cells} == jobs  # the same command submits nothing twice
    requeued, preempted, killed = random.sample(cells, 3)
    acts = {
        requeued.name: lambda: _call("scontrol", "requeue", jobs[requeued.name]),
        preempted.name: lambda: _call("scancel", "--signal=USR2", jobs[preempted.name]),
        killed.name: lambda: os.kill(Record(killed).read()["pid"], signal.SIGKILL),
    }
    _disturb(cells, acts)
    _wait_for(lambda: not _hasten(cells))
    assert {cell.name: progress(cell, {}).state for cell in cells} == {
        cell.name: "failed" if cell is killed else "done" for cell in cells
    }
    out = space.script("run_suite.py", file, *ON_SLURM)[1]
    assert [line.split()[1] for line in out.splitlines() if "  job " in line] == [killed.name]
    _wait_for(lambda: not read_queue(cells))
    assert "12 cells: 12 done" in space.script("run_suite.py", file, "--status")[1]
    assert table(file, "text") == expected
    logs = [Record(cell).log.read_text() for cell in (requeued, preempted, killed)]
    assert all("--resume" in log for log in logs)


def _disturb(cells, acts):
    """Do something to the job of each cell that `acts` names, at a random moment of its last stage."""
    moments = {name: random.randint(5, 80) for name in acts}

    def all_done():
        queue = _hasten(cells)
        for cell in [cell for cell in cells if cell.name in acts and queue.get(cell.name) == "running"]:
            if progress(cell).epochs > moments[cell.name] and Record(cell).read().get("pid"):
                acts.pop(cell.name)()
        return not acts

    _wait_for(all_done)


def _hasten(cells):
    """The queue, once jobs that were requeued, which SLURM lets rest for two minutes, are told to start now."""
    queue = read_queue(cells)
    for job in [Record(cell).job for cell in cells if queue.get(cell.name) == "queued"]:
        subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=False, capture_output=True)
    return queue


def _wait_for(condition, seconds=900):
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline, _call("squeue")
        time.sleep(0.2)


def _call(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
