"""Episodes: a pure function of (split, way, shot, query, seed, index).

Neither the method, the image size, the machine, the number of processes nor anything drawn before enters, so every
method is trained and tested on the same episodes, and a resumed run continues with the episodes that an uninterrupted
one draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..ops import random
from .store import Split


@dataclass(frozen=True)
class Shape:
    """The shape of an episode: N way, K shot, and queries per class.

    Where `shots` is given, the class drawn n-th has shots[n] supports, and `shot` is the largest of them. Where
    `queries` is given, it is the number of queries of all classes together, which chance divides unevenly among the
    classes; else each class has `query` queries. Where `alpha` is given, the classes' shares of all these queries are
    drawn from a Dirichlet distribution of this concentration: the smaller it is, the less balanced they are.
    """

    way: int
    shot: int
    query: int
    shots: tuple[int, ...] = ()
    queries: int = 0
    alpha: float = 0.0

    @property
    def even(self) -> bool:
        """Whether all classes have the same numbers of supports and of queries."""
        return not self.shots and not self.queries and not self.alpha

    @property
    def supports(self) -> tuple[int, ...]:
        """The number of supports of each class."""
        return self.shots or (self.shot,) * self.way

    @property
    def n_query(self) -> int:
        """Q, the queries of an episode."""
        return self.queries or self.way * self.query

    @property
    def most_of_a_class(self) -> int:
        """The queries that one class may have."""
        return self.n_query if self.alpha or self.queries else self.query

    @property
    def shot_name(self) -> int | str:
        """The shots in result files: 5, or 1+2+3+1+2."""
        return "+".join(map(str, self.shots)) or self.shot

    @property
    def query_name(self) -> int | str:
        """The queries in result files: 15, 75all, or 75dirichlet2."""
        if self.alpha:
            return f"{self.n_query}dirichlet{self.alpha:g}"
        return f"{self.queries}all" if self.queries else self.query

    def __str__(self) -> str:
        return f"{self.way}-way {self.shot_name}-shot"


@dataclass(frozen=True)
class Episodes:
    """T drawn episodes; ids are rows of the split's images."""

    classes: Tensor  # [T, N] classes of the split
    support: Tensor  # [T, n_s] class-major
    query: Tensor  # [T, Q] class-major
    query_y: Tensor  # [T, Q] in 0..N-1
    seed: Tensor  # [T] int64, for randomness inside a method

    def part(self, first: int, last: int) -> Episodes:
        """Episodes number first .. last - 1."""
        rows = slice(first, last)
        return Episodes(self.classes[rows], self.support[rows], self.query[rows], self.query_y[rows], self.seed[rows])


class EpisodeSampler:
    """Draws any episode of a split by its index.

    Raises:
        UserError: where the split has too few classes, or a class too few images.
    """

    def __init__(self, split: Split, shape: Shape, seed: int, key: str = "TASK.TEST") -> None:
        _refuse_too_few(split, shape, key)
        self.shape = shape
        self._counts = torch.from_numpy(split.counts)
        self._offsets = torch.from_numpy(np.cumsum(split.counts) - split.counts)
        # By the numbers that name an episode in results: queries of all classes together count as so many a class.
        per_class = str(Fraction(shape.n_query, shape.way))
        uneven = () if shape.even else (shape.shot_name, shape.query_name)
        self._key = random.key("episode", split.fingerprint, shape.way, shape.shot, per_class, seed, *uneven)
        # Images of a class from which its queries are taken: with a total, all queries could be of one class.
        self._spare = min(shape.most_of_a_class, split.counts.min() - shape.shot)

    def draw(self, index: Tensor) -> Episodes:
        """Episodes number `index` [T] int64."""
        way, shot = self.shape.way, self.shape.shot
        seed = random.mix(index * 2 + 1 ^ self._key)
        n_classes = torch.full_like(seed, len(self._counts))
        classes = random.subset(seed, "classes", n_classes, way)
        image_seed = random.hashes(seed, "images", way)
        within = random.subset(image_seed, "within", self._counts[classes], shot + self._spare)
        ids = within + self._offsets[classes][..., None]
        support = torch.cat([ids[:, n, :k] for n, k in enumerate(self.shape.supports)], dim=1)
        query_y, number = self._queries(seed)
        query = ids[..., shot:].flatten(1).gather(1, query_y * self._spare + number)
        return Episodes(classes, support, query, query_y, seed)

    def _queries(self, seed: Tensor) -> tuple[Tensor, Tensor]:
        """Label of each query and its number among its class's spare images, both [T, Q]."""
        if self.shape.alpha:
            return self._unbalanced(seed)
        slots = torch.arange(self.shape.way * self._spare).expand(len(seed), -1)
        if self.shape.queries:
            every = torch.full_like(seed, slots.shape[1])
            slots = random.subset(seed, "queries", every, self.shape.queries).sort(dim=1).values
        return slots // self._spare, slots % self._spare

    def _unbalanced(self, seed: Tensor) -> tuple[Tensor, Tensor]:
        """As `_queries`, with shares from a Dirichlet distribution (Veilleux et al., NeurIPS 2021)."""
        total = self.shape.n_query
        shares = random.dirichlet(seed, "shares", self.shape.way, self.shape.alpha)
        counts = round_shares(shares, total)
        ends, position = counts.cumsum(1), torch.arange(total).expand(len(seed), -1).contiguous()
        query_y = torch.searchsorted(ends, position, right=True)
        return query_y, position - (ends - counts).gather(1, query_y)


def round_shares(shares: Tensor, total: int) -> Tensor:
    """Whole numbers [T, N] that sum to `total` and are nearest to `total` times the shares: largest remainders first.

    Of equal remainders that of the lower class comes first.
    """
    exact = shares * total
    counts = exact.floor().long()
    missing = total - counts.sum(1, keepdim=True)
    rank = (counts - exact).argsort(dim=1, stable=True).argsort(dim=1)
    return counts + (rank < missing)


def _refuse_too_few(split: Split, shape: Shape, key: str) -> None:
    """Refuse a shape for which the split has too few classes or images."""
    if shape.way > len(split.classes):
        raise UserError(
            f"{key}.WAY is {shape.way}, but the {split.name} split of {split.dataset} has {len(split.classes)} "
            "classes; lower it."
        )
    smallest = int(split.counts.argmin())
    have, name = int(split.counts[smallest]), split.classes[smallest]
    where = f"of the {split.name} split of {split.dataset}"
    if shape.alpha:
        _refuse_too_few_unbalanced(shape, key, f"class {name!r} {where}", have)
    elif shape.shot + shape.query > have or (shape.queries and shape.shot >= have):
        sum_of = "SHOT + 1 query" if shape.queries else f"SHOT + {key}.QUERY"
        need = f"{shape.shot} + {1 if shape.queries else shape.query} = {shape.shot + max(1, shape.query)}"
        raise UserError(f"{key}.{sum_of} is {need}, but class {name!r} {where} has {have} images; lower one of them.")
    elif shape.queries > shape.way * (have - shape.shot):
        raise UserError(
            f"{key}.QUERIES is {shape.queries}, but {shape.way} classes {where} may have no more than "
            f"{shape.way * (have - shape.shot)} images beside their supports (class {name!r}); lower it."
        )


def _refuse_too_few_unbalanced(shape: Shape, key: str, smallest: str, have: int) -> None:
    """Refuse unbalanced queries that may be more than a class's images: all of them may be of one class."""
    if shape.shot + shape.n_query > have:
        total = f"{key}.QUERIES" if shape.queries else f"{key}.QUERY"
        raise UserError(
            f"{key}.QUERY_ALPHA is {shape.alpha:g}, so that all {shape.n_query} queries of an episode may be of one "
            f"class, but {smallest} has {have} images, {shape.shot} of them supports; lower {total}."
        )
