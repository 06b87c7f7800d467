"""Methods as a configuration describes them."""

import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.networks import build_head, build_method, data_info
from core.errors import UserError


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
