"""The one evaluator: any method, any number of episodes, every image encoded once.

A `Source` holds a checkpoint's features; `classify` answers one question about them: these episodes, this method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch

from ..backbones.blocks import fold
from ..data.episodes import Episodes, EpisodeSampler, Shape
from ..data.loaders import Pixels, TaskBuilder
from ..data.store import Split
from ..data.views import Views
from ..episode import Task
from ..methods.base import Method
from ..report.progress import Progress
from .cache import Shelf
from .features import Encoder, Source, source_for
from .tally import Evaluation, Tally

DRAWN_AT_ONCE = 4096
LARGEST_CHUNK = 1024


class Sampler(Protocol):
    """Episodes by number."""

    shape: Shape

    def draw(self, index: torch.Tensor) -> Episodes:
        """Episodes number `index` [T]."""


class Evaluator:
    """Evaluates methods on one split.

    `base` opens the train split, whose class means a method may ask for. `memory_mb` bounds the tasks classified
    together, `batch` is the number of images encoded together; neither changes the result, nor do threads. `views` are
    the crops handed to methods that need parts.
    """

    def __init__(
        self,
        split: Split,
        sampler: EpisodeSampler,
        pixels: Pixels,
        *,
        base: Callable[[], tuple[Split, Pixels]] | None = None,
        first_class: int = 0,
        memory_mb: int = 1000,
        batch: int = 0,
        bf16: bool = False,
        views: Views | None = None,
    ) -> None:
        self.split, self.sampler, self.pixels, self._base = split, sampler, pixels, base
        self._first_class, self._memory_mb, self._batch, self._bf16 = first_class, memory_mb, batch, bf16
        self._views = views

    @torch.no_grad()
    def run(self, method: Method, episodes: int, show: bool = False) -> Evaluation:
        """Classify episodes 0 .. `episodes` - 1; the method is left as it was."""
        start = time.perf_counter()
        source = self.source(method, show)
        prepared = time.perf_counter() - start
        found = self.classify(source.method, source, self.sampler, episodes, show)
        found.seconds["total"] += prepared
        return found

    def source(
        self, method: Method, show: bool = False, shelf: Shelf | None = None, pixels: Pixels | None = None
    ) -> Source:
        """Where the features of a checkpoint come from; nothing is encoded yet, and the method is left as it was.

        `pixels` are those of other images than the split's.
        """
        views = self._views if "parts" in method.needs else None
        encoder = Encoder(fold(method), pixels or self.pixels, self.split.size, self._batch, self._bf16, show, views)
        return source_for(encoder, self._base, shelf)

    @torch.no_grad()
    def classify(
        self, method: Method, source: Source, sampler: Sampler, episodes: int, show: bool = False
    ) -> Evaluation:
        """Classify episodes 0 .. `episodes` - 1 of a sampler by a method in eval mode, which may be another's."""
        start = time.perf_counter()
        tally = Tally(episodes, sampler.shape.way, len(self.split.classes))
        seconds = {"encode": 0.0}
        for part, task in self.tasks(method.needs, source, sampler, episodes, seconds, show):
            tally.add(method(task).float().cpu().numpy(), task.query_y.cpu().numpy(), part.classes.numpy())
        total = time.perf_counter() - start
        seconds |= {"classify": total - seconds["encode"], "total": total}
        return tally.evaluation(sampler.shape.n_query, seconds)

    def tasks(
        self,
        needs: Sequence[str],
        source: Source,
        sampler: Sampler,
        episodes: int,
        seconds: dict[str, float],
        show: bool = False,
    ) -> Iterator[tuple[Episodes, Task]]:
        """Episodes 0 .. `episodes` - 1 as tasks with features, side by side in chunks.

        A chunk's size follows the time its user takes. What encoding takes is added to `seconds["encode"]`.
        """
        start = time.perf_counter()
        builder = self._builder(needs, source, sampler)
        seconds["encode"] += time.perf_counter() - start
        with Progress(episodes, "episodes", show) as bar:
            chunk: _Chunk | None = None
            for index in torch.arange(episodes).split(DRAWN_AT_ONCE):
                drawn = sampler.draw(index)
                seconds["encode"] += self._prepare(source, drawn)
                chunk = chunk or _Chunk(self._most_tasks(source, sampler.shape))
                first = 0
                while first < len(index):
                    began = time.perf_counter()
                    part = drawn.part(first, first + chunk.size)
                    yield part, self._task(source, builder, part)
                    chunk.done(len(part.seed), time.perf_counter() - began)
                    bar.update(len(part.seed))
                    first += len(part.seed)

    @torch.no_grad()
    def example(self, method: Method, source: Source, sampler: Sampler) -> Task:
        """One task with features, to try a method on."""
        return self.task(method, source, sampler.draw(torch.arange(1)), sampler)

    @torch.no_grad()
    def task(self, method: Method, source: Source, drawn: Episodes, sampler: Sampler | None = None) -> Task:
        """Drawn episodes as one task with features; `sampler` drew them, by default the evaluator's own."""
        sampler = sampler or self.sampler
        self._prepare(source, drawn)
        return self._task(source, self._builder(method.needs, source, sampler), drawn)

    def _builder(self, needs: Sequence[str], source: Source, sampler: Sampler) -> TaskBuilder:
        """What makes tasks of this sampler's episodes, with the words and base-class means that are needed."""
        builder = TaskBuilder(self.split, sampler, self.pixels.device, self._first_class, "semantics" in needs)
        builder.base = source.base_means() if "base" in needs else None
        return builder

    def _prepare(self, source: Source, drawn: Episodes) -> float:
        """Encode what these episodes use and is not there yet; returns the seconds it took."""
        start = time.perf_counter()
        used = torch.zeros(len(self.split.labels), dtype=torch.bool)
        used[drawn.support] = True
        used[drawn.query] = True
        source.prepare(used.nonzero()[:, 0])
        if self.pixels.device.type == "cuda":
            torch.cuda.synchronize(self.pixels.device)
        return time.perf_counter() - start

    def _task(self, source: Source, builder: TaskBuilder, drawn: Episodes) -> Task:
        return builder.build(drawn, source.gather(drawn.support), source.gather(drawn.query), progress=1.0)

    def _most_tasks(self, source: Source, shape: Shape) -> int:
        """Tasks whose features, and as much again thrice for work, stay within the memory."""
        images = sum(shape.supports) + shape.n_query
        return max(1, min(LARGEST_CHUNK, self._memory_mb * 2**20 // (4 * images * source.bytes_per_image)))


class _Chunk:
    """How many tasks to classify together: doubled while that makes them faster."""

    def __init__(self, most: int) -> None:
        self.size, self._most, self._rate = min(8, most), most, 0.0

    def done(self, tasks: int, seconds: float) -> None:
        """Take the measured rate of a chunk into account."""
        rate = tasks / seconds
        if rate > 1.1 * self._rate and self.size < self._most:
            self.size = min(2 * self.size, self._most)
        self._rate = max(rate, self._rate)
