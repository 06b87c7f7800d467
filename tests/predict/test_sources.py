"""The network of a checkpoint gives photographs the features that the evaluator gives the images of a data set."""

import io

import pytest
import torch
from PIL import Image

from core.build.evaluation import build_evaluator
from core.errors import UserError
from core.predict.photos import Photo
from core.predict.sources import from_checkpoint
from tests.workspace import PROTONET, Workspace, best

CPU = torch.device("cpu")


def as_photo(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return Photo("image", file.getvalue())


def test_photos_have_the_features_of_the_evaluator(trained, tmp_path):
    cfg, run = trained
    network, data = from_checkpoint(str(cfg), run, [], CPU, None)
    train = data.split("train")  # whose statistics normalise photographs
    evaluator = build_evaluator(data, "val")
    source = evaluator.source(network.method, pixels=data.pixels("train"))
    ids = torch.arange(0, 60, 7)
    source.prepare(ids)
    expected = source.gather(ids[None])["vector"][0]
    encoded = network.encode([as_photo(train.images[row]) for row in ids], network.store(None))
    assert torch.allclose(encoded.features["vector"], expected, rtol=1e-5, atol=1e-6)
    assert network.origin["checkpoint"] == str(best(run))


def test_base_means_are_computed_once(tmp_path, tiny_root):
    space = Workspace(tmp_path, tiny_root, None, None)
    tree = PROTONET | {
        "METHOD": {"NAME": "SimpleShot"},
        "STAGE": {"meta": PROTONET["STAGE"]["meta"] | {"STREAM": "batches"}},
    }
    cfg = space.config(tree)
    run = space.train(cfg)
    network, data = from_checkpoint(str(cfg), run, [], CPU, tmp_path / "cache")
    train = data.split("train")
    photos = [as_photo(image) for image in train.images]
    vectors = network.encode(photos, network.store(None)).features["vector"]
    means = torch.stack([vectors[train.labels == label].mean(0) for label in range(len(train.classes))])
    assert torch.allclose(network.base["vector"], means, rtol=1e-4, atol=1e-5)
    again, _ = from_checkpoint(str(cfg), run, [], CPU, tmp_path / "cache")
    assert torch.equal(again.base["vector"], network.base["vector"])


def test_another_config_is_refused(trained):
    cfg, run = trained
    with pytest.raises(UserError, match="BACKBONE"):
        from_checkpoint(str(cfg), run, ["BACKBONE.ARGS.width=16"], CPU, None)
