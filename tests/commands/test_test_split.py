"""Training never opens the test split: what it may know of it stands in the manifest."""

import sys

import pytest

from core.engine.trainer import Trainer
from tests.workspace import TWO_STAGES

opened = []  # what an audit hook, which cannot be taken away, has seen since a test began to look


def hook(event, arguments):
    if event == "open" and opened is not None:
        opened.append(str(arguments[0]))


@pytest.fixture(scope="module", autouse=True)
def audit():
    sys.addaudithook(hook)


@pytest.mark.parametrize("evaluate", [0, 1])
@pytest.mark.parametrize("tree", [{}, TWO_STAGES])
def test_the_test_split_is_opened_after_training_alone(space, monkeypatch, evaluate, tree):
    before = []
    fit = Trainer.fit

    def fitted(self):
        best = fit(self)
        before.extend(opened)
        return best

    monkeypatch.setattr(Trainer, "fit", fitted)
    cfg = space.config(tree) if tree else space.config()
    opened.clear()
    assert space.trainer(cfg, "-e", evaluate)[0] == 0
    of_test = {name.rsplit("/", 1)[1] for name in before if "/16px/test/" in name}
    assert of_test == {"manifest.json"}
    assert {name.rsplit("/", 1)[1] for name in before if "/16px/train/" in name} > {"images.npy", "labels.npy"}
    after = {name.rsplit("/", 1)[1] for name in opened[len(before) :] if "/16px/test/" in name}
    assert ("images.npy" in after) == bool(evaluate)
