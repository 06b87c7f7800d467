"""Whatever is measured with another setting than in training is in the folder, in at_test and on the line."""

import json
from dataclasses import replace

import pytest
import torch
import yaml

from core.build.config import load_config
from core.build.data import Data
from core.build.evaluation import restore
from core.build.identity import describe
from core.config.roles import with_role
from core.engine.at_test import IN_THE_NAME, OF_THE_NETWORK, changed_keys
from core.errors import UserError
from core.protocols.base import Protocol
from core.report.result import answered_by, folder_name
from tests.conftest import TINY, write_tiny_split
from tests.workspace import PROTONET, best

GRID = PROTONET | {
    "DATASET": {"VIEWS": ["grid-2"]},
    "METHOD": {"NAME": "DeepEMD", "ARGS": {"variant": "grid"}},
    "BACKBONE": {"NAME": "Conv4", "ARGS": {"width": 8, "pools": 2}, "VECTOR": "mean"},
}


def of_run(root, cfg, *overrides):
    return Data(load_config(cfg, [f"DATASET.ROOT={root}", *overrides]).cfg, torch.device("cpu"))


def other(value):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return [*value, "another"] if isinstance(value, list) else f"{value}another"


def test_every_key_that_measures_is_compared_said_or_refused(trained, tiny_root):
    said = describe(of_run(tiny_root, trained[0]))
    names, lines, compared = set(), set(), set()
    for key, value in said["measures"].items():
        if key.startswith(OF_THE_NETWORK + IN_THE_NAME):
            continue
        at_test = changed_keys(said | {"measures": said["measures"] | {key: other(value)}}, said)
        result = {"method": "ProtoNet", "dataset": "Glyphs", "at_test": at_test}
        assert at_test == {key: other(value)}
        names.add(folder_name("", result, "shape"))
        lines.add(answered_by(result))
        compared.add(key)
    assert {"DATASET.SIZE", "DATASET.VIEWS", "DATASET.PATCH_RATIO", "EVAL.PRIOR", "DATASET.TRAIN.NAME"} <= compared
    assert len(names) == len(lines) == len(compared)
    assert "shape" not in names
    assert with_role(of_run(tiny_root, trained[0]).cfg, "measures").keys() == said["measures"].keys()


IN_NAMES = {
    "TASK.TEST.WAY": "TASK.TEST.WAY=2",
    "TASK.TEST.SHOT": "TASK.TEST.SHOT=2",
    "TASK.TEST.QUERY": "TASK.TEST.QUERY=4",
    "TASK.TEST.SHOTS": "TASK.TEST.SHOTS=[1,2,1]",
    "TASK.TEST.QUERIES": "TASK.TEST.QUERIES=7",
    "TASK.TEST.QUERY_ALPHA": "TASK.TEST.QUERY_ALPHA=2",
    "DATASET.TEST.NAME": "DATASET.TEST.NAME=CUB",
    "EVAL.ALLWAY_QUERIES": "EVAL.ALLWAY_QUERIES=4",
}


def test_keys_left_out_are_in_the_name_of_the_folder(space, trained, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    checkpoint = run / best(trained[1]).name
    checkpoint.write_bytes(best(trained[1]).read_bytes())
    said = torch.load(checkpoint, weights_only=True)["meta"]["measures"]
    assert {key for key in said if key.startswith(IN_THE_NAME)} == IN_NAMES.keys()
    for split, (classes, count) in TINY.items():
        write_tiny_split(tmp_path / "data", split, classes, count)
        write_tiny_split(tmp_path / "data", split, classes, count, dataset="CUB")
    space.root = tmp_path / "data"
    cfg = space.config(name="Copy.yaml")
    folders = set()
    for override in ("SEED=0", *IN_NAMES.values()):
        protocol = ("--protocol", "allway", "--shots", 1) if "ALLWAY" in override else ()
        keys = ("EVAL.EPISODES=4", "EVAL.TRIALS=2", "EVAL.CACHE=false", override)
        code, _, err = space.evaluator(cfg, "-c", checkpoint, *protocol, *keys)
        assert (code, err) == (0, "")
        folders.add(frozenset(path.name for path in run.glob("eval/*/*")))
    assert len(folders) == 1 + len(IN_NAMES)


def test_another_network_is_refused(trained, tiny_root):
    for key in ("BACKBONE.VECTOR=max", "BACKBONE.NAME=ResNet12", "METHOD.NAME=MatchingNet", "METHOD.ARGS.scale=0.1"):
        with pytest.raises(UserError, match="was trained with"):
            restore(of_run(tiny_root, trained[0], key), best(trained[1]))


def test_other_views_have_results_of_their_own(space):
    cfg = space.config(GRID | {"DATASET": {"ROOT": str(space.root), "SIZE": 16, "VIEWS": ["sample-2"]}})
    checkpoint = best(space.train(cfg, "STAGE.meta.EPOCHS=1"))
    for views in ("[sample-2]", "[sample-3]"):
        code, out, err = space.evaluator(cfg, "-c", checkpoint, f"DATASET.VIEWS={views}", "EVAL.EPISODES=4")
        assert (code, err) == (0, "")
    assert "DeepEMD, VIEWS sample-3 at test  Glyphs" in out
    plain, more = sorted(checkpoint.parent.glob("eval/*/*"), key=lambda path: len(path.name))
    assert more.name == f"{plain.name}_VIEWS=sample-3"
    assert json.loads((plain / "result.json").read_text())["at_test"] == {}
    assert json.loads((more / "result.json").read_text())["at_test"] == {"DATASET.VIEWS": ["sample-3"]}


def test_another_head_hides_arguments_but_no_keys(trained, tiny_root):
    data, at_test = of_run(tiny_root, trained[0]), {"sfc_lr": 1.0, "DATASET.VIEWS": ["sample-9"]}
    network = replace(restore(data, best(trained[1])), at_test=at_test)
    assert Protocol(data, network).origin()["at_test"] == at_test
    assert Protocol(data, network).origin("DeepEMD")["at_test"] == {"DATASET.VIEWS": ["sample-9"]}


def test_an_old_checkpoint_is_compared_with_the_config_beside_it(trained, tiny_root, tmp_path):
    content = torch.load(best(trained[1]), weights_only=True)
    del content["meta"]["measures"], content["meta"]["stores"]
    old = tmp_path / "ebest_3way_1shot.pth"
    torch.save(content, old)
    data = of_run(tiny_root, trained[0], "EVAL.PRIOR=0.5")
    assert restore(data, old).at_test == {}
    (tmp_path / "config.yaml").write_text((trained[1] / "config.yaml").read_text())
    assert restore(data, old).at_test == {"EVAL.PRIOR": 0.5}
    assert restore(of_run(tiny_root, trained[0]), old).at_test == {}
    saved = yaml.safe_load((trained[1] / "config.yaml").read_text())
    del saved["DATASET"]["PATCH_RATIO"]  # a key that came later has its default
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(saved))
    assert restore(of_run(tiny_root, trained[0]), old).at_test == {}


def test_two_stores_of_one_name_share_no_folder(space, trained, tmp_path):
    checkpoint = tmp_path / "run" / best(trained[1]).name
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(best(trained[1]).read_bytes())
    for root, seed in (("one", 5), ("two", 6)):
        for split, (classes, count) in TINY.items():
            write_tiny_split(tmp_path / root, split, classes, count, seed=seed)
    for root in (space.root, tmp_path / "one", tmp_path / "two"):
        keys = (f"DATASET.ROOT={root}", "EVAL.EPISODES=4", "EVAL.CACHE=false")
        code, _, err = space.evaluator(trained[0], "-c", checkpoint, *keys)
        assert (code, err) == (0, "")
    plain, *others = sorted(path.name for path in checkpoint.parent.glob("eval/*/*"))
    assert "_data=" not in plain
    assert len(others) == 2
    assert all(name.startswith(f"{plain}_data=") for name in others)


PAIRS = [("words/a.txt", "words-a.txt"), ("a" * 300, "b" + "a" * 299), ("", "-"), ([1], [1, 2])]


@pytest.mark.parametrize("pair", PAIRS)
def test_values_in_names_are_short_and_safe(pair):
    result = {"dataset": "Glyphs", "method": "A"}
    names = [folder_name("", result | {"at_test": {"DATASET.SEMANTICS": value}}, "s") for value in pair]
    assert names[0] != names[1]
    assert all(len(name) < 80 and "/" not in name for name in names)
