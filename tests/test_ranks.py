"""The processes of one run; what they do together is tested in tests/engine/test_synced_norm.py and tests/commands."""

import pytest
import torch

from core import ranks
from core.errors import UserError


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


def test_shares_follow_one_another():
    parts = [ranks.Ranks(number, 3).part(10) for number in range(3)]
    assert [n for part in parts for n in part] == list(range(10))
    assert {len(part) for part in parts} == {3, 4}
