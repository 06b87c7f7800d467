"""Evaluations read back: which of a run, which are seeds of one recipe, and what may not be compared."""

import csv
import io
import json

import numpy as np
import pytest

from core.build.config import schemas
from core.report.evaluations import of_run
from core.report.run import kept_hash

CONFIG = "SEED: 0\nMETHOD: {NAME: A}\nEVAL: {EPISODES: 50}\n"


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


def test_unfinished_runs_and_other_folders_are_skipped_with_a_line_each(run, space):
    unfinished, margins = space.path / "A_unfinished", space.path / "A_margins"
    for folder in (unfinished, margins):
        folder.mkdir()
    (unfinished / "config.yaml").write_text(CONFIG)
    (unfinished / "status.json").write_text('{"state": "running"}')
    code, out, err = space.script("run_compare.py", run("A"), margins, unfinished, run("B"), "--format", "csv")
    assert code == 0
    assert [row["run"] for row in csv.DictReader(io.StringIO(out))] == ["B"]
    assert err.splitlines() == [
        f"skipped  {margins}: is no run folder",
        f"skipped  {unfinished}: holds no evaluation (training: unfinished)",
    ]


def test_several_data_sets_are_a_table_each(run, space):
    runs = [run("A"), run("C", dataset="Second"), run("B"), run("D", dataset="Second"), run("E", dataset="Third")]
    code, out, err = space.script("run_compare.py", *runs)
    assert (code, err) == (0, f"skipped  {runs[-1]}: no other RUN was evaluated on its episodes\n")
    first, against_a, second, against_c = out.split("\n\n")
    assert "Made test" in first
    assert "Second test" in second
    assert "against the first, A" in against_a
    assert "against the first, C" in against_c
    assert "by Holm for 2." in against_a
    rows = csv.DictReader(io.StringIO(space.script("run_compare.py", *runs, "--format", "csv")[1]))
    assert [(row["run"], row["against"]) for row in rows] == [("B", "A"), ("D", "C")]


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
    assert "nowhere: no such folder" in refused(good, tmp_path / "nowhere")
    empty = tmp_path / "_margins"
    empty.mkdir()
    assert "_margins: is no run folder" in refused(empty)
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


def recipe(run, name, config):
    return of_run(run(name, config=config))[0].recipe


@pytest.mark.parametrize(
    ("config", "same"),
    [
        ("SEED: 3\nMETHOD: {NAME: A}\n", True),
        (CONFIG + "PLUGINS: [mine]\n", True),
        ("METHOD: {NAME: A}\nEVAL: {TRIALS: 9, PRIOR: 0.5, CACHE_MB: 9}\n", True),
        ("METHOD: {NAME: A}\nBACKBONE: {NAME: ResNet12}\n", False),
        ("METHOD: {NAME: A}\nEVAL: {SEED: 1}\n", False),
        ("METHOD: {NAME: A}\nEVAL: {ENSEMBLE: 3}\n", False),
        ("METHOD: {NAME: A}\nEVAL: {BASE_IMAGES: 5}\n", False),
    ],
)
def test_runs_that_differ_in_what_trains_nothing_are_of_one_recipe(config, same, run):
    assert (recipe(run, "A_other", config) == recipe(run, "A", CONFIG)) == same


def test_heads_on_an_encoder_that_no_stage_trains_are_recipes_of_their_own(run):
    config = "SEED: 0\nSTAGES: []\nMETHOD: {NAME: ProtoNet, ARGS: {scale: %s}}\n"
    first, second, twin = (recipe(run, f"A{n}", config % scale) for n, scale in enumerate((1.0, 2.0, 1.0)))
    assert first == twin != second


def test_evaluations_of_former_weights_are_skipped_with_a_line(run, space):
    good, stale = run("A"), run("B")
    run("B", shot=5)
    (file,) = stale.glob("eval/*/test_1s*/result.json")
    checkpoint = stale / "ebest_2way_1shot.pth"
    content = json.loads(file.read_text()) | {"checkpoint": checkpoint.name, "checkpoint_sha256": "0" * 64}
    file.write_text(json.dumps(content))
    assert len(of_run(stale)) == 2  # a collected run holds no checkpoint
    checkpoint.write_bytes(b"new weights")
    assert [e.result["shot"] for e in of_run(stale)] == [5]
    run("A", shot=5)
    code, _, err = space.script("run_compare.py", good, stale)
    assert code == 0
    assert err == f"skipped  {file.parent}: is of former weights of its checkpoint; evaluate that run again\n"


def test_an_evaluation_folder_that_was_moved_is_a_run_of_its_own(run, tmp_path):
    (folder,) = run("A").glob("eval/*/test_1s_0_50")
    moved = folder.rename(tmp_path / "moved")
    (evaluation,) = of_run(moved)
    assert (evaluation.run, evaluation.recipe) == (moved, None)


def test_runs_saved_under_former_names_are_seeds_of_one_recipe(run):
    schemas()  # registers MetaBaseline, whose `scale` was once called `tau`
    before = run("M_before", config="SEED: 0\nMETHOD: {NAME: MetaBaseline, ARGS: {tau: 8.0}}\n")
    after = run("M_after", config="SEED: 1\nMETHOD: {NAME: MetaBaseline, ARGS: {scale: 8.0}}\n", training_seed=1)
    recipes = [of_run(folder)[0].recipe for folder in (before, after)]
    assert recipes[0] is not None
    assert recipes[0] == recipes[1]
    assert recipe(run, "M_other", "METHOD: {NAME: MetaBaseline, ARGS: {scale: 9.0}}\n") != recipes[0]


def test_arguments_changed_at_test_are_part_of_a_recipe(run):
    changed = of_run(run("A_changed", config=CONFIG, at_test={"k": 3}))[0].recipe
    assert changed != recipe(run, "A", CONFIG)
    now, before = {"EVAL.ENSEMBLE": 3}, "METHOD: {NAME: A}\nEVAL: {ENSEMBLE: 3}\n"
    assert of_run(run("A_now", config=CONFIG, at_test=now))[0].recipe == recipe(run, "A_before", before)


@pytest.mark.parametrize("config", [None, "[", "- a", "TASK: 5", "STAGES: 5", "STAGE:"])
def test_a_run_without_a_readable_config_has_no_recipe(config, run):
    assert recipe(run, "A", config) is None


def test_an_ensemble_is_stale_once_the_run_keeps_other_networks(run):
    folder = run("A", config=CONFIG)
    kept = folder / "epochs" / "epoch000002.pth"
    kept.parent.mkdir()
    kept.write_bytes(b"weights")
    run("A", config=CONFIG, networks=2, kept_sha256=kept_hash(folder))
    (evaluation,) = of_run(folder)
    assert not evaluation.is_stale
    kept.write_bytes(b"other weights")
    assert evaluation.is_stale
    kept.unlink()  # collected results have no networks
    assert not evaluation.is_stale


@pytest.mark.parametrize("trained", [False, True])
def test_episodes_of_training_are_part_of_the_recipe_of_trained_networks_alone(run, trained):
    trees = [
        f"SEED: {seed}\nMETHOD: {{NAME: A}}\nTASK: {{TRAIN: {{SHOT: {shot}}}}}\n" for seed, shot in ((0, 1), (1, 5))
    ]
    more = {"checkpoint_sha256": "0" * 64} if trained else {}
    recipes = {of_run(run(f"A{i}", config=tree, **more))[0].recipe for i, tree in enumerate(trees)}
    assert len(recipes) == (2 if trained else 1)
