"""The vocabulary: what the loaders pass to the methods.

Letters used in every shape comment of the project:

    T tasks at once           N way        K shot       Q queries of a task (all classes together)
    n_s supports of a task    C channels   h w map size M images of a split
    V views (crops) of an image            D size of a word vector

`Features` map a name to a tensor whose leading axes are [T, n] (or [n] outside a task):

    image  [..., 3, H, W]     normalised pixels; [..., D] where the data set holds features
    crops  [..., V, 3, H, W]  normalised pixels of crops, resized to the image's size (DATASET.VIEWS)
    vector [..., C]           one vector for each image
    map    [..., C, h, w]     the last feature map
    parts  [..., V, C]        one vector for each crop
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Features = dict[str, Tensor]
Encoder = Callable[[Features], Features]


@dataclass(frozen=True)
class Task:
    """T episodes of one shape.

    Supports are sorted by `support_y`, class after class. Only the loss and the score read `query_y`, never `forward`.
    `shot` is None where the classes have unequal numbers of supports; all T tasks then have the same numbers in the
    same order, so that the rows of `support_y` are equal. Generalized episodes also have Q_b queries of base classes.
    """

    support: Features  # [T, n_s, ...]
    support_y: Tensor  # [T, n_s] in 0..N-1
    query: Features  # [T, Q, ...]
    query_y: Tensor  # [T, Q] in 0..N-1
    way: int
    shot: int | None
    class_ids: Tensor  # [T, N] base classes are 0..n_base-1, then come val and test; -1 for images of a user
    seed: Tensor  # [T] int64, a function of the run's seed and the episode's index
    progress: float = 1.0  # share of the stage that is done, 0..1, for schedules inside a method
    semantics: Tensor | None = None  # [T, N, D] word vectors of the task's classes, if the method needs them
    base: Features | None = None  # [n_base, ...] mean feature of each base class, at evaluation, if the method needs it
    base_query: Features | None = None  # [T, Q_b, ...] images of base classes that are not classes of the task
    base_query_y: Tensor | None = None  # [T, Q_b] base classes 0..n_base-1

    @property
    def tasks(self) -> int:
        """T, the number of episodes."""
        return self.support_y.shape[0]

    @property
    def images(self) -> int:
        """The number of images, those of all episodes."""
        sides = [self.support, self.query] + ([self.base_query] if self.base_query else [])
        return sum(next(iter(side.values())).shape[:2].numel() for side in sides)

    def encoded(self, encode: Encoder) -> Task:
        """The same task with features instead of pixels; the backbone encodes all its images in one call."""
        parts = [self.support, self.query] + ([self.base_query] if self.base_query else [])
        features = encode(join(parts))
        sizes = [next(iter(part.values())).shape[1] for part in parts]
        support, query, *base_query = divide(features, sizes)
        return replace(self, support=support, query=query, base_query=base_query[0] if base_query else None)

    def parts(self, count: int) -> list[tuple[Task, float]]:
        """At most `count` tasks of fewer episodes, each with its share of the episodes."""
        fields = ["support", "support_y", "query", "query_y", "class_ids", "seed"]
        fields += [name for name in ("semantics", "base_query", "base_query_y") if getattr(self, name) is not None]
        return [
            (replace(self, **{name: _rows(getattr(self, name), part) for name in fields}), share)
            for part, share in _shares(self.tasks, count)
        ]

    def all_queries(self) -> Task:
        """The same task with its base queries after its queries, [T, Q + Q_b, ...]; their `query_y` is -1."""
        assert self.base_query is not None, "a task with base queries"
        assert self.base_query_y is not None, "a task with base queries"
        unknown = torch.full_like(self.base_query_y, -1)
        query_y = torch.cat([self.query_y, unknown], dim=1)
        return replace(self, query=join([self.query, self.base_query]), query_y=query_y)


def join(parts: Sequence[Features]) -> Features:
    """Concatenate features along their second axis."""
    return {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}


def divide(features: Features, sizes: Sequence[int]) -> list[Features]:
    """Undo `join`: parts of these sizes along the second axis."""
    pieces = {name: value.split(list(sizes), dim=1) for name, value in features.items()}
    return [{name: piece[i] for name, piece in pieces.items()} for i in range(len(sizes))]


@dataclass(frozen=True)
class Batch:
    """A mini-batch of images of base classes."""

    inputs: Features  # [n, ...]
    labels: Tensor  # [n] base class ids
    progress: float = 1.0
    semantics: Tensor | None = None  # [n_base, D] word vectors of the base classes, if the method needs them
    seed: int = 0  # a function of the run's seed and the step, the same in all processes

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self.labels)

    def encoded(self, encode: Encoder) -> Batch:
        """The same batch with features instead of pixels."""
        return replace(self, inputs=encode(self.inputs))

    def parts(self, count: int) -> list[tuple[Batch, float]]:
        """At most `count` batches of fewer images, each with its share of the images."""
        return [
            (replace(self, inputs=_rows(self.inputs, part), labels=self.labels[part]), share)
            for part, share in _shares(len(self.labels), count)
        ]


def _shares(n: int, count: int) -> list[tuple[slice, float]]:
    """0 .. n - 1 in at most `count` parts that differ by one at most, each with its share of n."""
    ends = [n * part // count for part in range(count + 1)]
    return [(slice(first, last), (last - first) / n) for first, last in pairwise(ends) if first < last]


def _rows(value: Any, rows: slice) -> Any:
    """Some rows of a tensor or of features."""
    return {name: tensor[rows] for name, tensor in value.items()} if isinstance(value, dict) else value[rows]


@dataclass(frozen=True)
class DataInfo:
    """What a method may know of the data when it is built: here, not in a YAML, it finds the widths of its heads."""

    n_base: int
    image_size: int  # 0 where the data set holds features
    way: int = 0  # of training episodes; 0 where the stage has none
    shot: int = 0  # the largest, where it is drawn from a range
    query: int = 0  # per class
    features: int = 0  # length of the features where the data set holds them instead of images
    words: Callable[[], Tensor] | None = field(default=None, repr=False)  # reads `semantics`
    base_counts: Sequence[int] = ()  # images of each base class; empty where they are not known

    @property
    def semantics(self) -> Tensor | None:
        """Word vectors of the base classes, [n_base, D]; they are read when a method asks for them, not before.

        Raises:
            UserError: where the data set has none.
        """
        return self.words() if self.words else None

    @property
    def word_dim(self) -> int:
        """D, the length of a word vector; 0 without word vectors."""
        return 0 if self.semantics is None else self.semantics.shape[1]
