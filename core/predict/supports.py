"""The labelled photographs of a user, encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..episode import Features, Task
from ..errors import UserError
from ..ops import random
from .looks import NEAR, distances
from .network import Encoded, PhotoNetwork

MOST_FOLDS = 10


@dataclass(frozen=True)
class Supports:
    """n_s photographs of N classes, class after class."""

    classes: list[str]
    names: list[str]  # of the photographs
    sha256: list[str]
    labels: Tensor  # [n_s] int64 in 0..N-1, non-decreasing
    features: Features  # [n_s, ...]
    looks: np.ndarray  # [n_s, 32] uint8
    places: Tensor  # [n_s, D], see PhotoNetwork.places

    @property
    def counts(self) -> list[int]:
        """Photographs of each class."""
        return self.labels.bincount(minlength=len(self.classes)).tolist()

    def of(self, rows: Sequence[int]) -> Supports:
        """Some of them, in increasing order; every class must keep one."""
        index = torch.as_tensor(rows, dtype=torch.long)
        place = index.to(self.places.device)
        return Supports(
            self.classes,
            [self.names[row] for row in rows],
            [self.sha256[row] for row in rows],
            self.labels[index],
            {name: value[place] for name, value in self.features.items()},
            self.looks[index.numpy()],
            self.places[place],
        )


def make_supports(encoded: Encoded, network: PhotoNetwork) -> Supports:
    """Encoded photographs sorted by class.

    Raises:
        UserError: where fewer than two classes have a photograph.
    """
    classes = sorted({photo.label for photo in encoded.photos})
    if len(classes) < 2:
        raise UserError(f"{len(classes)} class has photos that can be read; give two classes or more.")
    number = {name: i for i, name in enumerate(classes)}
    order = sorted(range(len(encoded.photos)), key=lambda i: number[encoded.photos[i].label])
    photos = [encoded.photos[i] for i in order]
    place = torch.tensor(order, device=network.device)
    features = {name: value[place] for name, value in encoded.features.items()}
    return Supports(
        classes,
        [photo.name for photo in photos],
        [photo.sha256 for photo in photos],
        torch.tensor([number[photo.label] for photo in photos]),
        features,
        encoded.looks[order],
        network.places(features),
    )


def fold_numbers(supports: Supports) -> Tensor:
    """The fold [n_s] that holds each photograph out; -1 for those of a class that cannot spare any.

    Photographs of one class that look the same stand or fall together: one would give the other away. There are as many
    folds as the largest class has such groups, `MOST_FOLDS` at most, and a divisor of that where all classes agree, so
    that all folds have one shape.
    """
    groups = alike(supports)
    sizes = {len(members) for members in groups}
    most = min(MOST_FOLDS, max(sizes))
    if len(sizes) == 1:
        most = next(folds for folds in range(most, 0, -1) if max(sizes) % folds == 0)
    if most == 1:
        most = min(MOST_FOLDS, max(sizes))
    folds = torch.full((len(supports.names),), -1)
    for members in groups:
        for place, group in enumerate(members):
            folds[group] = place % most if len(members) > 1 else -1
    return folds


def alike(supports: Supports) -> list[list[list[int]]]:
    """The rows of each class's photographs, in groups of those that look the same."""
    return [_groups(supports, label) for label in range(len(supports.classes))]


def _groups(supports: Supports, label: int) -> list[list[int]]:
    """Rows of a class, those that look the same together."""
    rows = (supports.labels == label).nonzero()[:, 0].tolist()
    near = distances(supports.looks[rows], supports.looks[rows]) <= NEAR
    groups: list[list[int]] = []
    for i, row in enumerate(rows):
        group = next((group for group in groups if any(near[i, rows.index(other)] for other in group)), None)
        if group is None:
            groups.append([row])
        else:
            group.append(row)
    return groups


def make_task(
    support: Features,
    labels: Tensor,
    query: Features,
    way: int,
    seed: Tensor,
    words: Tensor | None = None,
    base: Features | None = None,
) -> Task:
    """T tasks of a user's classes.

    Args:
        support: [T, n_s, ...].
        labels: [n_s], the same in every task, non-decreasing.
        query: [T, Q, ...].
        way: N.
        seed: [T].
        words: [N, D], where the method reads them.
        base: [n_base, ...], where the method reads them.
    """
    tasks, queries = next(iter(query.values())).shape[:2]
    shots = labels.bincount(minlength=way)
    where = next(iter(query.values())).device
    return Task(
        support=support,
        support_y=labels.to(where).expand(tasks, -1),
        query=query,
        query_y=torch.zeros(tasks, queries, dtype=torch.long, device=where),
        way=way,
        shot=int(shots[0]) if bool((shots == shots[0]).all()) else None,
        class_ids=torch.full((tasks, way), -1, device=where),
        seed=seed.to(where),
        semantics=None if words is None else words.to(where).expand(tasks, -1, -1),
        base=base,
    )


def seed_of(supports: Supports) -> Tensor:
    """The seed [1] of what is random in a method: a function of the photographs' content."""
    return torch.tensor([random.key("photos", *supports.sha256)])
