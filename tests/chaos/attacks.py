"""The attacks: each takes a folder, a data root, a number and a source of chance, and raises if something is lost."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.chaos import alone, together
from tests.chaos.runs import METHODS

Attack = Callable[[Path, Path, int, random.Random], None]

# How often each is run by `make chaos`.
ATTACKS: dict[str, tuple[Attack, int]] = {
    **{f"SIGKILL in training, {m}": (partial(alone.killed, m, signal.SIGKILL), 20) for m in METHODS},
    **{f"killed inside of save, fsync, replace, {m}": (partial(alone.killed_in_a_call, m), 10) for m in METHODS},
    "SIGTERM in training": (partial(alone.killed, "ProtoNet", signal.SIGTERM), 20),
    "SIGHUP in training, two stages": (partial(alone.killed, "NegMargin, then ProtoNet", signal.SIGHUP), 10),
    "SIGKILL in one of two processes of a run": (together.killed_ranks, 20),
    "SIGKILL in a suite": (together.killed_suite, 4),
    "SIGKILL in an evaluation": (alone.killed_evaluation, 20),
    "SIGKILL in a preparation": (alone.killed_preparation, 20),
    "a disk that fills up": (alone.full_disk, 20),
    "two trainers in one folder": (together.two_trainers, 12),
    "two trainers of one shared stage": (together.two_stages_at_once, 6),
    "two evaluators on one cache": (together.two_evaluators, 10),
    "two that draw one data set": (together.two_preparations, 6),
}
