"""What runs in bfloat16, and what stays in float32."""

import pytest
import torch

from core.backbones.conv4 import Conv4
from core.engine import precision
from core.engine.device import allow_tf32
from core.engine.evaluator import Evaluator
from core.engine.steps import Epoch
from core.episode import DataInfo
from core.methods.protonet import ProtoNet
from tests.workspace import PROTONET, best, metrics

CPU = torch.device("cpu")


def stage(**keys):
    return {"STAGE": {"meta": PROTONET["STAGE"]["meta"] | keys}}


def test_auto_is_float32_without_a_gpu():
    assert precision.chosen("auto", CPU) == "fp32"
    assert [precision.chosen(name, CPU) for name in ("fp32", "tf32", "bf16")] == ["fp32", "tf32", "bf16"]


def test_features_are_float32_again():
    method = ProtoNet(Conv4(16, "flatten", width=8), DataInfo(8, 16, 3, 1, 5))
    seen = []
    method.backbone.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs["vector"].dtype))
    image = {"image": torch.randn(4, 3, 16, 16)}
    features = precision.encoder(method, "bf16", CPU)(image)
    plain = precision.encoder(method, "fp32", CPU)(image)
    assert seen == [torch.bfloat16, torch.float32]
    assert features["vector"].dtype == torch.float32
    assert not torch.equal(features["vector"], plain["vector"])
    torch.testing.assert_close(features["vector"], plain["vector"], rtol=0.1, atol=0.1)


def test_a_run_in_bfloat16_learns_what_one_in_float32_learns(space):
    cfg = space.config(PROTONET)
    plain = space.train(cfg)
    low = space.train(cfg, "STAGE.meta.PRECISION=bf16", tag="bf16")
    losses = [[record["loss"] for record in metrics(run)] for run in (plain, low)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_network_that_adapts_itself_stays_in_float32(space):
    cfg = space.config(PROTONET, METHOD={"NAME": "MAML"}, BACKBONE={"NAME": "Conv4", "ARGS": {"norm": "batch"}})
    code, _, err = space.trainer(cfg, "STAGE.meta.PRECISION=bf16")
    assert code == 2
    assert err.startswith("error: STAGE.meta.PRECISION is bf16, but MAML adapts its network within the loss")


def allowed():
    return [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32]


def test_tf32_is_allowed_where_it_is_asked_for():
    for name in ("tf32", "fp32"):
        with precision.multiplying(name):
            assert allowed() == [name == "tf32"] * 2
        assert allowed() == [False, False]


def test_validation_and_tests_have_all_bits(space, monkeypatch):
    """Also where nothing was trained before, as in run_evaluator.py."""
    seen = {"step": [], "evaluation": []}
    step, run, classify = Epoch._take_one, Evaluator.run, Evaluator.classify

    def noted(name, function):
        return lambda *arguments, **options: (seen[name].append(allowed()), function(*arguments, **options))[1]

    monkeypatch.setattr(Epoch, "_take_one", noted("step", step))
    monkeypatch.setattr(Evaluator, "run", noted("evaluation", run))
    monkeypatch.setattr(Evaluator, "classify", noted("evaluation", classify))
    allow_tf32(True)
    run_folder = space.train(space.config(PROTONET), "STAGE.meta.PRECISION=tf32")
    allow_tf32(True)
    space.evaluate(space.config(PROTONET), best(run_folder))
    assert {str(bits) for bits in seen["step"]} == {"[True, True]"}
    assert {str(bits) for bits in seen["evaluation"]} == {"[False, False]"}
