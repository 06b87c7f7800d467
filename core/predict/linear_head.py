"""Find out whether a head's answers are linear in an image's vector, and write them as one matrix.

Nearest means, ridge regression, logistic regression and heads trained by gradient descent all are, with the vector as
it is or scaled to length 1. So the head is asked about vectors that differ from a centre along one axis each, which
gives the matrix, and then about others, which shows whether the matrix says the same. No method is known by name.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ..ops import random
from .classifier import Classifier

CLOSE = 1e-4  # by which probabilities may differ
TRIALS = 256  # vectors on which the matrix is tried


@dataclass(frozen=True)
class LinearHead:
    """logits = x W^T + b with x = v - centre, or that scaled to length 1.

    Logits of a photograph may be shifted against the head's own by one number, which changes no probability.
    """

    weight: Tensor  # [N, D] float64
    bias: Tensor  # [N]
    centre: Tensor  # [D]
    unit: bool

    def logits(self, vectors: Tensor) -> Tensor:
        """Logits [Q, N] of vectors [Q, D]."""
        x = vectors.double() - self.centre
        return (F.normalize(x, dim=1) if self.unit else x) @ self.weight.T + self.bias


def linear_head(classifier: Classifier, tau: float) -> LinearHead:
    """The head of a classifier as a matrix; `tau` is the factor of its logits.

    Raises:
        UserError: where its answers are not linear in an image's vector.
    """
    head, supports = classifier.head, classifier.supports
    features = supports.features
    if set(features) != {"vector"} or head.transductive:
        what = "reads all queries together" if head.transductive else f"compares {' and '.join(features)} of images"
        raise UserError(f"{head.name} {what}, so it is no matrix on an image's vector; choose a head such as RFS.")
    vectors = features["vector"]
    trials = _trials(vectors)
    expected = (tau * classifier.logits({"vector": trials})).softmax(1)
    for centre in _centres(classifier):
        for unit in (False, True):
            linear = _probed(classifier, centre, unit)
            if ((tau * linear.logits(trials.cpu())).softmax(1) - expected).abs().max() < CLOSE:
                return linear
    raise UserError(f"{head.name} answers in a way that is not linear in an image's vector; choose a head such as RFS.")


def _probed(classifier: Classifier, centre: Tensor, unit: bool) -> LinearHead:
    """The matrix that the head would be if it were linear about a centre [D]."""
    vectors = classifier.supports.features["vector"]
    radius = (vectors - centre).norm(dim=1).mean()
    steps = radius * torch.eye(vectors.shape[1], device=vectors.device, dtype=vectors.dtype)
    answers = classifier.logits({"vector": torch.cat([centre + steps, centre - steps])})
    answers = answers - answers.mean(1, keepdim=True)
    ahead, behind = answers.chunk(2)
    length = 1.0 if unit else float(radius)
    weight, bias = (ahead - behind).T / (2 * length), (ahead + behind).mean(0) / 2
    return LinearHead(weight, bias, centre.double().cpu(), unit)


def _centres(classifier: Classifier) -> list[Tensor]:
    """What may be subtracted from vectors, [D] each: nothing, or the mean of the base classes by their images."""
    vectors = classifier.supports.features["vector"]
    centres = [torch.zeros_like(vectors[0])]
    if classifier.base is not None:
        means = classifier.base["vector"]
        counts = torch.tensor(classifier.network.facts["base_counts"], device=means.device, dtype=means.dtype)
        centres.append((counts / counts.sum()) @ means)
    return centres


def _trials(vectors: Tensor) -> Tensor:
    """The supports [n, D], and mixtures of pairs of them with something of their own."""
    seed = torch.tensor([random.key("trials")])
    first, second = (random.hashes(seed, tag, TRIALS)[0].remainder(len(vectors)).to(vectors.device) for tag in "ab")
    part = random.uniform(seed, "part", (TRIALS, 1))[0].to(vectors)
    noise = random.normal(seed, "noise", (TRIALS, vectors.shape[1]))[0].to(vectors) * vectors.std() / 4
    return torch.cat([vectors, part * vectors[first] + (1 - part) * vectors[second] + noise])
