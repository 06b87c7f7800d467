"""run_compare.py on folders written by hand: what it finds, and what it refuses."""

import csv
import io
import json

import numpy as np
import pytest

from core.report.stats import t_interval

CONFIG = "SEED: 0\nMETHOD: {NAME: A}\nEVAL: {EPISODES: 50}\n"


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
    record = json.loads(next(runs[1].glob("eval/*/*/result.json")).read_text())
    assert (float(rows[0]["accuracy"]), float(rows[0]["ci95"])) == pytest.approx((record["mean"], record["ci95"]))


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
    rows = list(
        csv.DictReader(io.StringIO(space.script("run_compare.py", other, *reversed(seeds), "--format", "csv")[1]))
    )
    assert [(row["run"], row["seeds"], row["against_seeds"]) for row in rows] == [("A_s0", "3", "1")]
    means = [json.loads(next(s.glob("eval/*/*/result.json")).read_text())["mean"] for s in seeds]
    assert float(rows[0]["accuracy"]) == pytest.approx(np.mean(means))
    assert float(rows[0]["seeds_ci95"]) == pytest.approx(t_interval(np.array(means)).ci95)
    each = space.script("run_compare.py", other, *seeds, "--format", "csv", "--each")[1]
    assert len(each.splitlines()) == 4
    alone = space.script("run_compare.py", *seeds)[1]
    assert "over the training seeds" in alone
    assert "p (t)" not in alone


def test_a_wide_table_has_a_row_for_each_setting(run, space):
    for name, gain in (("A", 0.0), ("B", 0.8)):
        for shot in (1, 2, 5, 10):
            run(name, gain, shot=shot)
    out = space.script("run_compare.py", space.path / "A", space.path / "B")[1]
    header, *rows = out.splitlines()
    assert header.split() == ["setting", "run", "method", "seeds", "accuracy"]
    assert [row.split()[8:11] for row in rows[:2]] == [["A", "A", "1"], ["B", "B", "1"]]
    assert max(map(len, rows[:8])) < 120


def test_p_beside_few_seeds_is_explained(run, space):
    seeds = [run(f"A_s{s}", 0.3 + s / 2, CONFIG.replace("0", str(s), 1), training_seed=s) for s in range(2)]
    other = run("B", 0.8, CONFIG.replace("A", "B"))
    assert "another training" in space.script("run_compare.py", other, *seeds)[1]
    assert "another training" not in space.script("run_compare.py", other, seeds[0])[1]


EXTERNAL = {"encoder": "torchvision:resnet18", "weights": "ResNet18_Weights.V1", "data": "ImageNet-1k", "sha256": "0"}


def test_encoders_are_compared_with_other_networks_only_where_that_is_asked_for(run, space):
    runs = [run("A", 0.8, external_data=EXTERNAL), run("B", 0.2), run("C")]
    code, _, err = space.script("run_compare.py", *runs)
    assert code == 2
    assert err.endswith("says little about their methods; give --external to compare them.\n")
    assert "A started from ResNet18_Weights.V1, learned from external data" in err
    code, out, _ = space.script("run_compare.py", *runs, "--external", "--format", "markdown")
    assert code == 0
    table = [row for row in out.splitlines() if row.startswith("| ")][2:5]
    assert [row.split(" | ")[1] for row in table] == ["B", "C", "A‡"]
    assert ["**" in row for row in table] == [True, False, False]  # the best of its part; one alone is not marked
    assert "‡ external data: the network started from ResNet18_Weights.V1." in out


def test_encoders_among_themselves_need_no_permission(run, space):
    runs = [run(name, gain, external_data=EXTERNAL) for name, gain in (("A", 0.0), ("B", 0.5))]
    assert space.script("run_compare.py", *runs, "--format", "latex")[0] == 0


def test_settings_that_differ_in_queries_alone_are_both_shown(run, space):
    for name, gain in (("A", 0.0), ("B", 0.8)):
        for query in (5, 7):
            folder = next(run(name, gain, query=query).glob("eval/*/test_1s_0_50"))
            folder.rename(folder.with_name(f"query {query}"))
    rows = list(
        csv.DictReader(
            io.StringIO(space.script("run_compare.py", space.path / "A", space.path / "B", "--format", "csv")[1])
        )
    )
    assert sorted(row["setting"].rpartition(", ")[2] for row in rows) == ["query 5", "query 7"]


def test_settings_in_which_other_runs_are_seeds_of_one_recipe_are_tables_of_their_own(run, space):
    for seed in (0, 1):
        for shot, scale in ((1, 5), (5, 7 + seed)):
            config, name = CONFIG.replace("0", str(seed), 1), f"A_s{seed}"
            run(name, 0.3, config, training_seed=seed, shot=shot, at_test={"scale": scale})
    out = space.script("run_compare.py", space.path / "A_s0", space.path / "A_s1")[1]
    one, two = out.split("\n\n")[:2]
    assert "1-shot" in one
    assert [line.split()[:5] for line in one.splitlines()[1:-1]] == [["A_s0,", "scale", "5", "A", "2"]]
    assert "5-shot" in two
    assert [line.split()[2] for line in two.splitlines()[1:-1]] == ["7", "8"]
