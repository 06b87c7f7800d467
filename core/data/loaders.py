"""Tasks and batches of pixels; every step is a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..episode import Batch, Features, Task, divide
from ..ops import random
from ..ranks import Ranks
from .augment import Transform
from .base_queries import BaseQueries
from .episodes import Episodes, EpisodeSampler, Shape
from .pixels import Pixels
from .store import Split
from .views import Views

ALONE = Ranks()


@dataclass(frozen=True)
class Augmentation:
    """The transforms of a training stage and the crops beside the image, drawn from a seed."""

    transforms: Sequence[Transform]
    seed: int
    views: Views | None = None  # where the method asks for parts

    def seeds(self, step: int, n: int, device: torch.device, first: int = 0) -> Tensor:
        """One seed for each of n images of a step, from number `first` of all its images on."""
        start = torch.tensor(random.key("augment", self.seed, step), device=device)
        return random.hashes(start, "image", first + n)[first:]

    def inputs(self, pixels: Pixels, ids: Tensor, step: int, first: int = 0) -> Features:
        """The inputs that a step makes of images `ids` [n]: `image`, and `crops` where there are views.

        `first` is the number of the first of them among all images of the step, whatever process has the others.
        """
        seeds = self.seeds(step, len(ids), pixels.device, first)
        image = {"image": pixels.gather(ids, seeds, self.transforms)}
        return image | ({"crops": pixels.crops(ids, seeds, self.views, train=True)} if self.views else {})


class TaskBuilder:
    """Turns drawn episodes into tasks of pixels or features.

    Args:
        shape: of the episodes.
        device: where the tasks go.
        first_class: the number of the split's first class among the classes of all splits.
        words: word vectors of the split's classes [classes, D], where the method reads them.
        base: mean feature of each base class [n_base, ...], where the method reads them.
    """

    def __init__(
        self,
        shape: Shape,
        device: torch.device,
        first_class: int = 0,
        words: Tensor | None = None,
        base: Features | None = None,
    ) -> None:
        self._shape, self._device, self._first_class, self._base = shape, device, first_class, base
        self._words = None if words is None else words.to(device)

    def build(self, drawn: Episodes, support: Features, query: Features, progress: float) -> Task:
        """A task of `drawn` episodes around features or pixels, each [T, n, ...]."""
        shape, tasks = self._shape, len(drawn.seed)
        label = torch.arange(shape.way, device=self._device)
        classes = drawn.classes.to(self._device)
        return Task(
            support=support,
            support_y=label.repeat_interleave(torch.tensor(shape.supports, device=self._device)).expand(tasks, -1),
            query=query,
            query_y=drawn.query_y.to(self._device),
            way=shape.way,
            shot=None if shape.shots else shape.shot,
            class_ids=classes + self._first_class,
            seed=drawn.seed.to(self._device),
            progress=progress,
            semantics=None if self._words is None else self._words[classes],
            base=self._base,
        )


DRAWN_STEPS = 32  # whose episodes are drawn at once, at little more cost than those of one


class EpisodeStream:
    """Training episodes: step s holds episodes s*T .. s*T + T - 1, and queries of other base classes if it has any.

    Several processes (`ranks`) have a part of these each.
    """

    def __init__(
        self,
        pixels: Pixels,
        sampler: EpisodeSampler,
        builder: TaskBuilder,
        tasks: int,
        augmentation: Augmentation,
        base_queries: BaseQueries | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self._pixels, self._sampler, self._builder = pixels, sampler, builder
        self._tasks, self._augmentation, self._base_queries = tasks, augmentation, base_queries
        self._part = ranks.part(tasks)
        self._block = -1
        self._drawn: Episodes | None = None

    def share(self, step: int) -> float:
        """The part of a step's tasks that is in this process."""
        return len(self._part) / self._tasks

    def at(self, step: int, progress: float) -> Task:
        """The task of a step, in pixels."""
        drawn = self._episodes(step)
        rows = [drawn.support, drawn.query]
        if self._base_queries:
            base_rows, base_y = self._base_queries.draw(drawn.seed, drawn.classes)
            rows.append(base_rows)
        ids = torch.cat(rows, dim=1)
        first = self._part.start * ids.shape[1]
        inputs = self._augmentation.inputs(self._pixels, ids.flatten(), step, first)
        inputs = {name: value.unflatten(0, ids.shape) for name, value in inputs.items()}
        support, query, *base = divide(inputs, [part.shape[1] for part in rows])
        task = self._builder.build(drawn, support, query, progress)
        return replace(task, base_query=base[0], base_query_y=base_y.to(self._pixels.device)) if base else task

    def _episodes(self, step: int) -> Episodes:
        """The episodes of a step in this process, drawn with those of its neighbours and kept."""
        block, position = divmod(step, DRAWN_STEPS)
        if self._drawn is None or block != self._block:
            steps = torch.arange(DRAWN_STEPS) + block * DRAWN_STEPS
            self._block = block
            self._drawn = self._sampler.draw((steps[:, None] * self._tasks + torch.tensor(self._part)).flatten())
        return self._drawn.part(position * len(self._part), (position + 1) * len(self._part))


class ShotRange:
    """Training episodes with a shot that is drawn for each step, uniformly, and is that of all its tasks.

    Args:
        streams: the episodes of each shot.
        seed: of the draws; step s has the same shot whatever was drawn before.
    """

    def __init__(self, streams: Sequence[EpisodeStream], seed: int) -> None:
        self._streams, self._seed = streams, seed

    def at(self, step: int, progress: float) -> Task:
        """The task of a step, in pixels."""
        return self._drawn(step).at(step, progress)

    def share(self, step: int) -> float:
        """The part of the step's tasks that this process computes."""
        return self._drawn(step).share(step)

    def _drawn(self, step: int) -> EpisodeStream:
        """The episodes of the step's shot."""
        start = torch.tensor(random.key("shot", self._seed, step))
        return self._streams[int(random.subset(start, "choice", torch.tensor(len(self._streams)), 1))]


class BatchStream:
    """Mini-batches of base images: each epoch has its own permutation, and its last batch may be smaller.

    Several processes (`ranks`) have a part of each.
    """

    def __init__(
        self,
        pixels: Pixels,
        split: Split,
        size: int,
        augmentation: Augmentation,
        words: Tensor | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self._pixels, self._size, self._augmentation, self._ranks = pixels, size, augmentation, ranks
        self._words = None if words is None else words.to(pixels.device)
        self._labels = torch.from_numpy(split.labels).to(pixels.device)
        self._epoch, self._order = -1, torch.empty(0)

    def __len__(self) -> int:
        """Batches that make one pass."""
        return -(-len(self._labels) // self._size)

    def share(self, step: int) -> float:
        """The part of a step's batch that is in this process."""
        images = len(self._batch(step))
        return len(self._ranks.part(images)) / images

    def at(self, step: int, progress: float) -> Batch:
        """The batch of a step, in pixels."""
        batch = self._batch(step)
        part = self._ranks.part(len(batch))
        ids = batch[part.start : part.stop]
        inputs = self._augmentation.inputs(self._pixels, ids, step, part.start)
        seed = random.key("batch", self._augmentation.seed, step)
        return Batch(inputs, self._labels[ids.to(self._labels.device)], progress, self._words, seed)

    def _batch(self, step: int) -> Tensor:
        """The images of a step."""
        epoch, position = divmod(step, len(self))
        return self._permutation(epoch)[position * self._size : (position + 1) * self._size]

    def _permutation(self, epoch: int) -> Tensor:
        """The order of an epoch, kept until the next one begins."""
        if epoch != self._epoch:
            seed = torch.tensor(random.key("batches", self._augmentation.seed, epoch))
            self._epoch, self._order = epoch, random.permutation(seed, "order", len(self._labels))
        return self._order
