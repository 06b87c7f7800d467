"""MAML: Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning", ICML 2017, https://arxiv.org/abs/1703.03400."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..errors import UserError
from ..registry import METHODS
from .base import Method


@METHODS.register("MAML")
class MAML(Method):
    """A network whose initial weights are learned so that a few gradient steps on the supports suffice.

    Inner loop: theta' = theta - inner_lr * grad L_support(theta), `steps` times in training and `test_steps` times
    at test (eq. 1). Outer loop: L_query(theta'), differentiated through the inner steps (second order) unless
    `first_order` is set.

    Args:
        inner_lr: of the inner steps.
        steps: inner steps in training; 5 in the paper for miniImageNet.
        test_steps: inner steps at test; 10 in the paper.
        first_order: treat the inner gradients as constants (FOMAML).

    Needs BACKBONE.ARGS.norm: batch. Batch-norm then normalises with the task's own images, always (with running
    statistics MAML scores chance), which makes it **transductive**: a query's logits depend on the other queries.
    `class_symmetric` is false: the initial head is learned, one row for each label.
    Differs from the authors' code: the outer gradient is clipped by its norm (OPTIM.CLIP), not by value.

    CIFAR-FS, Conv4 with 32 channels, 5-way: 58.9 +- 1.9 at 1 shot, 71.5 +- 1.0 at 5 (MetaOptNet's table 2).
    """

    needs = ("image",)
    transductive = True
    class_symmetric = False

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        inner_lr: float = 0.01,
        steps: int = 5,
        test_steps: int = 10,
        first_order: bool = False,
    ) -> None:
        super().__init__(backbone, info)
        if any(isinstance(m, nn.BatchNorm2d) and m.track_running_stats for m in backbone.modules()):
            raise UserError(
                "METHOD.NAME is MAML, but BACKBONE.ARGS.norm keeps running statistics, with which an adapted network "
                "scores chance; set BACKBONE.ARGS.norm to batch."
            )
        self.inner_lr, self.steps, self.test_steps, self.first_order = inner_lr, steps, test_steps, first_order
        self.head = nn.Linear(backbone.vector_dim, info.way)

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N] of the network adapted to each task.

        The tasks run one after another: on a CPU `vmap` turns their convolutions into slower grouped ones.
        """
        if task.way != self.head.out_features:
            raise UserError(
                f"TASK.TEST.WAY is {task.way}, but this MAML was trained with a head of {self.head.out_features} "
                "classes; evaluate at that way or train at this one."
            )
        learn = torch.is_grad_enabled()
        with torch.enable_grad():
            logits = [
                self._adapted_logits(support, labels, query, learn)
                for support, labels, query in zip(
                    task.support["image"], task.support_y, task.query["image"], strict=True
                )
            ]
        return torch.stack(logits)

    def _adapted_logits(self, support: Tensor, labels: Tensor, query: Tensor, learn: bool) -> Tensor:
        """One task: [n_s, 3, H, W], [n_s] and [Q, 3, H, W] to [Q, N]."""
        weights = {name: p if learn else p.detach().requires_grad_() for name, p in self._network().items()}
        for _ in range(self.steps if self.training else self.test_steps):
            loss = F.cross_entropy(self._run(weights, support), labels)
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=learn and not self.first_order)
            weights = {name: w - self.inner_lr * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
        return self._run(weights, query)

    def _network(self) -> dict[str, Tensor]:
        """The adapted parameters, by name."""
        return {name: p for name, p in self.named_parameters() if name.startswith(("backbone.", "head."))}

    def _run(self, weights: dict[str, Tensor], images: Tensor) -> Tensor:
        """Logits of images [n, 3, H, W] under other weights."""
        backbone = {n.removeprefix("backbone."): w for n, w in weights.items() if n.startswith("backbone.")}
        vector = functional_call(self.backbone, backbone, (images,))["vector"]
        return F.linear(vector, weights["head.weight"], weights["head.bias"])
