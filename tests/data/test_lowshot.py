"""The groups of ImageNet low-shot that an evaluation opens."""

import numpy as np
import pytest
import torch

from core.build.data import open_split
from core.data.lowshot import open_group
from core.data.pixels import Pixels
from core.prepare import lowshot
from tests.prepare.fake_features import BASE, NOVEL, prepared


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr(lowshot, "TRAINING_IMAGES", 12 * 9)
    monkeypatch.setattr(lowshot, "PER_CLASS", 4)


@pytest.mark.parametrize("group", ["val", "test"])
def test_a_group_for_generalized_evaluation(tmp_path, group):
    prepared(tmp_path)
    opened = open_group(tmp_path / "data", "ImageNet-LowShot", group)
    assert opened.shots.classes == opened.novel.classes == NOVEL[group]
    assert opened.base.classes == BASE[group]
    assert opened.base.counts.tolist() == opened.novel.counts.tolist() == [4, 4, 4]
    train = open_split(tmp_path / "data", "ImageNet-LowShot", "train")
    assert [train.classes[i] for i in opened.base_ids] == opened.base.classes
    queries = open_split(tmp_path / "data", "ImageNet-LowShot", "train-queries")
    pixels = Pixels(opened.base, torch.device("cpu"))
    ids = torch.from_numpy(np.flatnonzero(opened.base.labels == 1))
    assert (pixels.gather(ids).numpy() == queries.images[queries.labels == queries.classes.index(BASE[group][1])]).all()
    assert opened.base.fingerprint != queries.fingerprint
