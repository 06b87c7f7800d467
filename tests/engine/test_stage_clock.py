"""What the log says about time."""

import io
import time

import pytest
from tqdm import tqdm

from core.engine.stage_clock import StageClock
from core.log import start_log
from core.progress import bar


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, which the test moves."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def steps(stage_clock, clock, number, seconds):
    for _ in range(number):
        clock[0] += seconds
        stage_clock.step()


def test_a_cpu_is_told_once_what_a_long_stage_will_take(clock, capsys):
    start_log()
    steps(StageClock("meta", 100, 200, 0, bar(100, "steps"), on_cpu=True), clock, 50, 0.5)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("stage meta: 20000 steps of 0.5 s on this CPU take about 2 h 47 min")


@pytest.mark.parametrize(("epochs", "on_cpu"), [(1, True), (100, False)])
def test_a_short_stage_and_a_gpu_are_told_nothing(clock, capsys, epochs, on_cpu):
    start_log()
    steps(StageClock("meta", epochs, 60, 0, bar(60, "steps"), on_cpu), clock, 50, 0.5)
    assert capsys.readouterr().out == ""


def test_an_epoch_says_what_it_took_and_what_is_left_since_the_resume(clock):
    stage_clock = StageClock("meta", 10, 200, 4, bar(2000, "steps"), on_cpu=True)
    clock[0] = 60
    assert stage_clock.epoch(5) == "60 s, about 5 min left"
    clock[0] = 180
    assert stage_clock.epoch(6) == "2 min, about 6 min left"
    clock[0] = 200
    assert stage_clock.epoch(10) == "20 s"


def test_the_bar_names_stage_and_epoch():
    screen = io.StringIO()
    with tqdm(total=20, file=screen, mininterval=0) as shown:
        stage_clock = StageClock("meta", 10, 2, 4, shown, on_cpu=True)
        assert "meta epoch 5/10" in screen.getvalue()
        stage_clock.epoch(5)
        assert "meta epoch 6/10" in screen.getvalue()
        stage_clock.epoch(10)
        assert "11/10" not in screen.getvalue()
