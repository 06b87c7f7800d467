"""The network of a checkpoint gives photographs the features that the evaluator gives the images of a data set."""

import io

import pytest
import torch
from PIL import Image

from core.build.evaluation import build_evaluator
from core.errors import UserError
from core.paths import ROOT
from core.predict.classifier import make_classifier
from core.predict.photos import Photo
from core.predict.sources import WEIGHTS, from_checkpoint, from_encoder
from tests.predict.encoders import NAME, SIZE, write_weights
from tests.predict.photos import drawn, pattern, supports_of
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
    for change in ("DATASET.BASE_HOLDOUT=3", "EVAL.BASE_IMAGES=2"):  # then other images count
        cached, _ = from_checkpoint(str(cfg), run, [change], CPU, tmp_path / "cache")
        anew, _ = from_checkpoint(str(cfg), run, [change], CPU, None)
        assert torch.equal(cached.base["vector"], anew.base["vector"])
        assert not torch.equal(cached.base["vector"], network.base["vector"])


def test_another_config_is_refused(trained):
    cfg, run = trained
    with pytest.raises(UserError, match="BACKBONE"):
        from_checkpoint(str(cfg), run, ["BACKBONE.ARGS.width=16"], CPU, None)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights"))


def test_an_encoder_gives_photos_the_features_of_its_library(weights):
    from torchvision import models

    network = from_encoder(NAME, str(weights), "own", SIZE, CPU)
    assert network.name == "RFS on torchvision:squeezenet1_1"
    assert network.image_size == 48
    encoded = network.encode(drawn([0], [0]), network.store(None))
    library = models.squeezenet1_1(weights=None)
    library.load_state_dict(torch.load(weights, weights_only=True))
    pixels = torch.from_numpy(pattern(0, 0)).permute(2, 0, 1) / 255  # 48 pixels a side, so that nothing is resampled
    mean, std = (torch.tensor(values)[:, None, None] for values in (network.mean, network.std))
    with torch.no_grad():
        expected = library.features.eval()(((pixels - mean) / std)[None]).mean((2, 3))
    assert torch.allclose(encoded.features["vector"], expected, rtol=1e-4, atol=1e-5)


def test_an_encoder_says_where_its_weights_come_from(weights):
    network = from_encoder(NAME, str(weights), "own", SIZE, CPU)
    assert network.origin["external_data"]["encoder"] == NAME
    assert network.origin["sha256"] == network.origin["external_data"]["sha256"]


def test_weights_that_lie_in_the_folder_are_taken(weights, tmp_path):
    from core.backbones.encoders import Encoder
    from core.registry import BACKBONES

    kind = BACKBONES[NAME]
    assert issubclass(kind, Encoder)
    published = next(iter(kind(48, "native").publications())).url
    (tmp_path / published.rsplit("/", 1)[-1]).write_bytes(weights.read_bytes())
    with pytest.raises(UserError, match="--weights"):  # another folder holds none, and there is no connection
        from_encoder(NAME, str(tmp_path / "none.pth"), "own", SIZE, CPU)
    assert from_encoder(NAME, "", "own", SIZE, CPU, [tmp_path / "empty", tmp_path]).origin["sha256"]


def test_weights_of_the_checkout_are_found_from_any_folder():
    assert ROOT / "data" / "weights" in WEIGHTS


def test_heads_that_read_the_same_share_the_features_of_an_encoder(weights):
    keys = [from_encoder(NAME, str(weights), head, SIZE, CPU).key() for head in ("SimpleShot", "ProtoNet", "DN4")]
    differing = [name for name in keys[0] if keys[0][name] != keys[1][name]]
    assert not differing
    assert keys[1]["needs"] != keys[2]["needs"]
    assert from_encoder(NAME, str(weights), "ProtoNet", ["BACKBONE.ARGS.size=64"], CPU).key() != keys[0]


@pytest.mark.parametrize("head", ["SimpleShot", "ProtoNet", "DN4"])
def test_any_head_without_weights_of_its_own_answers(weights, head):
    network = from_encoder(NAME, str(weights), head, SIZE, CPU)
    assert network.method.name == head


def test_names_that_are_none_are_refused_in_the_words_of_the_command_line(weights, tmp_path):
    with pytest.raises(UserError, match=r"--encoder is 'torchvision:squeezenet1_2', .*did you mean squeezenet1_"):
        from_encoder("torchvision:squeezenet1_2", str(weights), "own", SIZE, CPU)
    with pytest.raises(UserError, match=r"--encoder is 'mobilenet_v2', which names no library; give torchvision:mob"):
        from_encoder("mobilenet_v2", "", "own", SIZE, CPU)
    with pytest.raises(UserError, match="--encoder is 'Conv4', which has no weights"):
        from_encoder("Conv4", str(weights), "own", [], CPU)
    with pytest.raises(UserError, match=r"--weights is .* does not fit --encoder torchvision:squeezenet1_0"):
        from_encoder("torchvision:squeezenet1_0", str(weights), "own", SIZE, CPU)
    with pytest.raises(UserError, match=r"--head is 'RSF', .*did you mean RFS"):
        from_encoder(NAME, str(weights), "RSF", SIZE, CPU)


def test_a_missing_download_says_what_to_do(monkeypatch, tmp_path):
    from core.backbones.torchvision_models import Torchvision

    def fail(self):
        raise OSError("no route to host")

    monkeypatch.setattr(Torchvision, "download", fail)
    with pytest.raises(UserError, match=r"could not fetch .*no route to host.*set --weights to the file"):
        from_encoder(NAME, "", "own", SIZE, CPU, [tmp_path])
    with pytest.raises(
        UserError, match=r"could not fetch .*; run `make weights` in a checkout of FiveWay, or fetch it"
    ):
        from_encoder("torchvision:mobilenet_v2", "", "own", [], CPU, [tmp_path])


def test_an_encoder_knows_no_base_classes_and_is_centred_at_zero(weights):
    network = from_encoder(NAME, str(weights), "SimpleShot", SIZE, CPU)
    classifier = make_classifier(network, supports_of(network, [2, 2]))
    assert torch.equal(classifier.base["vector"], torch.zeros(1, 512))
    support = torch.nn.functional.normalize(classifier.supports.features["vector"], dim=1)
    means = support.view(2, 2, -1).mean(1)
    expected = -((support[:, None] - means) ** 2).sum(-1)
    assert torch.allclose(classifier.logits(classifier.supports.features), expected.double(), atol=1e-5)
