"""The processes of one run; what they do together is tested in tests/engine/test_synced_norm.py and tests/commands."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from core import ranks
from core.errors import UserError
from tests.conftest import ROOT


def test_a_process_that_dies_before_all_have_met_is_a_sentence(monkeypatch):
    def lost(*_, **__):
        raise torch.distributed.DistNetworkError("Connection reset by peer\nframe #0")

    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "init_process_group", lost)
    with pytest.raises(
        UserError, match=r"^process 1 of 2 did not meet the other .* \(Connection reset by peer\); look"
    ):
        ranks.join()


def test_a_signal_ends_a_process_that_waits_for_the_others_at_once():
    """PyTorch waits outside of Python, where no handler of Python's runs."""
    code = "with stopping.stoppable():\n    print('joins', flush=True)\n    ranks.join()"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])  # where no process number 0 ever listens
        alone = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        with subprocess.Popen(
            [sys.executable, "-c", f"from core import ranks, stopping\n{code}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=os.environ | alone,
        ) as waiting:
            waiting.stdout.readline()
            time.sleep(1)
            waiting.send_signal(signal.SIGTERM)
            try:
                assert waiting.wait(20) == -signal.SIGTERM
            finally:
                waiting.kill()


def test_shares_follow_one_another():
    parts = [ranks.Ranks(number, 3).part(10) for number in range(3)]
    assert [n for part in parts for n in part] == list(range(10))
    assert {len(part) for part in parts} == {3, 4}
