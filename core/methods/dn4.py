"""DN4: Li et al., "Revisiting Local Descriptor based Image-to-Class Measure for Few-shot Learning", CVPR 2019.

https://arxiv.org/abs/1903.12290
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Count, Positive
from ..ops.local_descriptors import descriptors, local_scores, matches, pyramid
from ..pictures import Matches, Picture, grid_regions
from ..registry import METHODS
from .base import Method


@METHODS.register("DN4")
class DN4(Method):
    """Naive-Bayes nearest neighbour on local descriptors.

    score(q, n) = sum over the descriptors x of the query of the k largest cos(x, y) among all descriptors y of the
    class's supports (the paper's equations 2 and 3); logits are scores / temperature.

    Args:
        k: neighbours; 3 in the paper, 1 in M2L.
        sides: empty for the h * w descriptors of the map; else the map is averaged to each of these sides and all
            positions together are the descriptors (multi-scale; M2L's PyramidFCN-5,2,1 is [5, 2, 1]).
        temperature: divides the scores.

    A score adds up k * h * w cosines, so **the size of the map acts as a scale**: 441 positions in the paper, 25 for
    Conv4 at 84 px, 4 for Conv4 at 32 px. For 32 px choose BACKBONE.ARGS.pools: 3 or 2, and another temperature where
    the backbone changes.
    Differs from the authors' code: similarities are made in blocks, for all tasks at once. M2L averages over the k
    neighbours, which is a temperature of k.

    Shapes: maps [T, n, C, h, w], descriptors [T, n, h * w, C], logits [T, Q, N].
    """

    needs = ("map",)

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        k: Count = 3,
        sides: Sequence[Count] = [],
        temperature: Positive = 1.0,
    ) -> None:
        super().__init__(backbone, info)
        self.k, self.sides, self.temperature = k, list(sides), temperature

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        query, support = (self._descriptors(features["map"]) for features in (task.query, task.support))
        return local_scores(query, support, task, self.k) / self.temperature

    def pictures(self, task: Task) -> list[Picture]:
        """Which positions of a class are the nearest neighbours of each position of a query."""
        query, support = (self._descriptors(features["map"]) for features in (task.query, task.support))
        regions = grid_regions(self.sides or [task.query["map"].shape[-1]])
        note = f"A line goes from each position of the query to its {self.k} most similar ones of the class."
        strength = matches(query, support, task, self.k)[0].clamp(min=0).cpu().numpy()
        return [Matches("Nearest local descriptors", note, strength, regions, regions)]

    def _descriptors(self, maps: Tensor) -> Tensor:
        return pyramid(maps, self.sides) if self.sides else descriptors(maps)
