"""What is written is what TensorBoard's reader finds, also after a resume."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.engine.events import EventFile
from core.errors import UserError


def test_points_come_back_and_a_resumed_run_purges_later_ones(tmp_path):
    first = EventFile(tmp_path, purge_step=1)
    for step in (1, 2, 3):
        first.scalar("a/loss", step / 2, step)
    first.close()
    second = EventFile(tmp_path, purge_step=3)
    second.scalar("a/loss", 9.0, 3)
    second.close()
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("a/loss")
    assert [(event.step, event.value) for event in events] == [(1, 0.5), (2, 1.0), (3, 9.0)]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        EventFile(tmp_path / "file" / "tb", purge_step=1)
