"""How far an answer can be trusted: its probability, and whether the photograph is of any of the classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..ops.temperature import fit_inverse_temperature
from .classifier import Classifier

SPREAD = 1.5  # of the prior of log tau where no reference gives one
CONTRAST = 2.0  # standard deviations of logits that such a prior takes for a factor e


@dataclass(frozen=True)
class Trust:
    """What the supports that were held out say about answers.

    Args:
        tau: factor of the logits, see `fit_inverse_temperature`.
        fitted_on: supports it was fitted on; 0 = prior alone.
        knownness: sorted knownness [m] of the supports that were held out, see `knownness`.
        correct: share of them that were classified correctly; NaN without any.
    """

    tau: float
    fitted_on: int
    knownness: Tensor
    correct: float

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities [Q, N] of logits [Q, N]."""
        return (self.tau * logits).softmax(-1)

    def threshold(self, share: float) -> float:
        """The knownness below which `share` of the supports that were held out lie; minus infinity for none."""
        if not share or not len(self.knownness):
            return -math.inf
        return float(self.knownness.quantile(share))

    def describe(self) -> str:
        """Where probabilities come from, for people."""
        if not self.fitted_on:
            return "probabilities: not fitted, as no class has a photo to spare; read them as an order alone"
        return f"probabilities: temperature fitted on {self.fitted_on} supports, each held out once"


def measure_trust(classifier: Classifier) -> Trust:
    """Hold supports out, classify them, and fit the temperature on the answers."""
    logits, rows = classifier.out_of_fold()
    if not len(rows):
        return Trust(1.0, 0, torch.zeros(0, dtype=torch.float64), math.nan)
    labels = classifier.supports.labels[rows]
    centre = torch.tensor([math.log(CONTRAST) - math.log(max(_contrast(logits), 1e-12))])
    tau = fit_inverse_temperature(logits[None], labels[None], centre, torch.tensor([SPREAD]))
    correct = (logits.argmax(1) == labels).double().mean()
    return Trust(float(tau), len(rows), knownness(logits).sort().values, float(correct))


def knownness(logits: Tensor) -> Tensor:
    """How well each photograph fits its class, [Q]: the largest logit."""
    return logits.amax(-1)


def _contrast(logits: Tensor) -> float:
    """Standard deviation of the logits of a photograph, over classes."""
    return float((logits - logits.mean(-1, keepdim=True)).square().mean().sqrt())
