"""Every protocol keeps the contract: answers that repeat, name their network and never share a folder."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping

import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.evaluation import Network, restore
from core.build.networks import build_method
from core.errors import UserError
from core.protocols.base import PROTOCOLS, all_options, protocol_named, refuse_options
from tests.workspace import best, files

KEYS = ("DATASET.BASE_HOLDOUT=4", "EVAL.TRIALS=3", "EVAL.ALLWAY_QUERIES=5")
OPTIONS = {"allway": {"shots": [1, 2]}, "episodes": {"shots": [1, 2]}, "generalized": {"shots": [1, 2]}}
OTHER_DATA = {"lowshot", "features"}  # read ImageNet-LowShot alone, write a data set: test_lowshot.py, test_features.py


def pytest_generate_tests(metafunc):
    """The protocols of FiveWay, or those of the module that `--protocol` names."""
    if "name" in metafunc.fixturenames:
        module = metafunc.config.getoption("--protocol")
        shipped = set(all_options()) and set(PROTOCOLS)
        if module:
            importlib.import_module(module)
        metafunc.parametrize("name", sorted(set(PROTOCOLS) - (shipped if module else OTHER_DATA)))


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_root):
    """A checkpoint whose training kept images of the base classes out, and its config."""
    from tests.workspace import Workspace

    space = Workspace(tmp_path_factory.mktemp("contract"), tiny_root, None, None)
    cfg = space.config()
    return cfg, best(space.train(cfg, *KEYS))


@pytest.fixture
def ask(run):
    """A protocol's answers about the checkpoint, or about the network as initialised."""

    def ask(name: str, untrained: bool = False, *overrides: str):
        data = Data(load_config(run[0], [*KEYS, *overrides]).cfg, torch.device("cpu"))
        network = Network(build_method(data)) if untrained else restore(data, run[1])
        protocol = protocol_named(name)(data, network, **OPTIONS.get(name, {}))
        protocol.refuse()
        return list(protocol.answers())

    return ask


def content(answer):
    """Texts and results of an answer, without what depends on the clock."""
    return {
        name: {key: part for key, part in value.items() if key != "seconds"} if isinstance(value, Mapping) else value
        for name, value in answer.files.items()
    }


def test_answers_repeat_and_have_folders_of_their_own(name, ask):
    first, again = ask(name), ask(name)
    assert first
    assert [answer.line for answer in first] == [answer.line for answer in again]
    assert [content(answer) for answer in first] == [content(answer) for answer in again]
    folders = [answer.folder for answer in first]
    assert all(folders)
    assert len(set(folders)) == len(folders)


def test_a_result_names_its_network_and_can_be_written(name, ask, run):
    for answer in ask(name):
        results = [value for value in answer.files.values() if isinstance(value, Mapping)]
        assert len(results) == 1
        assert json.loads(json.dumps(results[0]))["checkpoint"] == run[1].name
        assert results[0]["trained_on"] == "Glyphs"
        assert "\n" not in answer.line


def test_an_untrained_network_answers_too_and_names_no_checkpoint(name, ask):
    for answer in ask(name, untrained=True):
        assert not any("checkpoint" in value for value in answer.files.values() if isinstance(value, Mapping))


def test_the_precision_is_part_of_the_folder(name, ask):
    plain, half = ask(name), ask(name, False, "EVAL.PRECISION=bf16", "EVAL.CACHE=false")
    assert {answer.folder for answer in plain}.isdisjoint(answer.folder for answer in half)


def test_options_it_does_not_know_are_refused(name):
    with pytest.raises(UserError, match=f"--colour is red, but the protocol {name} does not take it"):
        refuse_options(PROTOCOLS[name], {"colour": "red"})


def test_asking_writes_nothing_by_itself(name, ask, run):
    before = {file: content for file, content in files(run[1].parent).items()}
    ask(name)
    assert files(run[1].parent) == before
