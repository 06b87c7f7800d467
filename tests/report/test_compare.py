"""run_compare.py on folders written by hand: what it finds, and what it refuses."""

import csv
import io
import json

import numpy as np
import pytest

from core.files import write_files
from core.report.result import result_files
from core.report.stats import t_interval
from core.report.tally import Evaluation
from tests.workspace import Workspace

SETTING = {
    "dataset": "Made",
    "split": "test",
    "fingerprint": "f" * 64,
    "way": 2,
    "shot": 1,
    "query": 5,
    "queries": 10,
    "seed": 0,
}
CONFIG = "SEED: 0\nMETHOD: {NAME: A}\nEVAL: {EPISODES: 50}\n"


@pytest.fixture
def space(tmp_path, monkeypatch, capsys):
    return Workspace(tmp_path, tmp_path, monkeypatch, capsys)


@pytest.fixture
def run(tmp_path):
    """Write a run folder with one evaluation; returns the run folder."""

    def run(name, gain=0.0, config=None, checkpoint="ebest_2way_1shot", classes=None, **changes):
        episodes = changes.get("episodes", 50)
        hard = np.random.default_rng(1).integers(2, 8, episodes)
        noise = np.random.default_rng(sum(map(ord, name))).random(episodes) < 0.5 * abs(gain)
        correct = hard + np.sign(gain).astype(int) * noise
        classes = np.tile([0, 1], (episodes, 1)) if classes is None else classes
        accuracy = t_interval(correct * 10.0)
        result = SETTING | {"method": name[0], "transductive": name == "T", "training_seed": 0, "episodes": episodes}
        result |= {"mean": accuracy.mean, "ci95": accuracy.ci95, "precision": "float32"} | changes
        folder = tmp_path / name / "eval" / checkpoint / f"test_{result['shot']}s_{result['seed']}_{episodes}"
        evaluation = Evaluation(correct, correct, classes, result["queries"], np.eye(2, dtype=int), 0.0, {})
        write_files(folder, result_files(result, evaluation, ["x", "y"]))
        if config:
            (tmp_path / name / "config.yaml").write_text(config)
        return tmp_path / name

    return run


def test_text_tells_the_difference_and_what_it_means(run, space):
    code, out, err = space.script("run_compare.py", run("A"), run("B", 0.8))
    assert (code, err) == (0, "")
    assert "Made test 2-way 1-shot, 50 episodes, seed 0" in out
    assert "each run against the first, A" in out
    row = out.splitlines()[-2]
    assert row.split()[1].startswith("+")
    assert row.endswith("/0")
    assert "<0.0001" in row


def test_csv_equals_the_episodes(run, space):
    runs = [run("A"), run("B", 0.8), run("C", -0.5)]
    out = space.script("run_compare.py", *runs, "--format", "csv", "--all-pairs")[1]
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["run"], row["against"]) for row in rows] == [("B", "A"), ("C", "A"), ("C", "B")]
    for row in rows:
        assert float(row["difference"]) == pytest.approx(float(row["accuracy"]) - float(row["against_accuracy"]))
        assert int(row["win"]) + int(row["tie"]) + int(row["loss"]) == 50
        assert float(row["holm_t"]) >= float(row["p_t"])
    held = json.loads(next(runs[1].glob("eval/*/*/result.json")).read_text())
    assert (float(rows[0]["accuracy"]), float(rows[0]["ci95"])) == pytest.approx((held["mean"], held["ci95"]))


def test_latex_marks_best_second_and_transductive(run, space, tmp_path):
    target = tmp_path / "tables" / "a.tex"
    arguments = [run("A"), run("B_x", 0.8), run("T", 0.4), "--format", "latex", "--out", target]
    assert space.script("run_compare.py", *arguments) == (0, "", "")
    text = target.read_text()
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert r"B\_x & B & 1 & \textbf{" in text
    assert r"T & T$^\dagger$ & 1 & \underline{" in text
    assert "transductive" in text


def test_training_seeds_share_a_row(run, space):
    seeds = [run(f"A_s{s}", 0.3 + s / 10, CONFIG.replace("0", str(s), 1), training_seed=s) for s in range(3)]
    other = run("B", 0.8, CONFIG.replace("A", "B"))
    rows = list(csv.DictReader(io.StringIO(space.script("run_compare.py", other, *seeds, "--format", "csv")[1])))
    assert [(row["run"], row["seeds"], row["against_seeds"]) for row in rows] == [("A_s0", "3", "1")]
    means = [json.loads(next(s.glob("eval/*/*/result.json")).read_text())["mean"] for s in seeds]
    assert float(rows[0]["accuracy"]) == pytest.approx(np.mean(means))
    assert float(rows[0]["seeds_ci95"]) == pytest.approx(t_interval(np.array(means)).ci95)
    each = space.script("run_compare.py", other, *seeds, "--format", "csv", "--each")[1]
    assert len(each.splitlines()) == 4
    alone = space.script("run_compare.py", *seeds)[1]
    assert "over the training seeds" in alone
    assert "p (t)" not in alone


def test_every_common_evaluation_is_compared(run, space):
    for name in "AB":
        for shot in (1, 5):
            run(name, shot=shot)
    run("B", seed=3)
    out = space.script("run_compare.py", *(space.path / name for name in "AB"), "--format", "csv")[1]
    settings = [row["setting"] for row in csv.DictReader(io.StringIO(out))]
    assert settings == [f"Made test 2-way {shot}-shot, 50 episodes, seed 0" for shot in (1, 5)]


def test_an_evaluation_folder_is_a_run(run, space):
    run("A", seed=3)
    folder = next(run("A").glob("eval/*/test_1s_0_50"))
    code, out, _ = space.script("run_compare.py", folder, run("B"))
    assert (code, "seed 0" in out) == (0, True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"way": 3}, "way 3 against 2"),
        ({"shot": 5}, "shot 5 against 1"),
        ({"query": 6}, "query 6 against 5"),
        ({"seed": 1}, "seed 1 against 0"),
        ({"episodes": 40}, "episodes 40 against 50"),
        ({"fingerprint": "0" * 64}, "fingerprint 0000000000000000 against ffffffffffffffff"),
        ({"classes": np.tile([1, 0], (50, 1))}, "other classes"),
    ],
)
def test_other_episodes_are_refused_with_the_reason(changes, says, run, space):
    code, out, err = space.script("run_compare.py", run("A"), run("B", **changes))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert says in err


def test_bad_folders_are_one_sentence(run, space, tmp_path):
    def refused(*arguments):
        code, out, err = space.script("run_compare.py", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    good = run("A")
    assert "holds no evaluation" in refused(good, tmp_path / "nowhere")
    assert "given twice" in refused(good, good)
    old = run("B")
    file = next(old.glob("eval/*/*/result.json"))
    content = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in content.items() if key != "fingerprint"}))
    assert "lacks fingerprint" in refused(good, old)
    file.write_text("{")
    assert "not a readable result" in refused(good, old)
    cut = run("C")
    episodes = next(cut.glob("eval/*/*/episodes.csv"))
    episodes.write_text("\n".join(episodes.read_text().splitlines()[:20]))
    assert "lists 19 of 50 episodes" in refused(good, cut)
    run("D")
    assert "several evaluations" in refused(good, run("D", checkpoint="ebest_other"))
    twin = [run(name, config=CONFIG) for name in ("E", "E_x")]
    assert "same training seed" in refused(*twin)
