"""The one evaluator: any method, any number of episodes, every image encoded once.

A `FeatureSource` gives the features of a network; `classify` answers one question about them: these episodes, this
head.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from .. import progress, ranks
from ..data.episodes import Episodes, EpisodeSampler, Shape
from ..data.loaders import TaskBuilder
from ..data.pixels import Pixels
from ..data.store import Split
from ..data.views import Views
from ..episode import Task
from ..methods.base import Method
from ..report.tally import Evaluation, Tally, join_evaluations
from .cache import FeatureCache
from .features import Base, BaseImages, FeatureSource, ImageEncoder, feature_source
from .finite import refuse_logits

DRAWN_AT_ONCE = 4096
LARGEST_CHUNK = 1024


class Sampler(Protocol):
    """Episodes by number."""

    shape: Shape

    def draw(self, index: Tensor) -> Episodes:
        """Episodes number `index` [T]."""


class EpisodesFrom:
    """The episodes of a sampler from number `first` on."""

    def __init__(self, sampler: Sampler, first: int) -> None:
        self.shape, self._sampler, self._first = sampler.shape, sampler, first

    def draw(self, index: Tensor) -> Episodes:
        """Episodes number `first` + `index` [T]."""
        return self._sampler.draw(index + self._first)


class Evaluator:
    """Evaluates methods on one split.

    Args:
        split: the images.
        sampler: the episodes that are drawn where no other sampler is given.
        pixels: of the split.
        base: opens the train split, whose class means a method may read.
        base_limit: images of a base class that count for its mean, its first; 0 = all.
        words: reads the word vectors of the split's classes [classes, D].
        first_class: number of the split's first class among the classes of all splits.
        memory_mb: bound on the tasks that are classified together; does not change the result.
        batch: images encoded together, 0 = chosen for the device; does not change the result.
        bf16: whether images are encoded under bfloat16 autocast.
        views: the crops handed to methods that need parts.
        eval_crop: share of each side of an image that is seen, its centre.
    """

    def __init__(
        self,
        split: Split,
        sampler: EpisodeSampler,
        pixels: Pixels,
        *,
        base: Base | None = None,
        base_limit: int = 0,
        words: Callable[[], Tensor] | None = None,
        first_class: int = 0,
        memory_mb: int = 1000,
        batch: int = 0,
        bf16: bool = False,
        views: Views | None = None,
        eval_crop: float = 1.0,
    ) -> None:
        self.split, self.sampler, self.pixels = split, sampler, pixels
        self._base, self._base_limit = base, base_limit
        self._words, self._first_class = words, first_class
        self._memory_mb, self._batch, self._bf16, self._views = memory_mb, batch, bf16, views
        self._eval_crop = eval_crop

    @torch.no_grad()
    def run(self, method: Method, episodes: int) -> Evaluation:
        """Encode and classify episodes 0 .. `episodes` - 1; the method is left as it was."""
        start = time.perf_counter()
        source = self.source(method)
        prepared = time.perf_counter() - start
        evaluation = self.classify(source, episodes)
        evaluation.seconds["total"] += prepared
        return evaluation

    def rehearse(self, method: Method) -> None:
        """Classify one episode, with one image of each base class in place of all: what fails, fails soon."""
        trial = copy.copy(self)
        trial._base_limit = 1
        trial.run(method, 1)

    def source(
        self,
        method: Method,
        cache: FeatureCache | None = None,
        pixels: Pixels | None = None,
        base_cache: Callable[[], FeatureCache | None] = lambda: None,
    ) -> FeatureSource:
        """Where the features of a network come from; nothing is encoded yet, and the method is left as it was.

        `pixels` are those of other images than the split's; the base classes' means are kept in `base_cache`.
        """
        views = self._views if "parts" in method.needs else None
        size, seen = method.backbone.size or self.split.size, self._eval_crop
        encoder = ImageEncoder(
            method.for_evaluation(), pixels or self.pixels, size, self._batch, self._bf16, views, seen
        )
        base = BaseImages(self._base, self._base_limit, base_cache) if self._base else None
        return feature_source(encoder, base, cache)

    @torch.no_grad()
    def classify(
        self, source: FeatureSource, episodes: int, sampler: Sampler | None = None, head: Method | None = None
    ) -> Evaluation:
        """Classify episodes 0 .. `episodes` - 1. Where a run has several processes, each takes a part of them.

        Args:
            source: features of the images.
            episodes: how many.
            sampler: draws them; by default the evaluator's.
            head: the method in eval mode that classifies; by default the one that encodes.
        """
        start = time.perf_counter()
        sampler, head = sampler or self.sampler, head or source.method
        everyone = ranks.current()
        part = everyone.part(episodes) if episodes >= everyone.count else range(episodes)
        tally = Tally(len(part), sampler.shape.way, len(self.split.classes))
        tasks = self.tasks(source, len(part), EpisodesFrom(sampler, part.start), head.needs)
        done = part.start
        for drawn, task in tasks:
            logits = head.answer(task).float().cpu()
            refuse_logits(logits, done)
            done += len(logits)
            truth = task.query_y.cpu().numpy()
            tally.add(logits.numpy(), truth, drawn.classes.numpy(), drawn.query.numpy())
        total = time.perf_counter() - start
        seconds = {"encode": tasks.encode_seconds, "classify": total - tasks.encode_seconds, "total": total}
        evaluation = tally.evaluation(sampler.shape.n_query, seconds)
        if len(part) == episodes:
            return evaluation
        return replace(join_evaluations(everyone.gather(evaluation)), seconds=seconds)

    def tasks(self, source: FeatureSource, episodes: int, sampler: Sampler, needs: Sequence[str]) -> TaskChunks:
        """Episodes 0 .. `episodes` - 1 as tasks with the features that `needs` names, side by side in chunks."""
        images = sum(sampler.shape.supports) + sampler.shape.n_query
        return TaskChunks(self, source, episodes, sampler, needs, self._memory_mb * 2**20 // (4 * images))

    @torch.no_grad()
    def task(
        self, source: FeatureSource, drawn: Episodes, sampler: Sampler | None = None, head: Method | None = None
    ) -> Task:
        """Episodes that `sampler` drew as one task with the features that `head` needs."""
        sampler, head = sampler or self.sampler, head or source.method
        self.prepare(source, drawn)
        return gathered(source, self.task_builder(source, sampler.shape, head.needs), drawn)

    def task_builder(self, source: FeatureSource, shape: Shape, needs: Sequence[str]) -> TaskBuilder:
        """What makes tasks of this shape, with the words and base-class means that are needed."""
        words = self._words() if "semantics" in needs and self._words else None
        base = source.base_means() if "base" in needs else None
        return TaskBuilder(shape, self.pixels.device, self._first_class, words, base)

    def prepare(self, source: FeatureSource, drawn: Episodes) -> None:
        """Encode what these episodes use and is not encoded yet."""
        used = torch.zeros(len(self.split.labels), dtype=torch.bool)
        used[drawn.support] = True
        used[drawn.query] = True
        source.prepare(used.nonzero()[:, 0])
        if self.pixels.device.type == "cuda":
            torch.cuda.synchronize(self.pixels.device)


def gathered(source: FeatureSource, builder: TaskBuilder, drawn: Episodes) -> Task:
    """Drawn episodes with their features."""
    return builder.build(drawn, source.gather(drawn.support), source.gather(drawn.query), progress=1.0)


class TaskChunks:
    """Episodes as tasks, some side by side; how many follows the time that the loop over them takes.

    `encode_seconds` is the time that encoding has taken so far.

    Args:
        evaluator: encodes and builds the tasks.
        source: features of the images.
        episodes: how many.
        sampler: draws them.
        needs: features of each task.
        bytes_a_feature: memory for each byte of an image's features: features, and as much again thrice for work.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        source: FeatureSource,
        episodes: int,
        sampler: Sampler,
        needs: Sequence[str],
        bytes_a_feature: int,
    ) -> None:
        self._evaluator, self._source, self._episodes = evaluator, source, episodes
        self._sampler, self._needs, self._bytes = sampler, needs, bytes_a_feature
        self.encode_seconds = 0.0

    def __iter__(self) -> Iterator[tuple[Episodes, Task]]:
        source = self._source
        start = time.perf_counter()
        builder = self._evaluator.task_builder(source, self._sampler.shape, self._needs)
        self.encode_seconds += time.perf_counter() - start
        chunk: _ChunkSize | None = None
        with progress.bar(self._episodes, "episodes") as bar:
            for index in torch.arange(self._episodes).split(DRAWN_AT_ONCE):
                drawn = self._sampler.draw(index)
                start = time.perf_counter()
                self._evaluator.prepare(source, drawn)
                self.encode_seconds += time.perf_counter() - start
                chunk = chunk or _ChunkSize(max(1, min(LARGEST_CHUNK, self._bytes // source.bytes_per_image)))
                first = 0
                while first < len(index):
                    start = time.perf_counter()
                    part = drawn.part(first, first + chunk.size)
                    yield part, gathered(source, builder, part)
                    chunk.adapt(len(part.seed), time.perf_counter() - start)
                    bar.update(len(part.seed))
                    first += len(part.seed)


class _ChunkSize:
    """How many tasks to classify together: doubled while that makes them faster."""

    def __init__(self, most: int) -> None:
        self.size, self._most, self._rate = min(8, most), most, 0.0

    def adapt(self, tasks: int, seconds: float) -> None:
        """Take the measured rate of a chunk into account."""
        rate = tasks / seconds
        if rate > 1.1 * self._rate and self.size < self._most:
            self.size = min(2 * self.size, self._most)
        self._rate = max(rate, self._rate)
