"""The two commands end to end: what they print, what they leave behind, and that evaluation repeats exactly."""

import csv
import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
import yaml

from core.build.config import load_config
from tests.conftest import write_tiny_split
from tests.workspace import EXPERIMENTS, PROTONET, best, files, metrics, result, state

REFERENCE = {"ACCURACY": 55.5, "CI": 0.7, "SOURCE": "a table", "STATUS": "paper"}


@pytest.fixture
def checkpoint(trained, tmp_path):
    """A copy of the trained run's best checkpoint in a folder of its own."""
    copied = tmp_path / "run" / best(trained[1]).name
    copied.parent.mkdir()
    shutil.copy(best(trained[1]), copied)
    return copied


def test_training_leaves_a_complete_run_folder(space):
    cfg = space.config()
    code, out, err = space.trainer(cfg, "EVAL.PAGE=true")
    run = space.base / "Glyphs_Proto"
    assert (code, err) == (0, "")
    left = {file.name for file in run.iterdir()}
    assert left == {
        *("config.yaml", "diff.txt", "env.json", "train.log", "metrics.jsonl", "tb", "status.json"),
        *("last.pth", "ebest_3way_1shot.pth", "eval"),
    }
    evaluated = run / "eval" / "ebest_3way_1shot" / "test_3w1s_q5_seed0_40"
    tables = {"episodes.csv", "disjoint.csv", "per_class.csv", "confusion.csv"}
    assert {f.name for f in evaluated.iterdir()} == tables | {"result.json", "report.html"}
    assert state(run) == {"state": "done"}
    assert [record["epoch"] for record in metrics(run)] == [1, 2, 3]
    assert any((run / "tb").iterdir())
    assert "ProtoNet  Glyphs test  3-way 1-shot" in out
    assert "ProtoNet  Glyphs test  3-way 1-shot" in (run / "train.log").read_text()


def test_run_folder_says_what_was_run(trained):
    cfg, run = trained
    known = json.loads((run / "env.json").read_text())
    assert known.keys() >= {"command", "python", "torch", "numpy", "platform", "device", "cpus", "threads", "commit"}
    assert (known["torch"], known["threads"]) == (torch.__version__, 1)
    assert load_config(run / "config.yaml").cfg == load_config(cfg).cfg
    assert [line.split() for line in (run / "diff.txt").read_text().splitlines()[1:]].count(
        ["EVAL.EPISODES", "2000", "->", "40", "Proto.yaml"]
    )


def test_training_learns(trained, space):
    cfg, run = trained
    untrained = space.evaluator(cfg, "--untrained", "EVAL.EPISODES", "200")[1]
    trained_result = space.evaluator(cfg, "-c", best(run), "EVAL.EPISODES", "200")[1]
    assert accuracy(trained_result) > accuracy(untrained) > 33.4


def accuracy(out):
    return float(out.split("-shot  ")[1].split(" ")[0])


def test_result_has_every_field_and_agrees_with_the_episodes(checkpoint, trained, space):
    folder = space.evaluate(trained[0], checkpoint, device_name="0" if not torch.cuda.is_available() else "cpu")
    record = result(folder)
    expected = {"method": "ProtoNet", "dataset": "Glyphs", "split": "test", "way": 3, "shot": 1, "query": 5}
    expected |= {"episodes": 40, "seed": 0, "training_seed": 0, "transductive": False, "precision": "float32"}
    expected |= {"checkpoint": "ebest_3way_1shot.pth", "reference": None}
    assert expected.items() <= record.items()
    assert len(record["checkpoint_sha256"]) == 64
    assert record["device"].startswith("cpu")
    assert record["seconds"].keys() == {"encode", "classify", "total"}
    with (folder / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    percent = [100 * int(row["correct"]) / int(row["queries"]) for row in rows]
    mean = sum(percent) / len(percent)
    std = (sum((p - mean) ** 2 for p in percent) / 39) ** 0.5
    assert record["mean"] == pytest.approx(mean)
    assert record["std"] == pytest.approx(std)
    assert record["ci95"] == pytest.approx(2.0227 * std / 40**0.5, rel=1e-4)


def test_tables_count_the_same_queries(checkpoint, trained, space):
    folder = space.evaluate(trained[0], checkpoint)
    with (folder / "confusion.csv").open() as file:
        confusion = list(csv.reader(file))
    correct = sum(int(row[number]) for number, row in enumerate(confusion[1:], start=1))
    with (folder / "per_class.csv").open() as file:
        assert sum(int(row["correct"]) for row in csv.DictReader(file)) == correct
    assert result(folder)["mean"] == pytest.approx(100 * correct / (40 * 15))


def test_result_line(checkpoint, trained, space):
    cfg = space.config(REFERENCE=REFERENCE)
    record = result(space.evaluate(cfg, checkpoint))
    assert record["reference"] == {"accuracy": 55.5, "ci": 0.7, "source": "a table", "status": "paper"}
    line = (
        f"ProtoNet  Glyphs test  3-way 1-shot  {record['mean']:.2f} ± {record['ci95']:.2f} %  "
        "(40 episodes, 95 % t-interval, seed 0, inductive)  paper: 55.5 ± 0.7"
    )
    assert line in space.evaluator(cfg, "-c", checkpoint)[1].splitlines()


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        (["EVAL.EPISODES=30", "EVAL.SEED=1", "SEED=2"], True),
        (["TASK.TEST.SHOT=2"], False),
        (["STAGE.meta.OPTIM.LR=0.1"], False),
        (["REFERENCE.ACCURACY=60", "EVAL.EPISODES=30"], True),
        (["REFERENCE.ACCURACY=60", "TASK.TEST.SHOT=2"], False),  # training would have seen 2 shots too
    ],
)
def test_reference_belongs_to_what_the_file_measures(overrides, kept, checkpoint, space):
    cfg = space.config(REFERENCE=REFERENCE)
    assert ("paper: " in space.evaluator(cfg, "-c", checkpoint, *overrides)[1]) == kept


def test_reference_does_not_come_back_with_the_saved_config(space):
    run = space.train(space.config(REFERENCE=REFERENCE), "BACKBONE.ARGS.width=4")
    assert "paper" not in space.evaluator(run / "config.yaml", "-c", best(run))[1]


def test_evaluation_repeats_exactly_whatever_the_machine_does(checkpoint, trained, space):
    before = checkpoint.read_bytes()
    cfg = trained[0]

    def episodes(*overrides, **options):
        folder = space.evaluate(cfg, checkpoint, "EVAL.CACHE=false", *overrides, **options)
        content = (folder / "episodes.csv").read_bytes()
        shutil.rmtree(folder)
        return content

    first = episodes("EVAL.EPISODES=400")
    assert first == episodes("EVAL.EPISODES=400")
    assert first == episodes("EVAL.EPISODES=400", threads=2)
    for other in ("EVAL.BATCH=7", "EVAL.BATCH=64", "EVAL.MEMORY_MB=1", "SEED=5"):
        assert first == episodes("EVAL.EPISODES=400", other)
    assert first.startswith(episodes("EVAL.EPISODES=30"))
    assert first != episodes("EVAL.EPISODES=400", "EVAL.SEED=1")
    assert checkpoint.read_bytes() == before


def test_evaluations_of_different_things_are_kept_apart(checkpoint, trained, space):
    for override in ("EVAL.SEED=1", "TASK.TEST.WAY=4", "TASK.TEST.SHOT=2", "TASK.TEST.QUERY=4", "EVAL.EPISODES=30"):
        space.evaluate(trained[0], checkpoint, override)
    assert len(list((checkpoint.parent / "eval" / checkpoint.stem).iterdir())) == 5


def test_evaluation_on_another_data_set_is_named_by_it(checkpoint, trained, space, tiny_root):
    root = space.path / "data"
    shutil.copytree(tiny_root, root)
    write_tiny_split(root, "test", 4, 10, dataset="CIFAR-FS")
    folder = space.evaluate(trained[0], checkpoint, f"DATASET.ROOT={root}", "DATASET.TEST.NAME=CIFAR-FS")
    assert re.fullmatch("CIFAR-FS_test_3w1s_q5_seed0_40_data=[0-9a-f]{8}", folder.name)  # the images are told apart too
    assert (result(folder)["dataset"], result(folder)["trained_on"]) == ("CIFAR-FS", "Glyphs")


def test_reference_is_not_for_what_was_trained_on_other_images(checkpoint, space):
    root = space.path / "data"
    for number, split in enumerate(("train", "val", "test")):
        write_tiny_split(root, split, 8, 10, seed=number, dataset="CIFAR-FS")
    dataset = {"NAME": "CIFAR-FS", "ROOT": str(root), "SIZE": 16}
    folder = space.evaluate(space.config(DATASET=dataset, REFERENCE=REFERENCE), checkpoint)
    assert result(folder)["reference"] is None
    assert result(folder)["trained_on"] == "Glyphs"


def test_saved_config_alone_evaluates(trained, space):
    run = trained[1]
    code, out, _ = space.evaluator(run / "config.yaml", "-c", *run.glob("*.pth"))
    assert code == 0
    assert f"result files  {run / 'eval'}" in out
    code, _, err = space.evaluator(run / "config.yaml", "-c", run / "last.pth")
    assert (code, err) == (0, "")


def test_an_untrained_network_has_results_like_any_run(trained, space):
    cfg, run = trained
    before = files(cfg.parent)
    code, out, _ = space.evaluator(cfg, "--untrained")
    assert code == 0
    assert "untrained  ProtoNet  Glyphs test  3-way 1-shot  " in out
    assert files(cfg.parent) == before
    floor = space.base / "Glyphs_Proto_untrained"
    (folder,) = floor.glob("eval/untrained/*")
    assert result(folder)["training_seed"] == 0
    shutil.copytree(run, space.base / "trained")
    space.evaluate(cfg, space.base / "trained")
    code, out, err = space.script("run_compare.py", space.base / "trained", floor)
    assert (code, err) == (0, "")
    assert "Glyphs_Proto_untrained" in out


def test_untrained_networks_that_differ_have_folders_of_their_own(trained, space):
    for overrides in ([], ["EVAL.SEED=1"], ["BACKBONE.ARGS.width=4"], ["SEED=1"]):
        assert space.evaluator(trained[0], "--untrained", *overrides)[0] == 0
    runs = sorted(path.name.split("-")[0] for path in space.base.iterdir())
    assert runs == ["Glyphs_Proto_s1_untrained", "Glyphs_Proto_untrained", "Glyphs_Proto_untrained"]
    assert len(list((space.base / "Glyphs_Proto_untrained").glob("eval/untrained/*"))) == 2


def test_without_evaluation_no_results(space):
    code, out, _ = space.trainer(space.config(), "-e", "0")
    assert code == 0
    assert "t-interval" not in out
    assert not (space.base / "Glyphs_Proto" / "eval").exists()
    assert state(space.base / "Glyphs_Proto") == {"state": "done"}


def test_seed_and_tag_name_the_folder(space):
    cfg = space.config()
    for arguments in (["--seed", "3"], ["--tag", "wide", "BACKBONE.ARGS.width=12"], ["--seed", "3", "--tag", "x"]):
        assert space.trainer(cfg, "-e", "0", "STAGE.meta.EPOCHS=1", *arguments)[0] == 0
    assert {run.name for run in space.base.iterdir()} == {"Glyphs_Proto_s3", "Glyphs_Proto_wide", "Glyphs_Proto_s3_x"}
    seeds = {
        name: torch.load(best(space.base / name), weights_only=True)["method"]["backbone.layers.0.0.weight"]
        for name in ("Glyphs_Proto_s3", "Glyphs_Proto_s3_x")
    }
    assert torch.equal(*seeds.values())


def test_result_names_the_seed_that_trained_the_checkpoint(space):
    cfg = space.config()
    run = space.train(cfg, "SEED=3", "STAGE.meta.EPOCHS=1")
    assert result(space.evaluate(cfg, best(run)))["training_seed"] == 3


def test_data_set_names_ignore_case(space):
    cfg = space.config()
    run = space.train(cfg, "STAGE.meta.EPOCHS=1")
    out = space.evaluator(cfg, "-c", best(run), run / "last.pth", "DATASET.NAME", "glyphs")[1]
    assert "Glyphs test  3-way" in out


def test_print_config_trains_nothing(space):
    cfg = space.config()
    code, full, _ = space.trainer(cfg, "--print-config", "full", "EVAL.EPISODES=50")
    assert code == 0
    assert yaml.safe_load(full)["EVAL"]["EPISODES"] == 50
    assert yaml.safe_load(full)["METHOD"]["ARGS"] == {"metric": "squared", "scale": 1.0, "learn_scale": False}
    code, diff, _ = space.trainer(cfg, "--print-config", "diff", "EVAL.EPISODES=50")
    assert code == 0
    assert ["EVAL.EPISODES", "2000", "->", "50", "command", "line"] in [line.split() for line in diff.splitlines()]
    assert not space.base.exists()


@pytest.mark.parametrize("name", ["run_trainer.py", "run_evaluator.py"])
def test_help_has_examples(space, name):
    code, out, _ = space.script(name, "--help")
    assert code == 0
    assert f"python experiments/{name} --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml" in out
    assert all(option in out for option in ("--device", "-d", "--cfg", "--threads", "KEY VALUE"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_device_0_is_the_cpu_after_one_line(trained, space):
    cfg, run = trained
    code, out, err = space.script("run_evaluator.py", "--cfg", cfg, "-c", best(run), "--device", "0")
    assert (code, err) == (0, "")
    assert out.count("no GPU is visible to PyTorch, so --device 0 runs on the CPU\n") == 1
    assert "no GPU" not in space.script("run_evaluator.py", "--cfg", cfg, "-c", best(run), "--device", "cpu")[1]


def test_plugin_trains_and_evaluates(space, tmp_path):
    (tmp_path / "nearest_plugin.py").write_text(PLUGIN)
    cfg = space.config(
        PROTONET | {"METHOD": {"NAME": "nearestshot", "ARGS": {"power": 0.5}}}, PLUGINS=["nearest_plugin"]
    )
    command = [sys.executable, str(EXPERIMENTS / "run_trainer.py"), "--cfg", str(cfg), "-c", str(space.base)]
    ran = subprocess.run(
        [*command, "-d", "cpu", "--threads", "1"],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "NearestShot  Glyphs test  3-way 1-shot" in ran.stdout


PLUGIN = """\
from core.methods.base import Method
from core.ops.distances import squared_euclidean
from core.registry import METHODS


@METHODS.register("NearestShot")
class NearestShot(Method):
    def __init__(self, backbone, info, *, power: float = 1.0):
        super().__init__(backbone, info)
        self.power = power

    def forward(self, task):
        far = squared_euclidean(task.query["vector"], task.support["vector"])
        return -far.unflatten(2, (task.way, task.shot)).amin(3).add(1e-6) ** self.power
"""


def test_a_run_that_ends_at_chance_says_so(space, monkeypatch):
    space.train(space.config(), evaluate_after=True)
    assert "no better than guessing" not in space.printed()
    monkeypatch.setattr("core.commands.at_chance", lambda result: result["mean"] <= 100)
    run = space.train(space.config(), evaluate_after=True, overwrite=True)
    assert "These answers are no better than guessing" in space.printed()
    assert "no better than guessing" in (run / "train.log").read_text()
