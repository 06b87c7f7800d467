"""Reference episodes: tasks of other classes, whose queries are labelled, at a user's way and shot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import progress
from ..episode import Features
from ..methods.base import Method
from ..ops import random
from ..ops.temperature import fit_inverse_temperature, wide_prior
from .calibration import Calibration, Line, fit_line, rejection_levels
from .supports import make_task

EPISODES = 200
MOST_QUERIES = 30  # of a class in an episode
LEAST_QUERIES = 5
MEMORY = 2**28  # bytes of supports and queries that are classified together


@dataclass(frozen=True)
class Pool:
    """Photographs of reference classes, encoded, class after class.

    Args:
        name: of the reference, for people.
        counts: photographs of each class.
        features: [M, ...].
        places: [M, D], see PhotoNetwork.places.
        words: word vectors of the classes [classes, D], where the method reads them.
    """

    name: str
    counts: Sequence[int]
    features: Features
    places: Tensor
    words: Tensor | None = None


@dataclass(frozen=True)
class Drawn:
    """E reference episodes; images are rows of the pool."""

    classes: Tensor  # [E, N]
    supports: Tensor  # [E, N, K]
    queries: Tensor  # [E, N, Q]
    seed: Tensor  # [E]


def draw(pool: Pool, way: int, shot: int, episodes: int, queries: int) -> Drawn:
    """Reference episodes number 0 .. `episodes` - 1. Their queries are the same for every shot up to a class's number.

    Queries are drawn before supports, and the supports of a smaller shot are among those of a larger one.
    """
    seed = random.hashes(torch.tensor(random.key("reference", way)), "episodes", episodes)
    counts = torch.tensor(list(pool.counts))
    offsets = counts.cumsum(0) - counts
    classes = random.subset(seed, "classes", torch.full_like(seed, len(counts)), way)
    within = random.subset(random.hashes(seed, "images", way), "within", counts[classes], queries + shot)
    rows = within + offsets[classes][..., None]
    return Drawn(classes, rows[..., queries:], rows[..., :queries], seed)


def usable_shots(pool: Pool, shots: Sequence[int]) -> list[int]:
    """The shots that leave enough queries in every class."""
    return [shot for shot in shots if min(pool.counts) - shot >= LEAST_QUERIES]


@torch.no_grad()
def calibrate(
    head: Method, pool: Pool, way: int, shot: int, more_shots: Sequence[int], base: Features | None = None
) -> Calibration:
    """What the pool says about a method in eval mode at a way and shot, and at more shots with this shot's supports.

    `base` are mean features of base classes, where the method reads them. The pool has enough classes and images.
    """
    largest = max([shot, *more_shots])
    queries = min(MOST_QUERIES, min(pool.counts) - largest)
    whole = draw(pool, way, largest, EPISODES, queries)
    drawn = _with_shot(whole, shot)
    examiner = Examiner(head, pool, base)
    logits = examiner.query_logits(drawn)
    truth = torch.arange(way).repeat_interleave(queries).expand(EPISODES, -1)
    held_out = examiner.held_out_logits(drawn) if shot > 1 else None
    held_truth = torch.arange(way).repeat_interleave(shot).expand(EPISODES, -1)
    correct = None if held_out is None else _share(held_out, held_truth)
    lines: dict[int, Line] = {}
    for target in sorted({shot, *more_shots}):
        others = logits if target == shot else examiner.query_logits(_with_shot(whole, target))
        lines[target] = fit_line(_share(others, truth), way * queries, correct, way * shot)
    best = _log_tau(logits, truth)
    centre, spread = best.mean(), best.std()
    shift = best.new_zeros(())
    if held_out is not None:
        fitted = fit_inverse_temperature(held_out, held_truth, centre.expand(EPISODES), spread.expand(EPISODES)).log()
        shift = (best - fitted).mean()
    near, near_supports = examiner.similarities(drawn)
    rejection = rejection_levels(near, near_supports)
    numbers = (float(centre), float(spread), float(shift))
    return Calibration(pool.name, way, shot, EPISODES, lines, *numbers, rejection)


def _with_shot(drawn: Drawn, shot: int) -> Drawn:
    """The same episodes with fewer supports."""
    return replace(drawn, supports=drawn.supports[..., :shot])


class Examiner:
    """Classifies reference episodes, as many together as the memory allows."""

    def __init__(self, head: Method, pool: Pool, base: Features | None) -> None:
        self._head, self._pool, self._base = head, pool, base
        self._bytes = sum(value[0].nbytes for value in pool.features.values())

    def query_logits(self, drawn: Drawn) -> Tensor:
        """Logits [E, N * Q, N] of the queries."""
        return self._ask(drawn.supports, drawn.queries, drawn.classes, drawn.seed)

    def held_out_logits(self, drawn: Drawn) -> Tensor:
        """Logits [E, N * K, N] of the supports, each held out with one of every other class."""
        shot = drawn.supports.shape[2]
        parts = []
        for out in range(shot):
            kept = [k for k in range(shot) if k != out]
            seed = random.mix(drawn.seed + out)
            parts.append(self._ask(drawn.supports[..., kept], drawn.supports[..., out : out + 1], drawn.classes, seed))
        return torch.stack(parts, dim=2).flatten(1, 2)

    def similarities(self, drawn: Drawn) -> tuple[Tensor, Tensor | None]:
        """Cosine with the nearest support: of the queries [E, N * Q], and of each support with the other ones."""
        places = F.normalize(self._pool.places.cpu().double(), dim=1)
        supports, queries = places[drawn.supports.flatten(1)], places[drawn.queries.flatten(1)]
        near = (queries @ supports.transpose(1, 2)).amax(-1)
        if drawn.supports.shape[2] == 1:
            return near, None
        among = supports @ supports.transpose(1, 2)
        among.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
        return near, among.amax(-1)

    def _ask(self, supports: Tensor, queries: Tensor, classes: Tensor, seed: Tensor) -> Tensor:
        """Logits [E, Q, N] float64 on the CPU of queries [E, N, q] under supports [E, N, k]."""
        way, shot = supports.shape[1:]
        labels = torch.arange(way).repeat_interleave(shot)
        size = self._bytes * (way * shot + queries[0].numel())
        chunk = max(1, min(len(seed), MEMORY // size))
        logits = []
        with progress.bar(len(seed), "episodes", name="reference") as bar:
            for rows in torch.arange(len(seed)).split(chunk):
                support, query = self._gather(supports[rows]), self._gather(queries[rows])
                words = None if self._pool.words is None else self._pool.words[classes[rows]]
                task = make_task(support, labels, query, way, seed[rows], words, self._base)
                logits.append(self._head.answer(task).double().cpu())
                bar.update(len(rows))
        return torch.cat(logits)

    def _gather(self, rows: Tensor) -> Features:
        """Features [E, n, ...] of rows [E, N, k] of the pool."""
        index = rows.flatten(1)
        return {name: table[index.to(table.device)] for name, table in self._pool.features.items()}


def _share(logits: Tensor, truth: Tensor) -> Tensor:
    """Share of right answers of each episode, [E]."""
    return (logits.argmax(-1) == truth).double().mean(1)


def _log_tau(logits: Tensor, truth: Tensor) -> Tensor:
    """The best log tau of each episode [E], under a wide prior."""
    return fit_inverse_temperature(logits, truth, *wide_prior(logits)).log()
