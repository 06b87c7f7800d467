"""What a suite file means, and what is wrong with it."""

import pytest

from core.errors import UserError
from core.paths import ROOT
from core.registry import METHODS
from core.suites.suite import read_suite


def test_cells_are_runs_by_seeds(suite, space):
    cells = read_suite(suite(SEEDS=[0, 3], OVERRIDES=["EVAL.EPISODES=30"]))
    names = [f"Glyphs_{stem}{seed}" for stem in ("Two", "Scaled", "Proto") for seed in ("", "_s3")]
    assert [cell.name for cell in cells] == names
    assert cells[1].train_arguments("cpu", resume=True) == [
        *("--cfg", str(space.path / "Two.yaml"), "--device", "cpu", "-c", str(space.base), "-e", "0", "--resume"),
        *("EVAL.EPISODES=30", "SEED=3"),
    ]
    checkpoint = space.base / "Glyphs_Two_s3" / "ebest_3way_1shot.pth"
    assert cells[1].test_arguments(1, "cpu") == [
        *("--cfg", str(space.path / "Two.yaml"), "--device", "cpu", "-c", str(checkpoint)),
        *("EVAL.EPISODES=30", "SEED=3", "--shots", "2"),
    ]


def test_seeds_of_the_suite_go_before_that_of_a_yaml(suite, space):
    runs = [{"CFG": str(space.config(name="Proto.yaml", SEED=4)), "OVERRIDES": ["EVAL.EPISODES=30"]}]
    assert [cell.loaded.cfg.SEED for cell in read_suite(suite(RUNS=runs))] == [4]
    zero, four = read_suite(suite(RUNS=runs, SEEDS=[0, 4]))
    assert (zero.name, zero.overrides) == ("Glyphs_Proto", ("EVAL.EPISODES=30", "SEED=0"))
    assert (four.name, four.overrides) == ("Glyphs_Proto_s4", ("EVAL.EPISODES=30",))


def test_an_entry_may_have_its_own(suite, space):
    cfg = str(space.path / "Proto.yaml")
    runs = [cfg, {"CFG": cfg, "TAG": "wide", "SEEDS": [5], "OVERRIDES": ["BACKBONE.ARGS.width=16"]}]
    plain, wide = read_suite(suite(RUNS=runs, SEEDS=[0]))
    assert (plain.name, wide.name) == ("Glyphs_Proto", "Glyphs_Proto_s5_wide")
    assert wide.loaded.cfg.BACKBONE.ARGS.width == 16
    assert "--tag" in wide.train_arguments("cpu", resume=False)


def test_an_entry_may_have_its_own_tests(suite, space):
    cfg = str(space.path / "Proto.yaml")
    runs = [cfg, {"CFG": cfg, "TAG": "five", "TESTS": [{"OPTIONS": ["--shots", 5]}]}]
    plain, five = read_suite(suite(RUNS=runs, TESTS=[{}]))
    assert (plain.tests, five.tests) == (((),), (("--shots", "5"),))


def test_tables_have_their_names_from_the_suite(suite, space):
    cfg = str(space.path / "Proto.yaml")
    plain, wide = read_suite(suite(RUNS=[cfg, {"CFG": cfg, "TAG": "wide", "NAME": "twice as wide"}], AGAINST="Proto"))
    assert [(cell.row_name, cell.against) for cell in (plain, wide)] == [("", "Proto"), ("twice as wide", "Proto")]


def test_an_empty_tag_or_base_is_none(suite, space, monkeypatch):
    monkeypatch.chdir(space.path)
    (cell,) = read_suite(suite(RUNS=[{"CFG": "Proto.yaml", "TAG": None}], BASE=None))
    assert (cell.name, str(cell.base)) == ("Glyphs_Proto", "checkpoint")


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"RUNS": ["absent.yaml"]}, "RUNS names 'absent.yaml', which is not a file"),
        ({"RUNS": []}, "RUNS is missing"),
        ({"SEED": [1]}, "has the unknown key SEED (did you mean SEEDS?)"),
        ({"SEEDS": 3}, "SEEDS is 3, but it must be a list"),
        ({"SEEDS": []}, "SEEDS is an empty list; list something, or leave SEEDS out"),
        ({"TESTS": []}, "TESTS is an empty list"),
        ({"AGAINST": "Prot"}, "AGAINST is Prot, which is no row (did you mean Proto?)"),
        ({"TESTS": [{"OPTION": []}]}, "has the unknown key OPTION (did you mean OPTIONS?)"),
        ({"OVERRIDES": ["METHOD.NAM=x"]}, "suite.yaml: unknown key METHOD.NAM"),
        ({"TESTS": [{"OVERRIDES": ["EVAL.EPISODE=9"]}]}, "suite.yaml: unknown key EVAL.EPISODE"),
    ],
)
def test_what_is_wrong_is_a_sentence(suite, keys, sentence):
    with pytest.raises(UserError) as error:
        read_suite(suite(**keys))
    assert sentence in str(error.value)


def test_two_cells_with_one_folder_are_refused(suite, space):
    cfg = str(space.path / "Proto.yaml")
    with pytest.raises(UserError, match="two cells have the run folder Glyphs_Proto; give one of them a TAG"):
        read_suite(suite(RUNS=[cfg, {"CFG": cfg, "OVERRIDES": ["STAGE.meta.EPOCHS=1"]}]))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--shotz", 1], "TESTS has --shotz 1, which run_evaluator.py refuses: unrecognized arguments: --shotz"),
        (["--shots", "one"], "--shots lists 'one', which is not a whole number"),
        (["--protocol", "features"], "which run_evaluator.py refuses: they write features and measure nothing"),
    ],
)
def test_options_that_the_evaluator_lacks_are_refused_before_a_training(suite, space, refused, options, sentence):
    assert sentence in refused("run_suite.py", suite(TESTS=[{"OPTIONS": options}]), "--devices", "cpu")
    assert not list(space.path.glob("**/last.pth"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--only", "A", "--cancel"], "--only has no meaning with --cancel; leave one out."),
        (["--jobs", "2", "--status"], "--jobs has no meaning with --status; leave one out."),
        (["--only", "A", "--jobs", "2"], "--jobs has no meaning with --only; leave one out."),
        (["--only", "A", "--devices", "0", "1"], "--devices lists 2, but --only runs one cell; give one."),
    ],
)
def test_options_that_would_be_ignored_are_refused(suite, space, refused, options, sentence):
    assert sentence in refused("run_suite.py", suite(), *options)


def test_a_missing_file_is_a_sentence(space, refused):
    sentence = refused("run_suite.py", space.path / "absent.yaml", "--status")
    assert "absent.yaml cannot be read (No such file or directory)" in sentence


@pytest.mark.parametrize("file", sorted((ROOT / "configs" / "suites").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_suites_that_come_with_the_project_can_be_read(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    cells = read_suite(file)
    assert cells
    for cell in cells:
        for stage in cell.loaded.cfg.STAGES:
            node = cell.loaded.cfg.STAGE[stage]
            streams = {"episodes", "batches"} if node.STREAM == "both" else {node.STREAM}
            assert streams <= {*METHODS[node.METHOD].streams}, f"{cell.name}: what stage {stage} learns from"
