"""MML (M2L): Chen et al., "Multi-level Metric Learning for Few-shot Image Recognition", ICANN 2022.

https://arxiv.org/abs/2103.11383
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..errors import UserError
from ..layers.part_graph import Graph, PartGraph
from ..limits import Count, NonNegative, Positive
from ..objectives.loss import Loss, weighted_sum
from ..ops.distances import squared_euclidean
from ..ops.gaussians import gaussian, kl_divergence, wasserstein
from ..ops.groups import class_mean, class_shots
from ..ops.local_descriptors import descriptors, local_scores, matches
from ..pictures import Matches, Picture, grid_regions
from ..registry import METHODS
from .base import Method


@METHODS.register("MML")
class MML(Method):
    """A query is compared with a class at three levels, and the three answers are mixed.

    part          s(q, n) = sum_i max_j cos(u_i(q), G(v_j)): crops of the query against all crops of the class
    pixel         s(q, n) = sum_p max_r cos(x_p(q), x_r): positions of the query's map against all of the class (DN4)
    distribution  s(q, n) = -d(q, n), between the images as wholes

    G is a graph embedding of the supports' crops (`core.layers.part_graph`). Loss: sum of weight * CE(s), where the
    distribution's s is divided by `temperature`. Logits: log of the weighted mean of the three softmaxes, of scores
    that are divided by nothing; their argmax is that of the authors' score.

    Args:
        graph: which crops G links: identity (none: a perceptron for each crop, what the authors' code computes), class
            (what the paper means), or knn.
        neighbours: of a crop, knn.
        distribution: d is the squared distance of averages (prototype, the final paper), the divergence (kl), or the
            approximate 2-Wasserstein distance (wasserstein) of Gaussians of map positions, as in the first version.
        fusion: fixed mixes as above; learned mixes scores by batch-norm and a convolution, see `LearnedFusion`.
        part_weight, pixel_weight, distribution_weight: of the levels. A level of weight 0 is not computed, and
            features that no level uses are not encoded (without the part level, set DATASET.VIEWS to [whole]).
            With a learned fusion they are where the convolution starts.
        temperature: divides the distribution's scores in the loss of the fixed fusion.

    `class_symmetric` is false for a learned fusion, whose batch-norm has a parameter for each class.
    Differs from the authors' code, which cannot run as released (its head asks for full images and crops, its data
    has crops alone): here it gets both. A level's pool of a class is all its supports', shots unequal or not.

    miniImagenet, ResNet-12, 5-way: 67.58 +- 0.23 at 1 shot, 81.41 +- 0.20 at 5 shots (quoted in a secondary source).
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        graph: Graph = "identity",
        neighbours: Count = 5,
        distribution: Literal["prototype", "kl", "wasserstein"] = "prototype",
        fusion: Literal["fixed", "learned"] = "fixed",
        part_weight: NonNegative = 1.0,
        pixel_weight: NonNegative = 0.5,
        distribution_weight: NonNegative = 0.5,
        temperature: Positive = 64.0,
    ) -> None:
        super().__init__(backbone, info)
        self.weights = _levels(part=part_weight, pixel=pixel_weight, distribution=distribution_weight)
        self.distribution = distribution
        self.temperature = temperature
        self.needs = self._features()
        if backbone.vector != "mean" and {"vector", "parts"} & set(self.needs):
            raise UserError(
                f"BACKBONE.VECTOR is {backbone.vector}, but MML compares averages over the map; set it to mean."
            )
        self.graph = PartGraph(backbone.channels, graph, neighbours) if "part" in self.weights else None
        learned = fusion == "learned"
        self.fusion = LearnedFusion(info.way, list(self.weights.values())) if learned else None
        self.class_symmetric = not learned

    def _features(self) -> tuple[str, ...]:
        """The features that the levels in use compare."""
        of = {"part": "parts", "pixel": "map", "distribution": "vector" if self.distribution == "prototype" else "map"}
        return tuple(dict.fromkeys(of[level] for level in self.weights))

    def scores(self, task: Task) -> dict[str, Tensor]:
        """The raw scores [T, Q, N] of each level in use."""
        compute = {"part": self._parts, "pixel": self._pixels, "distribution": self._distribution}
        return {level: compute[level](task) for level in self.weights}

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        scores = self.scores(task)
        if self.fusion is not None:
            return self.fusion(list(scores.values()))
        return self._mixed(scores)

    def base_logits(self, task: Task) -> Tensor:
        """Refused: the levels' softmaxes run over the classes of a task.

        Raises:
            UserError: always.
        """
        raise UserError(
            "MML mixes softmaxes over the classes of a task, so it cannot score base classes apart from them; leave "
            "--generalized out."
        )

    def loss(self, item: Task) -> Loss:  # type: ignore[override]  # its one stream is episodes
        """The weighted sum of the levels' losses; with a learned fusion, the loss of the fused logits.

        With fixed fusion, the training accuracy is the mean over the levels.
        """
        if self.fusion is not None:
            return super().loss(item)
        scale = {"part": 1.0, "pixel": 1.0, "distribution": 1 / self.temperature}
        scores = self.scores(item)
        losses = [self.judge(scale[level] * score, item.query_y, item) for level, score in scores.items()]
        return weighted_sum(losses, [self.weights[level] for level in scores])

    def _mixed(self, scores: dict[str, Tensor]) -> Tensor:
        """log sum_l weight_l softmax(s_l) / sum_l weight_l."""
        total = math.fsum(self.weights.values())
        return torch.stack(
            [score.log_softmax(-1) + math.log(self.weights[level] / total) for level, score in scores.items()]
        ).logsumexp(0)

    def _parts(self, task: Task) -> Tensor:
        assert self.graph is not None, "the part level is in use"
        embedded = self.graph(task.support["parts"], task.support_y)
        return local_scores(task.query["parts"], embedded, task)

    def _pixels(self, task: Task) -> Tensor:
        return local_scores(descriptors(task.query["map"]), descriptors(task.support["map"]), task)

    def pictures(self, task: Task) -> list[Picture]:
        """Which position of a class is the nearest to each position of a query, where the pixel level is in use."""
        if "pixel" not in self.weights:
            return []
        query, support = (descriptors(features["map"]) for features in (task.query, task.support))
        regions = grid_regions([task.query["map"].shape[-1]])
        note = "A line goes from each position of the query to the most similar one of the class: the pixel level."
        strength = matches(query, support, task)[0].clamp(min=0).cpu().numpy()
        return [Matches("Nearest positions", note, strength, regions, regions)]

    def _distribution(self, task: Task) -> Tensor:
        if self.distribution == "prototype":
            return -squared_euclidean(task.query["vector"], class_mean(task, "vector"))
        query, support = (descriptors(features["map"]) for features in (task.query, task.support))
        classes = [gaussian(of.flatten(1, 2)) for of in support.split(class_shots(task), dim=1)]
        distance = kl_divergence if self.distribution == "kl" else wasserstein
        return -distance(gaussian(query), classes)


class LearnedFusion(nn.Module):
    """sum_l w_l * BN(s_l), as in M2L's first version: BatchNorm1d(levels * N), then a convolution of dilation N.

    Batch-norm normalises each class's score of each level over the queries of all tasks, with a factor and an offset
    of its own: the number of classes is fixed in training, and their order matters.

    Args:
        way: N of the training episodes.
        weights: where the convolution starts (the authors' code: at random).
    """

    def __init__(self, way: int, weights: list[float]) -> None:
        super().__init__()
        self.way = way
        self.norm = nn.BatchNorm1d(len(weights) * way)
        self.mix = nn.Conv1d(1, 1, len(weights), dilation=way, bias=False)
        self.mix.weight.data.copy_(torch.tensor(weights).view(1, 1, -1))

    def forward(self, scores: list[Tensor]) -> Tensor:
        """Fuse the scores of the levels, each [T, Q, N], to one [T, Q, N]."""
        tasks, queries, way = scores[0].shape
        if way != self.way:
            raise UserError(
                f"TASK.TEST.WAY is {way}, but this MML learned to mix the scores of {self.way} classes; evaluate at "
                "that way, train at this one, or set METHOD.ARGS.fusion to fixed."
            )
        rows = torch.cat(scores, dim=2).flatten(0, 1)
        return self.mix(self.norm(rows)[:, None]).view(tasks, queries, way)


def _levels(**weights: float) -> dict[str, float]:
    """The levels in use: those of positive weight."""
    if not any(weights.values()):
        raise UserError("METHOD.ARGS gives all three levels of MML weight 0; leave one of them above 0.")
    return {level: weight for level, weight in weights.items() if weight}
