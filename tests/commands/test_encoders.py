"""Encoders through the command line: frozen, or trained further, with the words that every result has for them."""

import pytest
import torch
from torchvision import models

from core.build.config import load_config
from core.build.data import Data
from core.build.encoders import make_encoder
from core.engine.features import ImageEncoder
from tests.workspace import META, PROTONET, best, metrics, result

NAME = "torchvision:shufflenet_v2_x0_5"
FROZEN = {**PROTONET, "STAGES": [], "METHOD": {"NAME": "SimpleShot"}}
del FROZEN["STAGE"]


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    file = tmp_path / "weights.pth"
    torch.save(models.shufflenet_v2_x0_5(weights=None).state_dict(), file)
    return file


@pytest.fixture
def backbone(weights):
    return {"NAME": NAME, "WEIGHTS": str(weights), "ARGS": {"size": 32}}


def test_a_method_with_nothing_to_learn_needs_no_stage(space, backbone):
    cfg = space.config({**FROZEN, "BACKBONE": backbone})
    run = space.train(cfg, "EVAL.PAGE=true", evaluate_after=True)
    (folder,) = run.glob("eval/*/*")
    assert (folder / "report.html").is_file()
    external = result(folder)["external_data"]
    assert (external["encoder"], external["data"]) == (NAME, "data not known")
    assert "external data: weights.pth" in space.printed()
    stored = torch.load(best(run), weights_only=True)
    encoder, _ = make_encoder(NAME, backbone["WEIGHTS"])
    assert torch.equal(stored["method"]["backbone.network.conv1.0.weight"], encoder.network.conv1[0].weight)
    assert stored["meta"]["external"] == external


def test_stored_features_bring_along_what_their_encoder_has_learned_from(space, backbone):
    cfg = space.config({**FROZEN, "BACKBONE": backbone})
    options = ("--save-features", space.path / "features", "--splits", "train", "val", "test")
    assert space.evaluator(cfg, "--untrained", *options)[0] == 0
    on = {
        "BACKBONE": {"NAME": "Features"},
        "DATASET": {"ROOT": str(space.path / "features"), "NAME": "features:Glyphs"},
    }
    code, out, _ = space.evaluator(space.config({**FROZEN, **on}, "Stored.yaml"), "--untrained")
    assert code == 0
    assert "external data: weights.pth, learned from data not known" in out


def test_a_checkpoint_needs_the_file_of_weights_no_more(space, backbone, weights):
    cfg = space.config({**FROZEN, "BACKBONE": backbone})
    run = space.train(cfg, evaluate_after=True)
    (before,) = run.glob("eval/*/*")
    weights.unlink()
    after = space.evaluate(cfg, run, "EVAL.SEED=1")
    assert result(after)["external_data"] == result(before)["external_data"]


def test_the_frozen_network_gives_the_same_answers_without_a_run(space, backbone):
    cfg = space.config({**FROZEN, "BACKBONE": backbone})
    space.train(cfg, evaluate_after=True)
    (line,) = [line for line in space.printed().splitlines() if line.startswith("SimpleShot")]
    code, out, _ = space.evaluator(cfg, "--untrained")
    assert code == 0
    assert f"frozen  {line}" in out


def test_a_frozen_network_is_tuned_on_each_task(space, backbone):
    method = {"NAME": "PMF", "ARGS": {"steps": 2, "rates": [0.0, 0.001]}}
    cfg = space.config({**FROZEN, "BACKBONE": backbone, "METHOD": method})
    run = space.train(cfg, "EVAL.EPISODES=2", "TASK.TEST.SHOT=2", evaluate_after=True)
    (folder,) = run.glob("eval/*/*")
    assert (result(folder)["method"], result(folder)["transductive"]) == ("PMF", False)
    encoder, _ = make_encoder(NAME, backbone["WEIGHTS"])
    stored = torch.load(best(run), weights_only=True)["method"]
    assert torch.equal(stored["backbone.network.conv1.0.weight"], encoder.network.conv1[0].weight)


def test_members_of_an_ensemble_share_a_frozen_network_which_counts_once(space, backbone):
    method = {"NAME": "Ensemble", "ARGS": {"grid": [["inverse_penalty", 0.1, 10.0]]}}
    run = space.train(space.config({**FROZEN, "BACKBONE": backbone, "METHOD": method}), evaluate_after=True)
    (folder,) = run.glob("eval/*/*")
    assert result(folder)["method"] == "Ensemble"


def test_what_must_learn_cannot_do_without_a_stage(untrainable, space, backbone):
    cfg = space.config({**FROZEN, "BACKBONE": backbone, "METHOD": {"NAME": "FEAT"}})
    assert "STAGES is empty, but FEAT has parameters that must be learned" in untrainable(cfg)
    cfg = space.config({**FROZEN, "BACKBONE": {"NAME": "Conv4"}})
    assert "STAGES is empty, which trains nothing" in untrainable(cfg)


def test_a_frozen_backbone_keeps_its_weights_while_the_method_learns(space, backbone, weights):
    tree = {
        **PROTONET,
        "BACKBONE": backbone,
        "METHOD": {"NAME": "FEAT"},
        "STAGE": {"meta": META | {"FREEZE": "backbone"}},
    }
    run = space.train(space.config(tree))
    stored = torch.load(best(run), weights_only=True)["method"]
    encoder, _ = make_encoder(NAME, str(weights))
    kept = {name.removeprefix("backbone."): value for name, value in stored.items() if name.startswith("backbone.")}
    assert all(torch.equal(kept[name], value) for name, value in encoder.state_dict().items())
    assert len({record["loss"] for record in metrics(run)}) > 1


def test_a_backbone_that_is_not_frozen_is_trained_further(space, backbone, weights):
    run = space.train(space.config({**PROTONET, "BACKBONE": backbone}))
    stored = torch.load(best(run), weights_only=True)
    encoder, _ = make_encoder(NAME, str(weights))
    before = encoder.network.conv1[0].weight
    after = stored["method"]["backbone.network.conv1.0.weight"]
    assert not torch.equal(after, before)
    torch.testing.assert_close(after, before, rtol=0.5, atol=0.1)
    assert stored["meta"]["external"]["encoder"] == NAME


def test_a_frozen_method_without_parameters_is_refused(untrainable, space, backbone):
    cfg = space.config({**PROTONET, "BACKBONE": backbone, "STAGE": {"meta": META | {"FREEZE": "backbone"}}})
    assert (
        "has nothing to learn on a frozen BACKBONE.NAME torchvision:shufflenet_v2_x0_5; leave FREEZE empty"
        in untrainable(cfg)
    )


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("BACKBONE.NAME=torchvision:resnet5", "torchvision has no such model (did you mean resnet50?)"),
        ("BACKBONE.NAME=torchvison:resnet18", "BACKBONE.NAME is 'torchvison:resnet18', which is not one of: Conv4"),
        ("BACKBONE.NAME=torchvision:squeezenet1_1", "which does not fit BACKBONE.NAME torchvision:squeezenet1_1"),
        ("BACKBONE.VECTOR=cls", "has no class token"),
        ("BACKBONE.WEIGHTS=absent.pth", "BACKBONE.WEIGHTS is 'absent.pth', which is not a file"),
        ("BACKBONE.ARGS.sizes=3", "unknown key BACKBONE.ARGS.sizes (did you mean BACKBONE.ARGS.size?)"),
    ],
)
def test_bad_input(untrainable, space, backbone, key, sentence):
    assert sentence in untrainable(space.config({**FROZEN, "BACKBONE": backbone}), key)


def test_weights_of_another_backbone_are_refused(untrainable, space):
    cfg = space.config({**PROTONET, "BACKBONE": {"NAME": "Conv4", "WEIGHTS": "weights.pth"}})
    assert "BACKBONE.NAME Conv4 is no encoder of another library; set STAGE.meta.INIT" in untrainable(cfg)


def test_pixels_are_normalised_as_the_weights_ask(space, backbone):
    cfg = load_config(space.config({**FROZEN, "BACKBONE": backbone})).cfg
    pixels = Data(cfg, torch.device("cpu")).pixels("test")
    ids = torch.arange(3)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(pixels.gather(ids), ((pixels.raw(ids) - mean) / std).permute(0, 3, 1, 2))


def test_features_of_a_frozen_encoder_are_kept(space, backbone, monkeypatch):
    cfg = space.config({**FROZEN, "BACKBONE": backbone, "METHOD": {"NAME": "ProtoNet"}})
    first = space.evaluator(cfg, "--untrained")[1]
    monkeypatch.setattr(ImageEncoder, "blocks", None)  # encoding once more would fail
    assert space.evaluator(cfg, "--untrained")[1] == first


def test_methods_that_read_the_same_of_a_frozen_encoder_share_its_features(space, backbone, monkeypatch):
    tree = {**FROZEN, "BACKBONE": backbone}  # SimpleShot reads the means of base classes too
    run = space.train(space.config(tree), evaluate_after=True)
    monkeypatch.setattr(ImageEncoder, "blocks", None)  # encoding once more would fail
    other = space.config({**tree, "METHOD": {"NAME": "Ridge"}}, "Ridge.yaml")
    assert space.evaluator(other, "--untrained")[0] == 0
    assert space.evaluator(space.path / "Proto.yaml", "-c", run, "EVAL.SEED=3")[0] == 0
    with pytest.raises(TypeError):
        space.evaluator(other, "--untrained", "BACKBONE.ARGS.size=48")


def test_base_means_of_fewer_images_have_a_folder_of_their_own(space, backbone):
    cfg = space.config({**FROZEN, "BACKBONE": backbone})
    outs = [space.evaluator(cfg, "--untrained", *more)[1] for more in ((), ("EVAL.BASE_IMAGES=1",))]
    folders = [out.split("result files  ")[1].strip() for out in outs]
    assert folders[0] != folders[1]
