"""MAML++: Antoniou, Edwards and Storkey, "How to train your MAML", ICLR 2019, https://arxiv.org/abs/1810.09502."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import Batch, DataInfo, Task
from ..layers.named_tensors import NamedTensors
from ..limits import Count, NonNegative, Share
from ..objectives.loss import Loss, weighted_sum
from ..registry import METHODS
from .inner_loop import InnerLoop, Weights

EPOCHS = 100  # of the authors' training, by which the weights of the steps are annealed
LEAST = 0.03  # of what the weight of an early step was


@METHODS.register("MAML++")
class MAMLPlusPlus(InnerLoop):
    """MAML with a loss after every inner step, learned rates, and batch-norms of their own for each step.

    * Multi-step loss: while less than `multi_step` of the stage is done, L = sum_k w_k L_query(theta_k) over the steps
      k = 1..S, with weights that start equal and move to the last step. Afterwards L = L_query(theta_S).
    * Rates: one for each parameter tensor and step, of any sign, trained with the weights.
    * Batch-norm: a gain and an offset for each step, learned in the outer loop alone. The queries of step k see those
      of its supports. Statistics are always those of the images at hand.

    Args:
        inner_lr: where the rates of the inner steps start.
        steps: inner steps, in training and at test.
        multi_step: share of the stage with a loss after every step; 15 of 100 epochs in the paper.
        learn_rates: train the rates of the inner steps.
        norm_per_step: batch-norms of their own for each step; else they take the inner steps as all other weights do.

    Without its three parts this is MAML with as many steps at test as in training. Transductive by its batch-norm, see
    `AdaptedNetwork`.
    Differs from the authors' code: the outer gradient is clipped by its norm (STAGE.meta.OPTIM.CLIP), not by value;
    running means, which the code keeps and never reads, are left out. Their tests average the logits of the five best
    epochs, which EVAL.ENSEMBLE does for every method; the published 52.15 and 68.32 on miniImageNet are those of such
    ensembles.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        inner_lr: NonNegative = 0.01,
        steps: Count = 5,
        multi_step: Share = 0.15,
        learn_rates: bool = True,
        norm_per_step: bool = True,
    ) -> None:
        super().__init__(backbone, info, steps=steps, test_steps=steps)
        self.multi_step = multi_step
        norms = _norms(backbone) if norm_per_step else {}
        self.norms = NamedTensors({name: p.detach().expand(steps, -1).clone() for name, p in norms.items()})
        for p in norms.values():
            p.requires_grad_(False)  # the tables stand in their place
        adapted = [name for name in self.network() if self.adapts(name)]
        self.rates = NamedTensors({name: torch.full((steps,), inner_lr) for name in adapted})
        self.rates.requires_grad_(learn_rates)

    @property
    def follows_progress(self) -> bool:
        return self.multi_step > 0 or super().follows_progress

    def adapts(self, name: str) -> bool:
        """All but the batch-norms of the steps."""
        return name not in self.norms

    def rate(self, name: str, step: int) -> Tensor:
        """One for each tensor and step."""
        return self.rates[name][step]

    def run(self, weights: Weights, images: Tensor, step: int = 0) -> Tensor:
        """As `InnerLoop`, with the batch-norms of a step."""
        return super().run(
            weights | {name: self.norms[name][step] for name in weights if name in self.norms}, images, step
        )

    def loss(self, item: Task | Batch) -> Loss:
        """The objective after every step, weighted, or after the last; training accuracy is that of the last."""
        weights = self.step_weights(item.progress)
        if isinstance(item, Batch) or not weights:
            return super().loss(item)
        self.refuse_way(item)
        after_steps = zip(
            *(
                self.logits_of_steps(support, labels, query)
                for support, labels, query in zip(
                    item.support["image"], item.support_y, item.query["image"], strict=True
                )
            ),
            strict=True,
        )
        losses = [self.judge(torch.stack(logits), item.query_y, item) for logits in after_steps]
        return replace(weighted_sum(losses, weights), logits=losses[-1].logits, y=losses[-1].y)

    def logits_of_steps(self, support: Tensor, labels: Tensor, query: Tensor) -> list[Tensor]:
        """One task: its query logits [Q, N] after each of the S steps."""
        _, *adapted = self.descend(support, labels, learn=True)
        return [self.run(weights, query, step) for step, weights in enumerate(adapted)]

    def step_weights(self, progress: float) -> list[float]:
        """w_1..w_S at a point of the stage, counted in epochs e of 100; none once the multi-step loss is over.

        With E epochs of it, w_k = max(1/S - e/(S E), 0.03/S) for k < S, and the last step has the rest.
        """
        epoch, last = int(EPOCHS * progress + 1e-6), EPOCHS * self.multi_step
        if epoch >= last:
            return []
        early = max(1 - epoch / last, LEAST) / self.steps
        return [early] * (self.steps - 1) + [1 - early * (self.steps - 1)]

    def scalars(self, progress: float = 1.0) -> dict[str, float]:
        """The objective's, and the mean rate of the inner steps."""
        return super().scalars(progress) | {"inner_lr": self.rates.mean()}


def _norms(backbone: Backbone) -> dict[str, nn.Parameter]:
    """Gains and offsets of the batch-norms, by their names in a method."""
    return {
        f"backbone.{layer}.{name}": p
        for layer, module in backbone.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for name, p in module.named_parameters()
    }
