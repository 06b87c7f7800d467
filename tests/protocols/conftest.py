"""What tests of protocols share: a copy of a checkpoint, data of their own, and a count of encoded images."""

import shutil

import pytest

from core.engine import features
from tests.workspace import best


@pytest.fixture
def checkpoint(trained, tmp_path):
    copied = tmp_path / "run" / best(trained[1]).name
    copied.parent.mkdir()
    shutil.copy(best(trained[1]), copied)
    return copied


@pytest.fixture
def encoded(monkeypatch):
    """How many images were encoded."""
    count = [0]
    real = features.ImageEncoder.blocks

    def blocks(self, ids):
        count[0] += len(ids)
        return real(self, ids)

    monkeypatch.setattr(features.ImageEncoder, "blocks", blocks)
    return count


@pytest.fixture
def root(space, tiny_root):
    """Data of this test's own, so that its cache is its own too."""
    copied = space.path / "data"
    shutil.copytree(tiny_root, copied, ignore=shutil.ignore_patterns("features"))
    return f"DATASET.ROOT={copied}"
