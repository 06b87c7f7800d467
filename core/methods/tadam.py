"""TADAM: Oreshkin, Rodriguez and Lacoste, "TADAM: Task dependent adaptive metric", NeurIPS 2018.

https://arxiv.org/abs/1805.10123
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone, Film
from ..episode import Batch, DataInfo, Task
from ..errors import UserError
from ..layers.scaled_normal import start_scaled_normal
from ..limits import NonNegative, Positive, Share
from ..objectives.loss import Loss
from ..ops import random
from ..ops.groups import mean_by_class
from ..registry import METHODS
from .protonet import Prototypical

PIXELS_AT_ONCE = 2**20  # of the images that pass the backbone together at test


@METHODS.register("TADAM")
class TADAM(Prototypical):
    """Prototypes on a backbone that is conditioned on the task, a scaled metric, and auxiliary co-training.

    The mean of the prototypes under the plain backbone is the task's embedding; a network (TEN) makes of it a gain and
    an offset for every channel of every convolution, and the conditioned backbone encodes supports and queries anew.
    With STREAM: both a linear classifier over all base classes trains beside, on the plain backbone. In the authors'
    code a step updates the network by it with probability auxiliary * 0.9^floor(20 t), t = 0..1 of the stage, and
    then, in any case, by the tasks: METHOD.ARGS.auxiliary_by: chance, and UPDATES: each in the stage.

    Args:
        metric: euclidean in the authors' code; the paper's text has the squared distance.
        scale: the paper's alpha.
        learn_scale: train it too.
        auxiliary: probability, or weight, of the classifier's loss at the start; in use with STREAM: both.
        auxiliary_by: chance, as in the authors' code, or weight: the loss is there in every step, times what would be
            its probability.
        multiplier_decay: weight decay of TEN's scalar multipliers, which start at 0: the plain backbone.

    Gains and offsets act behind the batch-norm of the 3x3 convolutions, not of the shortcuts. TEN starts as in the
    authors' code, see `start_scaled_normal`.

    Differs from the authors' code: PyTorch's weight decay takes the place of their L2 losses, and one momentum serves
    both updates.

    miniImageNet, ResNet-12, 5-way: 58.5 +- 0.3 at 1 shot, 76.7 +- 0.3 at 5 shots.
    """

    needs = ("image",)
    streams = ("episodes", "batches")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        metric: Literal["squared", "euclidean", "cosine"] = "euclidean",
        scale: Positive = 7.5,
        auxiliary: Share = 0.9,
        auxiliary_by: Literal["weight", "chance"] = "weight",
        multiplier_decay: NonNegative = 0.01,
        **scaling: Any,
    ) -> None:
        super().__init__(backbone, info, metric=metric, scale=scale, **scaling)
        if not backbone.film_widths:
            raise UserError(
                f"METHOD.NAME is TADAM, which changes the convolutions of its backbone by the task, but BACKBONE.NAME "
                f"{backbone.name} has no place for that; choose ResNet12T or Conv4."
            )
        self.condition = TaskEncoder(backbone.vector_dim, backbone.film_widths)
        self.classifier = nn.Linear(backbone.vector_dim, info.n_base)
        self.auxiliary, self.by_chance = auxiliary, auxiliary_by == "chance"
        self.multiplier_decay = multiplier_decay

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        support, query = task.support["image"], task.query["image"]
        film = self.condition(mean_by_class(self._vectors(support), task).mean(1))
        vectors = self._vectors(torch.cat([support, query], dim=1), film)
        support, query = vectors.split([support.shape[1], query.shape[1]], dim=1)
        return self.scale * self.similarity(query, mean_by_class(support, task))

    def _vectors(self, images: Tensor, film: Film | None = None) -> Tensor:
        """Vectors [T, n, D] of images [T, n, 3, H, W] under each task's film; at test time, in blocks of tasks."""
        tasks, n, _, *size = images.shape
        block = tasks if torch.is_grad_enabled() else max(1, PIXELS_AT_ONCE // (n * size[0] * size[1]))
        parts = []
        for start in range(0, tasks, block):
            in_block = slice(start, start + block)
            of_images = None
            if film:
                pairs = [(gain[in_block], offset[in_block]) for gain, offset in film]
                of_images = [(gain.repeat_interleave(n, 0), offset.repeat_interleave(n, 0)) for gain, offset in pairs]
            parts.append(self.backbone(images[in_block].flatten(0, 1), of_images)["vector"])
        return torch.cat(parts).unflatten(0, (tasks, n))

    @property
    def follows_progress(self) -> bool:
        return self.auxiliary > 0 or super().follows_progress

    def batch_logits(self, batch: Batch) -> Tensor:
        """Base-class logits [n, n_base] on the plain backbone."""
        return self.classifier(self.backbone(batch.inputs["image"])["vector"])

    def loss(self, item: Task | Batch) -> Loss:
        """The objective on tasks, and the auxiliary cross-entropy on batches, whose answers do not count.

        By chance, the loss of a batch may be a 0 without a gradient.
        """
        if isinstance(item, Task):
            return super().loss(item)
        weight = self.auxiliary * 0.9 ** int(20 * item.progress)
        if self.by_chance:
            if random.uniform(torch.tensor([item.seed]), "auxiliary") >= weight:  # alike in all processes
                return Loss(torch.zeros((), device=item.labels.device))
            weight = 1.0
        return Loss(weight * F.cross_entropy(self.batch_logits(item), item.labels))

    def special_groups(self, lr: float) -> list[dict]:
        """The multipliers have their own weight decay."""
        return [{"params": [self.condition.multipliers], "lr": lr, "weight_decay": self.multiplier_decay}]


class TaskEncoder(nn.Module):
    """TEN: a task's embedding [T, D] to (1 + g0 * g, b0 * b), [T, C] each, for every convolution of width C.

    g and b are `SkipLayers`; g0 and b0 are learned scalars.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(nn.ModuleList(SkipLayers(inputs, w) for _ in range(2)) for w in widths)
        self.multipliers = nn.Parameter(torch.zeros(len(widths), 2))
        start_scaled_normal(self.networks)

    def forward(self, embedding: Tensor) -> Film:
        """A gain and an offset for each convolution."""
        return [
            (1 + g0 * gain(embedding), b0 * offset(embedding))
            for (gain, offset), (g0, b0) in zip(self.networks, self.multipliers, strict=True)
        ]


class SkipLayers(nn.Module):
    """h = swish(P x), k = swish(h + M h), k + L k: a projection, then two layers whose input is added to their output.

    The sum is activated, as in the authors' code, and not the middle layer's output alone.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.project, self.middle, self.last = (
            nn.Linear(inputs, width),
            nn.Linear(width, width),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[T, inputs] to [T, width]."""
        x = F.silu(self.project(x))
        x = F.silu(x + self.middle(x))
        return x + self.last(x)
