"""Feed the readers with generated inputs, each target in a process of its own, and print a table of what came out.

    python -m tests.fuzz.run --inputs 50000 --seed 0

Bad outcomes are: another exception than the one that becomes a sentence, a crash, a hidden file left behind, more than
10 seconds of the processor, more than 2 GB. hypothesis shrinks each to a small input, which is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.targets import Targets

SECONDS, MEMORY = 10.0, 2 << 30
# Shares of all inputs: what is slow gets fewer.
SLOW = {"runs that go on", "last.pth of other contents", "photographs", "stored features of photographs"}
SHARES = dict.fromkeys(SLOW, 0.2) | {"records of suites": 0.4, "folders of images": 0.4}


def feed(targets: Targets, name: str, inputs: int, number: int) -> tuple[Counter, str]:
    """Feed one target; returns the outcomes, and the defect that was found, "" for none."""
    outcomes: Counter = Counter()
    strategy, _ = targets.all[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def one(value: object) -> None:
        began = time.process_time()
        outcomes["tried"] += 1
        outcomes[targets.run(name, value)] += 1
        assert time.process_time() - began < SECONDS, f"took {time.process_time() - began:.1f} s"
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        assert grown < MEMORY, f"took {grown >> 20} MB"

    phases = [Phase.generate, Phase.shrink]
    checks = list(HealthCheck)
    run = settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        derandomize=False,
        phases=phases,
        suppress_health_check=checks,
    )(seed(number)(given(strategy)(one)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return outcomes, "".join(traceback.format_exception(error))[-3000:]
    return outcomes, ""


def in_a_process(targets: Targets, name: str, inputs: int, number: int) -> tuple[dict[str, int], str]:
    """As `feed`, in a process forked from this one, so that a crash is a defect too."""
    here, there = multiprocessing.Pipe(duplex=False)

    def act() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        there.send(feed(targets, name, inputs, number))

    child = multiprocessing.get_context("fork").Process(target=act)
    child.start()
    there.close()
    try:
        outcomes, defect = here.recv()
    except EOFError:
        outcomes, defect = {}, ""
    child.join()
    return outcomes, defect or (f"the process ended with {child.exitcode}" if child.exitcode else "")


def main() -> None:
    """Feed all targets and print the table."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--inputs", type=int, default=50_000, help="of all targets together")
    cli.add_argument("--seed", type=int, default=0)
    cli.add_argument("--only", nargs="+", help="targets, which get as many inputs as among all")
    args = cli.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("fiveway").addHandler(logging.NullHandler())
    logging.getLogger("fiveway").propagate = False
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            targets = Targets(Path(folder))
        total = sum(SHARES.get(name, 1.0) for name in targets.all)
        failed, began, tried = [], time.monotonic(), 0
        print(f"{'attack':32} {'tried':>7} {'answered':>9} {'refused':>8} {'bad':>4} {'seconds':>8}", flush=True)
        for name in args.only or targets.all:
            inputs, start = int(args.inputs * SHARES.get(name, 1.0) / total) + 1, time.monotonic()
            outcomes, defect = in_a_process(targets, name, inputs, args.seed)
            tried += outcomes.get("tried", 0)
            counts = [outcomes.get(word, 0) for word in ("tried", "answered", "refused")]
            seconds = time.monotonic() - start
            print(f"{name:32} {counts[0]:7} {counts[1]:9} {counts[2]:8} {bool(defect):4} {seconds:8.0f}", flush=True)
            if defect:
                failed.append(name)
                print(defect, flush=True)
    print(f"{tried} inputs in {time.monotonic() - began:.0f} s, seed {args.seed}: {len(failed)} bad")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
