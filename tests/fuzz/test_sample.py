"""A seeded sample of `make fuzz`: every odd input gives an answer or one sentence."""

import pytest

from tests.fuzz.run import feed
from tests.fuzz.targets import Targets

SLOW = {"runs that go on", "last.pth of other contents", "photographs", "stored features of photographs"}
SLOW |= {"records of suites", "results compared", "classifiers of other tensors", "checkpoints of other contents"}
SLOW |= {"configs", "checkpoints of other tensors", "weights of other projects", "folders of images"}
NAMES = (
    *("configs", "configs, nested", "overrides", "YAML text", "suites", "suites, nested", "records of suites"),
    *("split files", "class lists", "stores", "manifests", "word vectors", "pickles", "pickles of other objects"),
    *(
        "pickles as programs",
        "pickles of lists of images",
        "HDF5",
        "HDF5 of other arrays",
        "npz",
        "npz of other arrays",
    ),
    *("images", "images of other kinds", "archives", "members of archives", "folders of images", "checkpoints"),
    *("checkpoints of other contents", "checkpoints of other tensors", "runs that go on", "last.pth of other contents"),
    *("caches", "weights of encoders", "weights of other projects", "results compared", "results of other contents"),
    *("classifiers", "classifiers of other contents", "classifiers of other tensors", "photographs"),
    "stored features of photographs",
)
INPUTS = {name: 8 if name in SLOW else 70 for name in NAMES}


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
