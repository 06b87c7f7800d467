"""Every YAML says what its name says, is short, and sets nothing that it inherits."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from core.build.config import load_config, schemas
from core.config.provenance import flatten
from core.data.datasets import is_feature_file
from tests.configs.leaves import DATASETS, ROOT, leaves, loaded

NAME = re.compile(r"(?P<method>[A-Za-z0-9+-]+)(_(?P<variant>\w+?))??(_N(?P<way>\d+)K(?P<shot>\d+)_(?P<backbone>\w+))?")
BACKBONES = {"C4": "Conv4", "F64": "FourLayer_64F", "R12": "ResNet12", "R12T": "ResNet12T", "R18": "ResNet18"}
BACKBONES |= {
    "C128": "Conv4",
    "R10": "ResNet10",
    "F64x4": "FourLayer_64F_4x",
    "Features": "Features",
    "W4": "WideConv4",
    "R12Tap": "ResNet12Tap",
}
BACKBONES |= {"MobileNetV2": "torchvision:mobilenet_v2", "DINOv2S": "timm:vit_small_patch14_dinov2.lvd142m"}
OBJECTIVES = {"none": "ce"} | {name: name for name in schemas().objectives}
CLASSES = ("METHOD", "OBJECTIVE")  # keys whose ARGS depend on their NAME
LINES = 10  # at most

each_dataset = pytest.mark.parametrize("dataset", DATASETS)


def test_there_are_configs():
    assert len(DATASETS) >= 9
    assert len(leaves()) >= 464


def name_parts(leaf):
    """Each part of a leaf's name, and whether it fits the content."""
    cfg, name = loaded(leaf).cfg, NAME.fullmatch(Path(leaf).stem)
    words = (name["variant"] or "").lower().split("_")
    folder = "OwnFeatures" if is_feature_file(cfg.DATASET.NAME) else cfg.DATASET.NAME
    yield "data set", Path(leaf).parent.name == folder
    yield "method", name["method"] == cfg.METHOD.NAME
    if name["way"]:
        task = cfg.TASK.TEST
        yield "way and shot", (int(name["way"]), int(name["shot"])) == (task.WAY, task.SHOT)
        yield "backbone", BACKBONES[name["backbone"]] == cfg.BACKBONE.NAME
    else:  # for a protocol with ways and shots of its own
        yield "backbone", (cfg.DATASET.NAME, cfg.BACKBONE.NAME) == ("ImageNet-LowShot", "Features")
    losses = {cfg.OBJECTIVE.NAME, *(stage.OBJECTIVE.NAME for stage in cfg.STAGE.values())}
    yield "objective", words[0] not in OBJECTIVES or OBJECTIVES[words[0]] in losses
    variant = cfg.METHOD.ARGS.get("variant")
    yield "variant", not variant or variant in words or not name["variant"]


@each_dataset
def test_the_names_agree_with_the_content(dataset):
    wrong = {leaf: [part for part, fits in name_parts(leaf) if not fits] for leaf in leaves(dataset)}
    assert {leaf: parts for leaf, parts in wrong.items() if parts} == {}


@each_dataset
def test_the_leaves_are_short(dataset):
    counts = {leaf: len((ROOT / leaf).read_text().splitlines()) for leaf in leaves(dataset)}
    assert {leaf: count for leaf, count in counts.items() if count > LINES} == {}


@each_dataset
def test_no_leaf_sets_what_it_inherits(dataset, tmp_path):
    """Leaves with the same bases and classes inherit the same values: these are loaded once for all of them."""
    heirs = defaultdict(list)
    for leaf in leaves(dataset):
        settings = yaml.safe_load((ROOT / leaf).read_text())
        classes = {key: {"NAME": settings[key]["NAME"]} for key in CLASSES if "NAME" in settings.get(key, {})}
        bases = settings.pop("_BASE_")
        bases = [str((ROOT / dataset / base).resolve()) for base in ([bases] if isinstance(bases, str) else bases)]
        heirs[yaml.safe_dump({"_BASE_": bases} | classes)].append((leaf, flatten(settings)))
    dead = {}
    file = tmp_path / "bases.yaml"
    for inheritance, group in heirs.items():
        file.write_text(inheritance)
        inherited = load_config(file).values
        for leaf, settings in group:
            values = loaded(leaf).values
            same = [key for key in settings if not key.endswith(".NAME") and inherited[key] == values[key]]
            dead |= {leaf: same} if same else {}
    assert dead == {}


@each_dataset
def test_the_references_are_complete(dataset):
    references = {leaf: loaded(leaf).cfg.REFERENCE for leaf in leaves(dataset)}
    numbers = {leaf: bool(r.ACCURACY or r.FIGURES) for leaf, r in references.items()}
    parts_given = {leaf: {numbers[leaf], bool(r.SOURCE), bool(r.STATUS)} for leaf, r in references.items()}
    assert [leaf for leaf, parts in parts_given.items() if len(parts) > 1] == []
