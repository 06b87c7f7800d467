"""Which pseudo-labels a linear classifier learns easily: Huang et al., "O2U-Net", ICCV 2019."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .span import Span


def mean_losses(span: Span, labels: Tensor, start: Tensor, steps: int, rate: float, decay: float) -> Tensor:
    """Cross-entropy [T, n] of each vector, averaged over the steps of a classifier on all n of a task.

    The classifier is linear with a bias, which starts at 0. It learns by SGD with all vectors in a step and momentum
    0.9. Its rows stay combinations of the vectors: a step costs the same for every d.

    Args:
        span: of the n vectors.
        labels: [T, n] in 0..N-1.
        start: rows of the classifier, [T, N, n].
        steps: of SGD.
        rate: learning rate.
        decay: weight decay, of rows and biases.
    """
    target = F.one_hot(labels, start.shape[1]).to(start).transpose(1, 2)  # [T, N, n]
    state = F.pad(start, (0, 1))  # the last column is the bias
    gram = F.pad(F.pad(span.gram, (0, 1)), (0, 0, 0, 1), value=1.0)[:, :, :-1]  # [T, n + 1, n]
    velocity, losses = torch.zeros_like(state), torch.zeros_like(target[:, 0])
    for _ in range(steps):
        log_p = (state @ gram).log_softmax(1)
        losses -= (log_p * target).sum(1)
        slope = (log_p.exp() - target) / target.shape[2]
        slope = torch.cat([slope, slope.sum(2, keepdim=True)], dim=2)
        velocity.mul_(0.9).add_(slope).add_(state, alpha=decay)
        state = state - rate * velocity
    return losses / max(steps, 1)
