"""A seeded sample of `make chaos`: runs that are killed go on bit for bit, and two writers do not meet."""

import pytest

from tests.chaos.attacks import ATTACKS
from tests.chaos.run import attack
from tests.chaos.runs import Skipped, warm_up
from tests.fuzz.bench import write_tiny

SAMPLE = (
    "SIGKILL in training, ProtoNet",
    "killed inside of save, fsync, replace, ProtoNet",
    "SIGTERM in training",
    "two trainers in one folder",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("chaos") / "data"
    write_tiny(root)
    warm_up(root.parent / "warm", root)
    return root


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow) for name in ATTACKS]
)
def test_nothing_is_lost(name, root):
    try:
        count, wrong = attack(name, root, 1, seed=1)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert (count, wrong) == (1, [])
