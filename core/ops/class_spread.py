"""Variance between and within classes in feature space."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def class_spread(vectors: Tensor, labels: Tensor) -> tuple[float, float]:
    """Variance between classes and variance within them, of vectors scaled to length 1; in float64.

    Between: the mean squared distance of two different classes' means. Within: the mean squared distance of a class's
    vectors to its mean, averaged over classes. Their ratio is a feature's discriminability.

    Args:
        vectors: [n, d].
        labels: [n]; classes without a vector do not count.
    """
    z = F.normalize(vectors.double(), dim=1)
    classes, index, counts = labels.unique(return_inverse=True, return_counts=True)
    means = z.new_zeros(len(classes), z.shape[1]).index_add_(0, index, z) / counts[:, None]
    within = (z - means[index]).square().sum(1)
    within = within.new_zeros(len(classes)).index_add_(0, index, within) / counts
    between = torch.pdist(means).square()
    return float(between.mean()), float(within.mean())
