"""Methods as a configuration describes them."""

import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.networks import build_head, build_method, data_info
from core.errors import UserError
from core.methods.protonet import ProtoNet
from core.registry import BACKBONES, METHODS, OBJECTIVES


def data(tiny_root, config, *overrides):
    keys = [f"DATASET.ROOT={tiny_root}", "DATASET.SIZE=16", "TASK.TEST.QUERY=3", *overrides]
    return Data(load_config(f"configs/Glyphs/{config}_N5K1_C4.yaml", keys).cfg, torch.device("cpu"))


def test_a_stage_without_episodes_knows_no_way(tiny_root):
    built = data(tiny_root, "MML")
    assert data_info(built, "base").way == 0
    assert (data_info(built, "meta").way, data_info(built, "meta").query) == (5, 6)


@pytest.mark.parametrize(
    ("method", "views", "said"),
    [
        ("MML", "[whole]", "compares crops"),
        ("MML", "[grid-2]", "add whole"),
        ("ProtoNet", "[whole, grid-2]", "looks at no crops"),
        ("ProtoNet", "[whole, gird-2]", "did you mean"),
    ],
)
def test_views_that_do_not_fit_the_method_are_refused(tiny_root, method, views, said):
    with pytest.raises(UserError, match=said):
        build_method(data(tiny_root, method, f"DATASET.VIEWS={views}"))


def test_a_network_follows_from_the_seed_alone(tiny_root):
    one, again, another = (
        build_method(data(tiny_root, "ProtoNet", f"SEED={seed}", "BACKBONE.ARGS.width=4")) for seed in (3, 3, 4)
    )
    for name, value in one.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert any(not torch.equal(value, another.state_dict()[name]) for name, value in one.state_dict().items())


def test_another_head_has_the_backbone_of_the_config(tiny_root):
    head = build_head(data(tiny_root, "ProtoNet", "BACKBONE.ARGS.width=4"), "CosineProtoNet")
    assert head.name == "CosineProtoNet"
    assert head.backbone.channels == 4


class Early(ProtoNet):
    def __init__(self, backbone, info, **more):
        self.head = torch.nn.Identity()


class Reading(ProtoNet):
    def __init__(self, backbone, info, **more):
        self.width = self.backbone.channels


class Plain(ProtoNet):
    def __init__(self, backbone, info, **more):
        self.width = 3


class Bare(ProtoNet):
    def __init__(self, backbone, info, **more):
        torch.nn.Module.__init__(self)


@pytest.mark.parametrize("kind", [Early, Reading, Plain, Bare])
def test_a_method_that_does_not_call_its_parent(tiny_root, monkeypatch, kind):
    built = data(tiny_root, "ProtoNet")
    monkeypatch.setitem(METHODS._classes, "ProtoNet", kind)
    with pytest.raises(UserError) as caught:
        build_method(built)
    assert str(caught.value).startswith(
        f"The __init__ of {kind.__name__} does not call super().__init__(backbone, info); call it there,"
    )


@pytest.mark.parametrize(
    ("registry", "name", "base"),
    [
        (
            METHODS,
            "ProtoNet",
            "METHOD.NAME is ProtoNet, but class Module is no Method; derive it from Method of core.m",
        ),
        (
            BACKBONES,
            "Conv4",
            "BACKBONE.NAME is Conv4, but class Module is no Backbone; derive it from Backbone of core",
        ),
        (
            OBJECTIVES,
            "ce",
            "OBJECTIVE.NAME is ce, but class Module is no Objective; derive it from Objective of core.o",
        ),
    ],
)
def test_a_registered_class_of_another_kind(tiny_root, monkeypatch, registry, name, base):
    built = data(tiny_root, "ProtoNet")
    monkeypatch.setitem(registry._classes, name, torch.nn.Module)
    with pytest.raises(UserError) as caught:
        build_method(built)
    assert str(caught.value).startswith(base)


def test_an_error_of_a_method_that_calls_its_parent_stays(tiny_root, monkeypatch):
    class Odd(ProtoNet):
        def __init__(self, backbone, info, **more):
            super().__init__(backbone, info)
            self.width = self.no_such_

    built = data(tiny_root, "ProtoNet")
    monkeypatch.setitem(METHODS._classes, "ProtoNet", Odd)
    with pytest.raises(AttributeError, match="no_such_"):
        build_method(built)
