"""iMAML: Rajeswaran, Finn, Kakade and Levine, "Meta-Learning with Implicit Gradients", NeurIPS 2019.

https://arxiv.org/abs/1909.04630
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Count, NonNegative, Positive, ZeroOrMore
from ..ops.implicit import Proximal, proximal_minimum
from ..ops.proximal_head import proximal_logits
from ..registry import METHODS
from .inner_loop import AdaptedHead, AdaptedNetwork, Weights


@METHODS.register("iMAML")
class IMAML(AdaptedNetwork):
    """The network that is best on the supports and near the initial one; gradients pass through its condition alone.

    phi = argmin L_support(phi) + penalty / 2 |phi - theta|^2, by gradient descent from theta. The outer gradient is
    (I + H / penalty)^-1 grad L_query(phi), with the Hessian H of L_support at phi, by conjugate gradients. No inner
    step is kept, so memory does not grow with their number.

    Args:
        penalty: the paper's lambda; 2 for Omniglot.
        inner_lr: of the inner steps.
        steps: inner steps in training; 16 in the paper for Omniglot, 5-way.
        test_steps: inner steps at test.
        cg_steps: of the conjugate gradients; 5 in the paper.
        damping: of the system: 0 is the paper's, and 1 that of the authors' code, 2 I + H / (penalty + 10).

    Transductive by its batch-norm, see `AdaptedNetwork`.
    Differs from the authors' code, and agrees with the paper: every inner step has the penalty, not the last one alone,
    and the penalty is the same at test. Their code has no recipe for miniImageNet, where the paper has 49.30 +- 1.88.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        penalty: Positive = 2.0,
        inner_lr: NonNegative = 0.1,
        steps: ZeroOrMore = 16,
        test_steps: ZeroOrMore = 16,
        cg_steps: Count = 5,
        damping: NonNegative = 0.0,
    ) -> None:
        super().__init__(backbone, info)
        self.training_problem = Proximal(penalty, inner_lr, steps, cg_steps, damping)
        self.test_problem = Proximal(penalty, inner_lr, test_steps, cg_steps, damping)

    def adapted_logits(self, support: Tensor, labels: Tensor, query: Tensor, learn: bool) -> Tensor:
        """One task: [n_s, 3, H, W], [n_s] and [Q, 3, H, W] to [Q, N]."""
        network = self.network()
        sizes = [p.numel() for p in network.values()]

        def weights(vector: Tensor) -> Weights:
            parts = zip(network.items(), vector.split(sizes), strict=True)
            return {name: part.view(p.shape) for (name, p), part in parts}

        def loss(vector: Tensor) -> Tensor:
            return F.cross_entropy(self.run(weights(vector), support), labels)

        theta = torch.cat([(p if learn else p.detach()).flatten() for p in network.values()])
        problem = self.training_problem if self.training else self.test_problem
        return self.run(weights(proximal_minimum(theta, loss, problem)), query)


@METHODS.register("iMAMLHead")
class IMAMLHead(AdaptedHead):
    """iMAML on the head alone, with fixed features as in ANIL: the inner problem is convex and is solved exactly.

    W = argmin mean CE(W z, y) + penalty / 2 |W - W0|^2 over the supports, bias included, by Newton's method; the
    implicit gradient takes one solution with the same Hessian. All tasks at once, see `proximal_logits`.

    Args:
        penalty: of the distance from the initial head.

    Differs from the paper, which adapts the whole network.
    """

    def __init__(self, backbone: Backbone, info: DataInfo, *, penalty: Positive = 2.0) -> None:
        super().__init__(backbone, info)
        self.penalty = penalty

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        self.refuse_way(task)
        support, query = task.support["vector"], task.query["vector"]
        return proximal_logits(support, task.support_y, query, self.head.weight, self.head.bias, self.penalty)
