"""Attack runs and print a table of what came of it.

    python -m tests.chaos.run --seconds 100 --seed 0

A bad outcome is: another result than the undisturbed run's, a traceback, a file lost or left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.attacks import ATTACKS
from tests.chaos.runs import Skipped, warm_up
from tests.fuzz.bench import write_tiny


def attack(name: str, root: Path, count: int, seed: int, until: float = math.inf) -> tuple[int, list[str]]:
    """Run one attack `count` times, or until a time; returns how often it ran, and what went wrong.

    Raises:
        Skipped: where this machine does not allow it.
    """
    act, wrong = ATTACKS[name][0], []
    tried = 0
    for number in range(count):
        if tried and time.monotonic() > until:
            break
        tried += 1
        with tempfile.TemporaryDirectory(dir=root.parent) as folder:
            try:
                act(Path(folder), root, number, random.Random(f"{seed} {name} {number}"))
            except AssertionError as error:
                wrong.append(f"number {number}: {error}")
    return tried, wrong


def main() -> None:
    """Run all attacks and print the table."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--share", type=float, default=1.0, help="of the number of times that each attack is run")
    cli.add_argument("--seed", type=int, default=0)
    cli.add_argument("--seconds", type=float, default=math.inf, help="for each attack; it is tried once at least")
    cli.add_argument("--only", help="attacks whose name holds this text")
    args = cli.parse_args()
    failed = False
    print(f"{'attack':64} {'tried':>6} {'bad':>4} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        write_tiny(root)
        with contextlib.redirect_stdout(io.StringIO()):
            warm_up(Path(folder) / "warm", root)
        for name, (_, count) in ATTACKS.items():
            if args.only and args.only not in name:
                continue
            began = time.monotonic()
            try:
                until, times = began + args.seconds, max(1, round(args.share * count))
                tried, wrong = attack(name, root, times, args.seed, until)
            except Skipped as reason:
                print(f"{name:64} skipped: {reason}")
                continue
            print(f"{name:64} {tried:6} {len(wrong):4} {time.monotonic() - began:8.0f}", *wrong, sep="\n", flush=True)
            failed |= bool(wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main()
