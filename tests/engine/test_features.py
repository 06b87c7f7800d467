"""Crops reach the methods that ask for them, in training and in evaluation, and no others."""

from __future__ import annotations

import pytest
import torch

from core.build.config import load_config
from core.build.data import Data, episode_sampler
from core.build.evaluation import build_evaluator
from core.build.networks import build_method
from core.build.training import build_streams, build_trainer
from core.data.augment import Centre
from core.engine.checkpoint import load
from core.engine.features import CachedFeatures, ImageEncoder, UncachedFeatures
from core.errors import UserError
from core.methods.base import Method
from core.ops.distances import squared_euclidean
from core.registry import METHODS
from core.report.run import RunFolder


class CropMeans(Method):
    """Nearest mean, where an image is the mean of itself and its crops."""

    name = "CropMeans"
    needs = ("vector", "parts")

    def forward(self, task):
        query, support = (
            (features["vector"] + features["parts"].mean(2)) / 2 for features in (task.query, task.support)
        )
        return -squared_euclidean(query, support.unflatten(1, (task.way, -1)).mean(2))


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    """The method is known here alone."""
    monkeypatch.setitem(METHODS._classes, "CropMeans", CropMeans)


def builder(glyphs, *overrides: str, method: str = "CropMeans") -> Data:
    keys = [f"DATASET.ROOT={glyphs}", f"METHOD.NAME={method}", "METHOD.ARGS={}", "BACKBONE.ARGS.width=8"]
    keys += ["TASK.TRAIN.WAY=5", "TASK.TRAIN.QUERY=2", "TASK.TEST.QUERY=4", "STAGE.meta.EPOCHS=1", "STAGE.meta.STEPS=2"]
    cfg = load_config("configs/Glyphs/ProtoNet_N5K1_C4.yaml", [*keys, "STAGE.meta.VAL.EPISODES=4", *overrides]).cfg
    return Data(cfg, torch.device("cpu"))


def test_the_centre_is_seen_of_images_but_not_of_their_crops(glyphs):
    whole, centre = builder(glyphs, VIEWS), builder(glyphs, VIEWS, "DATASET.EVAL_CROP=0.8")
    encoders = [build_evaluator(data, "test").source(build_method(data))._encoder for data in (whole, centre)]
    ids = torch.arange(3)
    before, after = (encoder.inputs(ids) for encoder in encoders)
    assert torch.equal(after["crops"], before["crops"])
    pixels = Centre(0.8)(encoders[0].pixels.raw(ids))
    expected = encoders[0].pixels._normalised(pixels).permute(0, 3, 1, 2)
    assert torch.equal(after["image"], expected)
    assert not torch.equal(after["image"], before["image"])


def test_a_centre_must_be_a_share_of_an_image(glyphs):
    with pytest.raises(UserError, match=r"DATASET.EVAL_CROP is 1.5, a share of each side; give 1 or less\.$"):
        builder(glyphs, "DATASET.EVAL_CROP=1.5")


VIEWS = "DATASET.VIEWS=[whole, grid-2, sample-2]"


def test_a_method_trains_and_is_evaluated_on_crops(glyphs, tmp_path):
    built = builder(glyphs, VIEWS)
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    build_trainer(built, run, "stem", tmp_path / "pretrained").fit()
    assert load(run.last)["method"]
    method = build_method(built)
    task = build_streams(built, "meta", method)[0].at(0, 0.0)
    assert task.query["crops"].shape == (1, 10, 6, 3, 32, 32)
    assert task.encoded(method.encode).query["parts"].shape == (1, 10, 6, method.backbone.vector_dim)


def test_cached_crops_equal_live_ones_and_repeat(glyphs):
    built = builder(glyphs, VIEWS)
    method = build_method(built).eval()
    ids = episode_sampler(built, "val", 0).draw(torch.arange(2)).support
    encoder = ImageEncoder(method, built.pixels("val"), built.image_size, views=built.views)
    with torch.no_grad():
        cached = CachedFeatures(encoder)
        cached.prepare(ids.flatten().unique())
        torch.testing.assert_close(cached.gather(ids)["parts"], UncachedFeatures(encoder).gather(ids)["parts"])
    first, second = (build_evaluator(built, "val").run(method, 8) for _ in range(2))
    assert (first.correct == second.correct).all()
