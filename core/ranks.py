"""The processes of one run: what torchrun started together, or this process alone.

Processes are numbered from 0, and number 0 writes. Work is dealt out by number: `part` says which of n tasks, images or
episodes a process has. Sums over processes are the same in all of them.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from . import stopping
from .errors import UserError

LONGEST_WAIT = timedelta(days=1)  # the first process may wait for another run to train a shared stage
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """The number of this process among `count`."""

    number: int = 0
    count: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.number == 0

    def part(self, n: int) -> range:
        """The share of 0 .. n - 1 that is this process's; shares follow one another and differ by one at most."""
        return range(n * self.number // self.count, n * (self.number + 1) // self.count)

    def refuse_uneven(self, n: int, what: str) -> None:
        """Refuse n things that cannot be dealt out evenly.

        Raises:
            UserError: where the number of processes does not divide n.
        """
        if n % self.count:
            raise UserError(
                f"{what} is {n}, which {self.count} processes (WORLD_SIZE) cannot share evenly; start a number that "
                f"divides {n}, with torchrun --nproc_per_node."
            )

    def refuse_fewer(self, n: int, what: str) -> None:
        """Refuse n images of which a process would have none.

        Raises:
            UserError: where there are fewer than processes.
        """
        if n < self.count:
            raise UserError(f"{what} has {n} images, fewer than the {self.count} processes (WORLD_SIZE); start fewer.")

    def add(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over the processes, and return it."""
        if not self.alone:
            _together(lambda: distributed.all_reduce(tensor))
        return tensor

    def gather(self, thing: Any) -> list[Any]:
        """What every process gives, by the processes' numbers."""
        things = [thing] * self.count
        if not self.alone:
            _together(lambda: distributed.all_gather_object(things, thing))
        return things

    def wait(self) -> None:
        """Go on when every process has come here."""
        self.gather(None)

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Number 0 runs the block before the others do: it makes the files that they read."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


_current = Ranks()


def current() -> Ranks:
    """The number of this process among those of its run."""
    return _current


def join() -> Ranks:
    """Join the processes that torchrun started, if it started this one; its environment variables say so.

    Over NCCL where each has a GPU, else over gloo.

    Raises:
        UserError: where one of them dies before all have met.
    """
    global _current
    if _current.alone and int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            with stopping.at_once():
                distributed.init_process_group(backend, timeout=LONGEST_WAIT)
        except RuntimeError as error:
            raise UserError(
                f"process {os.environ.get('RANK')} of {os.environ['WORLD_SIZE']} did not meet the other processes of "
                f"this run ({str(error).splitlines()[0]}); look for their messages, then start all again."
            ) from error
        _current = Ranks(distributed.get_rank(), distributed.get_world_size())
        atexit.register(distributed.destroy_process_group)
    return _current


def end() -> None:
    """End this process here, where it is not the first of a run and all its work is done.

    On the interpreter's own way out a thread of the process group may abort it ("terminate called without an active
    exception", once in seventeen runs on PyTorch 2.14), and the run would count as failed.
    """
    if not _current.first:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def local_number() -> int:
    """The number of this process on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def restarted() -> bool:
    """Whether torchrun starts this run again after a process died (--max-restarts)."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _together(exchange: Callable[[], Result]) -> Result:
    """Run an exchange between processes; one that died is a sentence."""
    try:
        return exchange()
    except RuntimeError as error:
        raise UserError(
            f"process {_current.number} of {_current.count} lost another process of this run; look for that one's "
            "message, then go on with --resume."
        ) from error
