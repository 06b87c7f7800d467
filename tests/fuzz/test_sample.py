"""A seeded sample of `make fuzz`: every odd input gives an answer or one sentence."""

import pytest

from tests.fuzz.run import feed
from tests.fuzz.targets import Targets

INPUTS = {
    "configs": 60,
    "overrides": 60,
    "YAML text": 140,
    "suites": 40,
    "split files": 300,
    "stores": 120,
    "checkpoints": 150,
    "odd checkpoints": 60,
    "caches": 50,
    "word vectors": 220,
    "pickles": 320,
    "pickled images": 260,
    "HDF5": 100,
    "npz": 130,
    "images": 220,
    "archives": 180,
    "results compared": 20,
    "classifiers": 40,
}


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    return Targets(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_gives_an_answer_or_a_sentence(targets, name):
    outcomes, defect = feed(targets, name, INPUTS[name], number=1)
    assert not defect, defect
    assert outcomes["answered"] + outcomes["refused"] >= INPUTS[name]


def test_the_sample_is_large_enough(targets):
    assert set(INPUTS) == set(targets.all)
    assert sum(INPUTS.values()) >= 2000
