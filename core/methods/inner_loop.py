"""What the descendants of MAML share: a learned head for a fixed way, and a network that adapts to each task."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..errors import UserError
from ..limits import ZeroOrMore
from ..ops.adapt import descended_logits
from .base import Method

Weights = dict[str, Tensor]  # of a network, by the names of the method's parameters


def keeps_statistics(backbone: Backbone) -> bool:
    """Whether a batch-norm of the backbone keeps running statistics."""
    return any(isinstance(m, nn.BatchNorm2d) and m.track_running_stats for m in backbone.modules())


class LearnedHead(Method):
    """The initial head of every task is learned, one row for each label: hence one way, and `class_symmetric` false."""

    class_symmetric = False

    def __init__(self, backbone: Backbone, info: DataInfo) -> None:
        super().__init__(backbone, info)
        if info.way < 1:
            raise UserError(
                f"METHOD.NAME is {self.name}, whose initial head is trained for one way, but no episode trains it "
                "here; choose a method that learns from the supports alone, such as RFS."
            )
        self.head = nn.Linear(backbone.vector_dim, info.way)

    def refuse_way(self, task: Task) -> None:
        """Raise a UserError where the task has another way than the head."""
        if task.way != self.head.out_features:
            raise UserError(
                f"TASK.TEST.WAY is {task.way}, but this {self.name} was trained with a head of "
                f"{self.head.out_features} classes; evaluate at that way or train at this one."
            )


class AdaptedHead(LearnedHead):
    """Features are fixed in a task, and only the head adapts to it.

    Needs BACKBONE.ARGS.norm: running. Batch-norm then has running statistics at test, which makes the method inductive.
    """

    def __init__(self, backbone: Backbone, info: DataInfo) -> None:
        super().__init__(backbone, info)
        if any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules()) and not keeps_statistics(backbone):
            raise UserError(
                f"METHOD.NAME is {self.name}, which encodes images one by one, but with BACKBONE.ARGS.norm batch the "
                "features depend on the images beside it; set BACKBONE.ARGS.norm to running."
            )

    def descended(self, task: Task, rate: float, steps: int, first_order: bool) -> Tensor:
        """Logits [T, Q, N] of the head after so many steps at a rate on the supports; all tasks descend together."""
        self.refuse_way(task)
        support, query = task.support["vector"], task.query["vector"]
        head = (self.head.weight, self.head.bias)
        return descended_logits(support, task.support_y, query, *head, rate, steps, first_order)


class AdaptedNetwork(LearnedHead):
    """The whole network adapts to the supports of each task, and then classifies its queries.

    Needs BACKBONE.ARGS.norm: batch. Batch-norm then normalises with the task's own images, always (with running
    statistics an adapted network scores chance), which makes the method **transductive**: a query's logits depend on
    the other queries.
    """

    needs = ("image",)
    transductive = True

    def __init__(self, backbone: Backbone, info: DataInfo) -> None:
        super().__init__(backbone, info)
        if keeps_statistics(backbone):
            raise UserError(
                f"METHOD.NAME is {self.name}, but BACKBONE.ARGS.norm keeps running statistics, with which an adapted "
                "network scores chance; set BACKBONE.ARGS.norm to batch."
            )

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N] of the network adapted to each task.

        The tasks run one after another: on a CPU `vmap` turns their convolutions into slower grouped ones. Where
        nothing is learned, the graph of a task ends with it.
        """
        self.refuse_way(task)
        learn = torch.is_grad_enabled()
        logits = []
        for support, labels, query in zip(task.support["image"], task.support_y, task.query["image"], strict=True):
            with torch.enable_grad():
                of_task = self.adapted_logits(support, labels, query, learn)
            logits.append(of_task if learn else of_task.detach())
            del of_task  # else the graph would last until the next task's is complete
        return torch.stack(logits)

    def adapted_logits(self, support: Tensor, labels: Tensor, query: Tensor, learn: bool) -> Tensor:
        """One task: [n_s, 3, H, W], [n_s] and [Q, 3, H, W] to [Q, N]; `learn` if gradients must reach the network."""
        raise NotImplementedError

    def network(self) -> Weights:
        """The parameters of backbone and head, by name."""
        return {name: p for name, p in self.named_parameters() if name.startswith(("backbone.", "head."))}

    def run(self, weights: Weights, images: Tensor, step: int = 0) -> Tensor:
        """Logits of images [n, 3, H, W] under other weights; `step` is the inner step at hand, or the last one done."""
        backbone = {n.removeprefix("backbone."): w for n, w in weights.items() if n.startswith("backbone.")}
        vector = functional_call(self.backbone, backbone, (images,))["vector"]
        return F.linear(vector, weights["head.weight"], weights["head.bias"])


class InnerLoop(AdaptedNetwork):
    """The network takes gradient steps on the supports.

    A subclass says at which `rate` each parameter descends, and may say which parameters do (`adapts`).

    Args:
        steps: inner steps in training.
        test_steps: inner steps at test.
        first_order: treat the inner gradients as constants.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        steps: ZeroOrMore = 5,
        test_steps: ZeroOrMore = 10,
        first_order: bool = False,
    ) -> None:
        super().__init__(backbone, info)
        self.steps, self.test_steps, self.first_order = steps, test_steps, first_order

    @property
    def inner_steps(self) -> int:
        """Steps in the present mode."""
        return self.steps if self.training else self.test_steps

    def adapts(self, name: str) -> bool:
        """Whether a parameter of the network takes part in the inner steps."""
        return True

    def rate(self, name: str, step: int) -> float | Tensor:
        """What the gradient of a parameter is multiplied by in a step, counted from 0."""
        raise NotImplementedError

    def adapted_logits(self, support: Tensor, labels: Tensor, query: Tensor, learn: bool) -> Tensor:
        """As `AdaptedNetwork`, after the last step."""
        for weights in self.descend(support, labels, learn):
            adapted = weights
        return self.run(adapted, query, self.inner_steps - 1)

    def descend(self, support: Tensor, labels: Tensor, learn: bool) -> Iterator[Weights]:
        """The weights of the network before the first step and after each."""
        weights = {name: p if learn else p.detach().requires_grad_() for name, p in self.network().items()}
        yield weights
        names = [name for name in weights if self.adapts(name)]
        for step in range(self.inner_steps):
            loss = F.cross_entropy(self.run(weights, support, step), labels)
            descending = [weights[name] for name in names]
            gradients = torch.autograd.grad(loss, descending, create_graph=learn and not self.first_order)
            weights = dict(weights)
            for name, weight, gradient in zip(names, descending, gradients, strict=True):
                weights[name] = weight - self.rate(name, step) * gradient
            yield weights
