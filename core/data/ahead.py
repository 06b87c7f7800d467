"""Images of the next step, made while the present step is learned from."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from ..episode import Batch, Task
from .loaders import BatchStream, EpisodeStream, ShotRange


class Ahead:
    """A stream whose steps are made one ahead, on a thread of its own.

    For images that are gathered on the host: their way to a GPU then takes no time of a step. An item is a function of
    its step, so it does not matter when it is made; on a GPU the thread's work joins the same queue.
    """

    def __init__(self, stream: EpisodeStream | ShotRange | BatchStream) -> None:
        self._stream = stream
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="next step")
        self._next: tuple[int, Future[tuple[Task | Batch, float]]] | None = None
        self._present = (-1, 0.0)  # a step and its share; only the thread asks the stream

    def __len__(self) -> int:
        """Batches that make one pass."""
        return len(self._stream)  # type: ignore[arg-type]  # episodes have no passes

    def share(self, step: int) -> float:
        """The part of the step's loss that this process computes."""
        if self._present[0] != step:
            self.at(step, 0.0)
        return self._present[1]

    def at(self, step: int, progress: float) -> Task | Batch:
        """What a step learns from; what making it raised is raised here."""
        made = self._next[1] if self._next and self._next[0] == step else self._make(step)
        item, share = made.result()
        self._present, self._next = (step, share), (step + 1, self._make(step + 1))
        return replace(item, progress=progress)

    def _make(self, step: int) -> Future[tuple[Task | Batch, float]]:
        return self._thread.submit(lambda: (self._stream.at(step, 0.0), self._stream.share(step)))
