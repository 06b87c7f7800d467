"""The one evaluator: any method, any number of episodes, every image encoded once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from core.backbones.blocks import fold
from core.data.episodes import Episodes, EpisodeSampler
from core.data.loaders import Pixels, TaskBuilder
from core.data.store import Split
from core.engine.features import Source, class_means, source_for
from core.episode import Features
from core.methods.base import Method
from core.report.progress import Progress
from core.report.stats import Interval, t_interval

DRAWN_AT_ONCE = 4096
LARGEST_CHUNK = 1024


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; integers only, so that it can be compared exactly."""

    correct: np.ndarray  # [episodes] queries classified correctly
    classes: np.ndarray  # [episodes, N] classes of the split
    queries: int  # of an episode
    confusion: np.ndarray  # [classes, classes] true by predicted, counts
    seconds: dict[str, float]  # encode | classify | total

    @property
    def interval(self) -> Interval:
        """Mean accuracy in percent, with its 95 % interval over episodes."""
        return t_interval(self.correct * (100 / self.queries))


class Evaluator:
    """Evaluates methods on one split, one shape of episodes, one seed.

    `base` opens the train split, whose class means a method may ask for. `memory_mb` bounds the tasks classified
    together, `batch` is the number of images encoded together; neither changes the result, nor do threads.
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
    ) -> None:
        self.split, self.sampler, self.pixels, self._base = split, sampler, pixels, base
        self._first_class, self._memory_mb, self._batch = first_class, memory_mb, batch

    @torch.no_grad()
    def run(self, method: Method, episodes: int, show: bool = False) -> Evaluation:
        """Classify episodes 0 .. `episodes` - 1; the method is left as it was."""
        start = time.perf_counter()
        method = fold(method)
        builder = TaskBuilder(
            self.split, self.sampler, self.pixels.device, self._first_class, "semantics" in method.needs
        )
        builder.base = self._base_means(method, show) if "base" in method.needs else None
        source = source_for(method, self.pixels, self._used(episodes), self.split.size, self._batch, show)
        self._synchronize()
        encoded = time.perf_counter()
        correct, classes, confusion = self._classify(method, source, builder, episodes, show)
        end = time.perf_counter()
        seconds = {"encode": encoded - start, "classify": end - encoded, "total": end - start}
        queries = self.sampler.shape.way * self.sampler.shape.query
        return Evaluation(correct, classes, queries, confusion, seconds)

    def _base_means(self, method: Method, show: bool) -> Features:
        """Mean feature of each base class under the method's present weights."""
        split, pixels = self._base()
        return class_means(method, pixels, torch.from_numpy(split.labels), split.size, self._batch, show)

    def _used(self, episodes: int) -> torch.Tensor:
        """Sorted ids of the images that the episodes use."""
        used = torch.zeros(len(self.split.labels), dtype=torch.bool)
        for index in torch.arange(episodes).split(DRAWN_AT_ONCE):
            drawn = self.sampler.draw(index)
            used[drawn.support] = True
            used[drawn.query] = True
        return used.nonzero()[:, 0]

    def _classify(self, method: Method, source: Source, builder: TaskBuilder, episodes: int, show: bool):
        """Correct queries [episodes], classes [episodes, N] and the confusion matrix."""
        correct = np.empty(episodes, dtype=np.int64)
        classes = np.empty((episodes, self.sampler.shape.way), dtype=np.int64)
        n_classes = len(self.split.classes)
        confusion = np.zeros(n_classes**2, dtype=np.int64)
        chunk = _Chunk(self._most_tasks(source))
        with Progress(episodes, "episodes", show) as bar:
            first = 0
            while first < episodes:
                began = time.perf_counter()
                drawn = self.sampler.draw(torch.arange(first, min(first + chunk.size, episodes)))
                last = first + len(drawn.seed)
                predicted, truth = self._predict(method, source, builder, drawn)
                correct[first:last] = (predicted == truth).sum(1)
                classes[first:last] = drawn.classes.numpy()
                pairs = np.take_along_axis(classes[first:last], truth, 1) * n_classes
                pairs += np.take_along_axis(classes[first:last], predicted, 1)
                confusion += np.bincount(pairs.ravel(), minlength=n_classes**2)
                bar.update(last - first)
                chunk.done(last - first, time.perf_counter() - began)
                first = last
        return correct, classes, confusion.reshape(n_classes, n_classes)

    def _predict(self, method: Method, source: Source, builder: TaskBuilder, drawn: Episodes):
        """Predicted and true labels [T, Q]; a tie goes to the lowest label."""
        n_support = drawn.support.shape[1]
        features = source.gather(torch.cat([drawn.support, drawn.query], dim=1))
        support = {name: value[:, :n_support] for name, value in features.items()}
        query = {name: value[:, n_support:] for name, value in features.items()}
        task = builder.build(drawn, support, query, progress=1.0)
        return method(task).cpu().numpy().argmax(-1), task.query_y.cpu().numpy()

    def _most_tasks(self, source: Source) -> int:
        """Tasks whose features, and as much again thrice for work, stay within the memory."""
        shape = self.sampler.shape
        images = shape.way * (shape.shot + shape.query)
        return max(1, min(LARGEST_CHUNK, self._memory_mb * 2**20 // (4 * images * source.bytes_per_image)))

    def _synchronize(self) -> None:
        if self.pixels.device.type == "cuda":
            torch.cuda.synchronize(self.pixels.device)


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
