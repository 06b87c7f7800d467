"""What a new method may get wrong about itself, each mistake with its sentence, and how early it is said."""

from dataclasses import replace

import pytest
import torch

from core.errors import UserError
from core.methods.base import Method
from core.methods.base_training import BaseTrained
from core.methods.declarations import loss_of, refuse_declarations, refuse_unencoded
from core.methods.protonet import ProtoNet
from core.objectives.loss import Loss, Scalar
from core.registry import METHODS
from tests.helpers import make_task
from tests.methods.small import conv4, vectors
from tests.methods.test_base import INFO


class New(ProtoNet):
    """A method at first; a test changes its declarations."""


class Own(New):
    """Encodes by itself, under names of its own."""

    needs = ("tokens",)

    def encode(self, pixels):
        return {"tokens": super().encode(pixels).get("vector")}


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (
            {"needs": ("vectors",)},
            "A name in needs of the method New is 'vectors', which is not one of: image, vector,",
        ),
        ({"needs": "vector"}, "`needs` of the method New is 'vector', which is no tuple of names; write ('vector',)"),
        ({"needs": ()}, "The method New needs no feature of images; name one in needs, e.g. 'vector'."),
        ({"needs": ("base", "semantics")}, "The method New needs no feature of images; name one in needs"),
        ({"train_needs": ("mapp",)}, "A name in train_needs of the method New is 'mapp', which is not one of: image"),
        ({"train_needs": "map"}, "`train_needs` of the method New is 'map', which is no tuple of names"),
        ({"streams": ("episode",)}, "A name in streams of the method New is 'episode', which is not one of: episodes"),
        (
            {"streams": "episodes"},
            "`streams` of the method New is 'episodes', which is no tuple of names; write ('episodes',) for a single",
        ),
        ({"streams": 3}, "`streams` of the method New is 3, which is no tuple of names; write ('episodes',) for a"),
        ({"streams": ("episodes", "batches")}, "The method New has batches among its streams, but no batch_logits"),
    ],
)
def test_declarations_that_name_what_there_is_not(declared, sentence):
    method = New(conv4(), INFO)
    refuse_declarations(method)
    for name, value in declared.items():
        setattr(method, name, value)
    with pytest.raises(UserError) as caught:
        refuse_declarations(method)
    assert str(caught.value).startswith(sentence)


def test_a_method_without_forward_and_one_that_encodes_under_other_names():
    with pytest.raises(UserError, match=r"^The method Method has no forward; write forward\(task\), which"):
        refuse_declarations(Method(conv4(), INFO))
    refuse_declarations(Own(conv4(), INFO))


def test_features_that_encode_leaves_out():
    refuse_unencoded(Own(conv4(), INFO), {"tokens": torch.zeros(1)})
    words = New(conv4(), INFO)
    words.needs = ("vector", "semantics", "base")  # the last two are no features of images
    refuse_unencoded(words, {"vector": torch.zeros(1)})
    with pytest.raises(UserError, match=r"^The method New needs 'vector', but its encode gives vec, map; have it give"):
        refuse_unencoded(words, {"vec": torch.zeros(1), "map": torch.zeros(1)})


ODD_LOSSES = {
    "a tensor": (lambda loss: loss.value, "The loss of the method New returns a Tensor, but must return a Loss."),
    "of each query": (
        lambda loss: replace(loss, value=loss.logits.sum(-1)),
        "The loss of the method New has a value of shape [2, 4]; take its mean.",
    ),
    "median": (
        lambda loss: replace(loss, scalars={"x": Scalar(loss.value, "median")}),
        "`over` of x in the loss of the method New is 'median', which is not one of: mean, min, max, last",
    ),
    "no scalar": (
        lambda loss: replace(loss, scalars={"x": loss.value}),
        "The loss of the method New measures x, which is no Scalar of a tensor; make it one.",
    ),
    "no tensor": (
        lambda loss: replace(loss, scalars={"x": Scalar(0.5)}),
        "The loss of the method New measures x, which is no Scalar of a tensor; make it one.",
    ),
}


@pytest.mark.parametrize("odd", ODD_LOSSES)
def test_odd_losses(odd, monkeypatch):
    change, sentence = ODD_LOSSES[odd]
    task = make_task({"vector": vectors(2, 3, 6)}, {"vector": vectors(2, 4, 6)}, 3, 1)
    method = New(conv4(), INFO)
    assert isinstance(loss_of(method, task), Loss)
    monkeypatch.setattr(New, "loss", lambda self, item: change(ProtoNet.loss(self, item)))
    with pytest.raises(UserError) as caught:
        loss_of(method, task)
    assert str(caught.value).startswith(sentence)


class Misspelt(ProtoNet):
    """Its features are of no such name."""

    needs = ("vectors",)


class Renamed(ProtoNet):
    """Its features are not those that it needs."""

    def encode(self, pixels):
        return {"vec": super().encode(pixels)["vector"]}


class Blind(BaseTrained):
    """Names an argument that it does not have."""

    test_arguments = ("peanlty",)

    def __init__(self, backbone, info, *, penalty: float = 1.0):
        super().__init__(backbone, info, torch.nn.Identity())


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Misspelt, "A name in needs of the method Misspelt is 'vectors', which is not one of: "),
        (Renamed, "The method Renamed needs 'vector', but its encode gives vec; have it give 'vector', or correct"),
        (
            Blind,
            "METHOD.NAME Blind: its test_arguments name 'peanlty', which is no argument of its __init__ (did you mean "
            "penalty?); correct it.",
        ),
    ],
)
def test_before_there_is_a_run_folder(untrainable, space, monkeypatch, kind, sentence):
    monkeypatch.setitem(METHODS._classes, "New", kind)
    assert untrainable(space.config(), "METHOD.NAME=New").startswith(sentence)


class AsTensor(ProtoNet):
    """Its loss is the bare value."""

    def loss(self, item):
        return super().loss(item).value


class WithoutRate(ProtoNet):
    """Its special group has no rate."""

    def special_groups(self, lr):
        return [{"params": self.backbone.parameters()}]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (AsTensor, "The loss of the method AsTensor returns a Tensor, but must return a Loss."),
        (
            WithoutRate,
            "An optimiser group of the method WithoutRate, or of its objective CrossEntropy, has no lr; give each",
        ),
    ],
)
def test_before_the_first_step(space, monkeypatch, kind, sentence):
    monkeypatch.setitem(METHODS._classes, "New", kind)
    code, _, err = space.trainer(space.config(), "METHOD.NAME=New")
    assert code == 2
    assert err.startswith(f"error: {sentence}")


def test_a_group_may_come_from_an_iterator():
    class Slow(ProtoNet):
        def special_groups(self, lr):
            return [{"params": self.backbone.parameters(), "lr": lr / 10}]

    method = Slow(conv4(), INFO)
    rest, slow = method.param_groups(0.1)
    assert rest["params"] == []
    assert len(slow["params"]) == len([*method.backbone.parameters()])


def test_a_group_may_be_a_single_tensor():
    class Scaled(ProtoNet):
        def special_groups(self, lr):
            return [{"params": next(self.backbone.parameters()), "lr": lr / 10}]

    method = Scaled(conv4(), INFO)
    rest, scaled = method.param_groups(0.1)
    assert [id(p) for p in scaled["params"]] == [id(next(method.backbone.parameters()))]
    assert len(rest["params"]) + 1 == len([*method.parameters()])
