"""Steps made one ahead are those made when they are asked for."""

from __future__ import annotations

import threading

import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.networks import build_method
from core.build.training import build_streams
from core.data.ahead import Ahead
from core.errors import UserError

PROTO, NEG = "configs/Glyphs/ProtoNet_N5K1_C4.yaml", "configs/Glyphs/NegMargin_N5K1_C4.yaml"


def streams_of(config, root, where="cpu"):
    keys = [f"DATASET.ROOT={root}", "DATASET.SIZE=16", "TASK.TEST.QUERY=3", "TASK.TRAIN.WAY=5", "TASK.TRAIN.QUERY=3"]
    data = Data(load_config(config, keys).cfg, torch.device(where))
    (stage,) = data.cfg.STAGES
    return build_streams(data, stage, build_method(data, stage))


def pixels(item):
    sides = [item.inputs] if hasattr(item, "inputs") else [item.support, item.query]
    return torch.cat([side["image"].reshape(-1) for side in sides])


@pytest.mark.parametrize("config", [PROTO, NEG])
def test_the_same_items_in_any_order(tiny_root, config):
    (plain,), (ahead,) = streams_of(config, tiny_root), map(Ahead, streams_of(config, tiny_root))
    for step in (0, 1, 2, 7, 8, 3, 40, 41):
        item = ahead.at(step, 0.25)
        assert torch.equal(pixels(item), pixels(plain.at(step, 0.25)))
        assert item.progress == 0.25
        assert ahead.share(step) == plain.share(step)


def test_the_next_step_is_made_on_another_thread(tiny_root):
    (stream,) = streams_of(PROTO, tiny_root)
    made, at = [], stream.at
    stream.at = lambda step, progress: (made.append((step, threading.current_thread().name)), at(step, progress))[1]
    ahead = Ahead(stream)
    ahead.at(5, 0.0)
    ahead._next[1].result()
    assert [step for step, _ in made] == [5, 6]
    assert all(name.startswith("next step") for _, name in made)


def test_what_making_a_step_raises_is_raised_where_it_is_asked_for(tiny_root):
    (stream,) = streams_of(PROTO, tiny_root)

    def cut(step, progress):
        raise UserError("images.npy was cut short")

    stream.at = cut
    with pytest.raises(UserError, match="cut short"):
        Ahead(stream).at(0, 0.0)


@pytest.mark.gpu
@pytest.mark.parametrize("config", [PROTO, NEG])
def test_images_that_do_not_fit_a_gpu_are_gathered_ahead(tiny_root, config, monkeypatch):
    (resident,) = streams_of(config, tiny_root, "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    (ahead,) = streams_of(config, tiny_root, "cuda")
    assert isinstance(ahead, Ahead)
    assert not isinstance(resident, Ahead)
    for step in range(6):
        torch.testing.assert_close(pixels(ahead.at(step, 0.0)), pixels(resident.at(step, 0.0)))


def test_images_on_the_cpu_are_not_ahead(tiny_root):
    (stream,) = streams_of(PROTO, tiny_root)
    assert not isinstance(stream, Ahead)
    assert not stream._pixels.is_remote
