"""RelationNet: Sung et al., "Learning to Compare: Relation Network for Few-shot Learning", CVPR 2018.

https://arxiv.org/abs/1711.06025
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone, ConvBN
from ..episode import DataInfo, Task
from ..limits import Count
from ..ops.groups import class_shots, mean_by_class
from ..registry import METHODS
from .base import Method

AT_ONCE = 2**24  # values after the first convolution that an evaluation holds at once: 64 MiB


@METHODS.register("RelationNet")
class RelationNet(Method):
    """A learned comparison: r(q, n) = g([sum of the maps of class n's supports; map of q]) (eqs. 1 and 3).

    g is a `Relation`. Its output before the sigmoid is the logit: OBJECTIVE.NAME mse, the paper's loss, puts the
    sigmoid there itself, and ce (Chen et al. 2019, mmfewshot) does without one.

    Args:
        hidden: width between g's two linear layers.

    Differs from the authors' code: batch-norm in g keeps running statistics of momentum 0.1 (theirs 1: those of the
    last batch); layers are initialised as torch does. mmfewshot averages the shots.

    CIFAR-FS, 64-96-128-256 channels, 5-way: 55.0 +- 1.0 at 1 shot, 69.3 +- 0.8 at 5 (MetaOptNet's table 2).

    Shapes: maps [T, n, C, h, w], logits [T, Q, N].
    """

    needs = ("map",)

    def __init__(self, backbone: Backbone, info: DataInfo, *, hidden: Count = 8) -> None:
        super().__init__(backbone, info)
        self.relation = Relation(backbone.channels, backbone.map_size, hidden)

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]; in training all tasks share the statistics of batch-norm."""
        query, support = task.query["map"], task.support["map"]
        shots = torch.tensor(class_shots(task), device=support.device)
        classes = mean_by_class(support, task) * shots[:, None, None, None]
        pairs = query[0].numel() * task.way
        tasks = len(query) if self.training else max(1, AT_ONCE // pairs)
        return torch.cat([self.relation(*part) for part in zip(query.split(tasks), classes.split(tasks), strict=True)])


class Relation(nn.Module):
    """Two blocks of [3x3 convolution, batch-norm, ReLU, 2x2 max-pool], then a linear layer, ReLU, and another.

    As in the paper, maps of 19x19 and 21x21 are convolved without padding and leave 3x3. Below a side of 10 nothing
    would be left: there the convolutions keep the size, and a map of one position is not pooled further.

    The first convolution is linear in the concatenated maps, so it is applied to queries and classes apart, Q + N
    times in place of Q * N, and its results are added.
    """

    def __init__(self, channels: int, side: int, hidden: int) -> None:
        super().__init__()
        self.padding = 1 if side < 10 else 0
        self.blocks, self.pools = nn.ModuleList(), nn.ModuleList()
        for in_channels in (2 * channels, channels):
            self.blocks.append(ConvBN(in_channels, channels, 3, bias=True, norm="running", padding=self.padding))
            side += 2 * self.padding - 2
            self.pools.append(nn.MaxPool2d(2) if side > 1 else nn.Identity())
            side = max(1, side // 2)
        self.head = nn.Sequential(nn.Linear(channels * side**2, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, query: Tensor, classes: Tensor) -> Tensor:
        """Queries [T, Q, C, h, w] and classes [T, N, C, h, w] to [T, Q, N]."""
        shape = (*query.shape[:2], classes.shape[1])
        x = self.pools[0](self.blocks[0][1](self._first(query, classes)).relu())
        x = self.pools[1](self.blocks[1](x).relu())
        return self.head(x.flatten(1)).view(shape)

    def _first(self, query: Tensor, classes: Tensor) -> Tensor:
        """The first convolution of [class; query], [T * Q * N, C, h', w']."""
        conv = self.blocks[0][0]
        for_class, for_query = conv.weight.chunk(2, dim=1)
        of_query = F.conv2d(query.flatten(0, 1), for_query, conv.bias, padding=self.padding)
        of_class = F.conv2d(classes.flatten(0, 1), for_class, padding=self.padding)
        pairs = of_query.unflatten(0, query.shape[:2])[:, :, None] + of_class.unflatten(0, classes.shape[:2])[:, None]
        return pairs.flatten(0, 2)
