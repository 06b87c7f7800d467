"""Seconds of the parts of a step."""

import time

import torch

from core.engine.stopwatch import PARTS, Stopwatch


def test_seconds_add_up_for_each_part():
    watch = Stopwatch(torch.device("cpu"))
    for _ in range(2):
        with watch.part("data"):
            time.sleep(0.02)
    with watch.part("update"):
        time.sleep(0.01)
    seconds = watch.seconds()
    assert seconds.keys() == set(PARTS)
    assert 0.04 <= seconds["data"] < 2
    assert 0.01 <= seconds["update"] < 2
    assert seconds["forward"] == seconds["backward"] == 0


def test_memory_is_that_of_the_process():
    before = Stopwatch(torch.device("cpu")).memory_mb()
    block = torch.ones(300 * 2**18)  # 300 MB
    assert Stopwatch(torch.device("cpu")).memory_mb() >= min(before + 100, 300)
    del block
