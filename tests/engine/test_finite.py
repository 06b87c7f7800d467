"""A network that diverged is no result: refused in training, in a checkpoint and at test, with step and rate."""

import re

import pytest
import torch

from core.engine.finite import NotFinite, bad_entry, refuse_features, refuse_logits
from core.methods.protonet import ProtoNet
from tests.workspace import PROTONET, best

NAN, INF = float("nan"), float("inf")


def test_the_first_bad_entry_is_named():
    state = {"a": torch.ones(2), "count": torch.tensor(3), "b": torch.tensor([1.0, INF]), "c": torch.tensor(NAN)}
    assert bad_entry(state) == "b"
    assert bad_entry({"a": torch.ones(2)}) == ""


def test_the_first_bad_image_and_episode_are_named():
    features = {"vector": torch.tensor([[1.0, 2.0], [3.0, INF]])}
    with pytest.raises(NotFinite, match="the vector of image 9 is not finite"):
        refuse_features(features, torch.tensor([4, 9]))


@pytest.mark.parametrize(
    ("row", "largest"), [([NAN, 1.0], "nan"), ([1.0, NAN], "nan"), ([INF, 1.0], "inf"), ([-INF, -INF], "-inf")]
)
def test_the_first_episode_without_a_finite_largest_logit_is_named(row, largest):
    logits = torch.zeros(3, 2, 2)
    logits[:, :, 0] = -INF  # a class that is ruled out
    refuse_logits(logits, 10)
    logits[1:, 1] = torch.tensor(row)
    with pytest.raises(NotFinite, match=f"^the largest logit of a query of episode 11 is {largest}: the network"):
        refuse_logits(logits, 10)


@pytest.mark.parametrize("protocol", ["episodes", "allway", "generalized"])
def test_queries_without_a_finite_logit_are_no_result(space, monkeypatch, protocol):
    cfg, holdout = space.config(), "DATASET.BASE_HOLDOUT=4"
    run = space.train(cfg, holdout)
    forward = ProtoNet.forward
    monkeypatch.setattr(ProtoNet, "forward", lambda self, task: torch.full_like(forward(self, task), -INF))
    shots = ["--shots", 1] if protocol == "allway" else []
    code, _, err = space.evaluator(cfg, "-c", run, "--protocol", protocol, *shots, holdout)
    assert code == 2
    assert err.startswith("error: ")
    assert "the largest logit of a query of episode 0 is -inf: the network diverged" in err
    assert not (run / "eval").exists()


def test_a_rate_at_which_the_network_diverges_is_no_result(space):
    code, _, err = space.trainer(space.config(), "STAGE.meta.OPTIM.NAME=sgd", "STAGE.meta.OPTIM.LR=1e9")
    assert code == 2
    assert re.search(r"STAGE.meta: (the loss became \S+ in|after) step \d+ \(epoch \d, rate 1e\+09\)", err)


@pytest.mark.parametrize("name", ["backbone.layers.0.0.weight", "running_var"])
def test_weights_and_statistics_that_are_not_finite_end_the_training(space, monkeypatch, name):
    loss = ProtoNet.loss

    def poisoned(self, item):
        value = next(value for key, value in self.state_dict().items() if key.endswith(name))
        value[(0,) * value.dim()] = INF
        return loss(self, item)

    monkeypatch.setattr(ProtoNet, "loss", poisoned)
    monkeypatch.setattr("core.engine.steps._update", lambda *rest: torch.zeros(len([*rest[3]])).sum())
    code, _, err = space.trainer(space.config(PROTONET))
    assert code == 2
    assert re.search(rf"STAGE.meta: after step 4 \(epoch 1, rate 0.001\) \S*{name} is not finite", err)


def test_a_checkpoint_that_is_not_finite_is_refused(space):
    cfg = space.config()
    run = space.train(cfg)
    content = torch.load(best(run), weights_only=True)
    name = next(key for key in content["method"] if key.endswith("running_var"))
    content["method"][name][0] = NAN
    torch.save(content, best(run))
    code, _, err = space.evaluator(cfg, "-c", run)
    assert code == 2
    assert err.startswith(f"error: {best(run)} holds a network that diverged ({name} is not finite)")


def test_features_that_overflow_are_refused_at_test(space):
    """Finite weights, and yet no finite features."""
    cfg = space.config()
    run = space.train(cfg)
    content = torch.load(best(run), weights_only=True)
    for value in content["method"].values():
        if value.is_floating_point() and value.dim() == 4:
            value.fill_(3e38)
    torch.save(content, best(run))
    code, _, err = space.evaluator(cfg, "-c", run)
    assert code == 2
    assert re.search(r"the \w+ of image \d+ is not finite: the network diverged", err)
