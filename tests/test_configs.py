"""Every shipped YAML loads, says what its name says, and runs a step."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from core.config.provenance import flatten
from core.data.views import parse_views
from core.episode import Batch, DataInfo, Features, Task
from core.make import load_config, make_method, schemas

ROOT = Path(__file__).parents[1] / "configs"
LEAVES = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("*/*.yaml") if p.parent.name != "_base_")
SIDE, LENGTH = 32, 64  # of images, and of stored features
NAME = re.compile(r"(?P<method>[A-Za-z0-9+]+)(_(?P<variant>\w+?))??(_N(?P<way>\d+)K(?P<shot>\d+)_(?P<backbone>\w+))?")
BACKBONES = {"C4": "Conv4", "F64": "FourLayer_64F", "R12": "ResNet12", "R12T": "ResNet12T", "R18": "ResNet18"}
BACKBONES |= {"C128": "Conv4", "Features": "Features"}
OBJECTIVES = {"none": "ce"} | {name: name for name in schemas().objectives}


@cache
def loaded(leaf: str):
    return load_config(ROOT / leaf)


def info(cfg, *, way: int = 0) -> DataInfo:
    task = cfg.TASK.TRAIN
    features = LENGTH if cfg.BACKBONE.NAME == "Features" else 0
    side = 0 if features else SIDE
    vectors = torch.eye(8)[:, :6] + 1
    return DataInfo(8, side, way or task.WAY, task.SHOT, task.QUERY, vectors, features)


def test_there_are_configs():
    assert len(LEAVES) >= 9


@pytest.mark.parametrize("leaf", LEAVES)
def test_the_name_agrees_with_the_content(leaf):
    cfg, name = loaded(leaf).cfg, NAME.fullmatch(Path(leaf).stem)
    assert Path(leaf).parent.name == cfg.DATASET.NAME
    method, _, variant = name["method"].partition("_")
    assert method == cfg.METHOD.NAME
    assert variant.lower() == cfg.METHOD.ARGS.get("variant", "") or not variant
    if name["way"]:
        assert (int(name["way"]), int(name["shot"])) == (cfg.TASK.TEST.WAY, cfg.TASK.TEST.SHOT)
        assert BACKBONES[name["backbone"]] == cfg.BACKBONE.NAME
    else:  # for a protocol with ways and shots of its own
        assert (cfg.DATASET.NAME, cfg.BACKBONE.NAME) == ("ImageNet-LowShot", "Features")
    variant = (name["variant"] or "").split("_")[0].lower()
    assert OBJECTIVES.get(variant, cfg.OBJECTIVE.NAME) == cfg.OBJECTIVE.NAME


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_is_short_and_sets_nothing_that_it_inherits(leaf, tmp_path):
    text = (ROOT / leaf).read_text()
    assert len(text.splitlines()) <= 10
    own = yaml.safe_load(text)
    bases = own.pop("_BASE_")
    paths = [str((ROOT / leaf).parent.joinpath(base).resolve()) for base in bases]
    lone = tmp_path / Path(leaf).name
    chosen = {key: own[key] for key in ("METHOD", "OBJECTIVE") if key in own}
    names = {key: {"NAME": node["NAME"]} for key, node in chosen.items()}
    lone.write_text(yaml.safe_dump({"_BASE_": paths, **names}))
    inherited = load_config(lone).values
    mine = flatten(own)
    dead = [key for key, value in mine.items() if not key.endswith(".NAME") and inherited[key] == value]
    assert dead == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_the_network_is_built(leaf):
    cfg = loaded(leaf).cfg
    for stage in cfg.STAGES:
        with torch.device("meta"):
            method = make_method(cfg, stage, info(cfg))
        assert sum(p.numel() for p in method.parameters()) > 0


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_reference_is_complete(leaf):
    reference = loaded(leaf).cfg.REFERENCE
    assert bool(reference.ACCURACY) == bool(reference.SOURCE) == bool(reference.STATUS)


def network(leaf: str) -> str:
    """What decides how a step runs: the stages' methods and the backbone, whatever the value of a real number."""
    cfg = loaded(leaf).cfg
    stages = [[node.METHOD, node.ARGS, node.OBJECTIVE, node.STREAM] for node in cfg.STAGE.values()]
    return json.dumps(without_floats([stages, cfg.BACKBONE]))


def without_floats(node):
    """A tree whose floats are all the same."""
    if isinstance(node, dict):
        return {key: without_floats(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_floats(value) for value in node]
    return 0.0 if isinstance(node, float) else node


def steps() -> list:
    """All leaves; those whose network an earlier leaf has already shown to run are slow ones."""
    seen: set[str] = set()
    cases = []
    for leaf in LEAVES:
        cases.append(pytest.param(leaf, marks=[pytest.mark.slow] if network(leaf) in seen else []))
        seen.add(network(leaf))
    return cases


def pixels(cfg, *leading: int) -> Features:
    """Random images, and two crops of each where the config asks for any; or features where it is for such."""
    views = parse_views(cfg.DATASET.VIEWS, cfg.DATASET.PATCH_RATIO)
    image = [LENGTH] if cfg.BACKBONE.NAME == "Features" else [3, SIDE, SIDE]
    found = {"image": torch.randn(*leading, *image)}
    return found | ({"crops": torch.randn(*leading, 2, *image)} if views else {})


@pytest.mark.parametrize("leaf", steps())
def test_one_step_runs(leaf):
    cfg = loaded(leaf).cfg
    shot, labels = cfg.TASK.TRAIN.SHOT, torch.arange(2)
    task = Task(
        support=pixels(cfg, 1, 2 * shot),
        support_y=labels.repeat_interleave(shot)[None],
        query=pixels(cfg, 1, 2),
        query_y=labels[None],
        way=2,
        shot=shot,
        class_ids=labels[None],
        seed=torch.zeros(1, dtype=torch.long),
        semantics=torch.eye(2, 6)[None] + 1,
    )
    batch = Batch(pixels(cfg, 4), torch.tensor([0, 3, 5, 7]), semantics=torch.eye(8)[:, :6] + 1)
    for stage in cfg.STAGES:
        method = make_method(cfg, stage, info(cfg, way=2))
        items = {"episodes": [task], "batches": [batch], "both": [task, batch]}[cfg.STAGE[stage].STREAM]
        loss = sum(method.loss(item.encoded(method.encode)).value for item in items)
        loss.backward()
        assert loss.isfinite()
        with torch.no_grad():
            method.eval()
            encoded = replace(task.encoded(method.encode), base=method.encode(pixels(cfg, 8)))
            assert method(encoded).shape == (1, 2, 2)
