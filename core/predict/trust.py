"""How far an answer can be trusted: its probability, and whether the photograph is of any of the classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..ops.temperature import fit_inverse_temperature, wide_prior
from .calibration import Calibration
from .classifier import Classifier
from .supports import Supports, fold_numbers


@dataclass(frozen=True)
class Expected:
    """Expected accuracy at a number of photographs of each class, in %, with its 95 % interval."""

    shot: int
    percent: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.percent:.0f} % ({self.low:.0f} to {self.high:.0f} %)"


@dataclass(frozen=True)
class Trust:
    """What supports that were held out, and reference episodes, say about answers.

    Args:
        tau: factor of the logits, see `fit_inverse_temperature`.
        held_out: supports that were held out, each once.
        correct: share of them that were classified correctly, the mean over classes; 0 where there are none.
        similarities: [m], sorted: of each support that was held out, the cosine with the nearest one that was not.
        calibration: of reference episodes; None where there are none.
        reason: why there are none, for people.
    """

    tau: float
    held_out: int
    correct: float
    similarities: Tensor
    calibration: Calibration | None = None
    reason: str = ""

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities [Q, N] of logits [Q, N]."""
        return (self.tau * logits).softmax(-1)

    def threshold(self, share: float) -> float:
        """The similarity below which `share` of photographs of the classes are rejected; minus infinity for none.

        Without reference episodes it is the quantile of the supports that were held out.
        """
        if not share:
            return -math.inf
        if self.calibration is None:
            return float(self.similarities.quantile(share)) if self.held_out else -math.inf
        level = self.calibration.rejects_at(share)
        if self.calibration.shot == 1 or self.held_out < 2:
            return level if self.calibration.shot == 1 else -math.inf
        return float(self.similarities.mean() + level * self.similarities.std())

    def refused_supports(self, share: float) -> float:
        """Share of the supports that were held out which this would have rejected; NaN where there are none."""
        return (
            float((self.similarities < self.threshold(share)).double().mean()) if len(self.similarities) else math.nan
        )

    def expected(self) -> list[Expected]:
        """Expected accuracy at the present number of photographs of each class, then at more; [] if not known."""
        if self.calibration is None:
            return []
        lines = sorted(self.calibration.lines.items())
        values = [(shot, line.expected(self.correct, self.held_out)) for shot, line in lines]
        return [Expected(shot, *(100 * value for value in shares)) for shot, shares in values]

    def describe(self) -> list[str]:
        """Lines for people: where probabilities come from, and what accuracy to expect."""
        calibration, lines = self.calibration, []
        if self.held_out:
            with_reference = f" and {calibration.episodes} reference episodes" if calibration else ""
            lines.append(f"probabilities: temperature from {self.held_out} held-out supports{with_reference}")
        elif calibration:
            lines.append(f"probabilities: temperature from {calibration.episodes} reference episodes alone")
        else:
            lines.append("probabilities: not fitted, as no class has a photo to spare; read them as an order alone")
        if calibration is None:
            return [*lines, f"expected accuracy: not known, as {self.reason}"] if self.reason else lines
        now, *more = self.expected()
        shot = "1 photo of each, so that the reference alone speaks"
        if calibration.shot > 1:
            shot = f"{calibration.shot} photos of each"
        reference = f"{calibration.episodes} episodes of {calibration.source}, {calibration.way} classes, {shot}"
        lines.append(f"expected accuracy: {now}; reference: {reference}")
        if more:
            lines.append("with more photos of each class: " + "; ".join(f"{each.shot}: {each}" for each in more))
        return lines


def measure_trust(classifier: Classifier, calibration: Calibration | None = None, reason: str = "") -> Trust:
    """Hold supports out, classify them, and fit the temperature on the answers."""
    logits, rows = classifier.out_of_fold()
    labels = classifier.supports.labels[rows]
    if calibration is not None:
        centre, spread = torch.tensor([calibration.centre]), torch.tensor([calibration.spread])
    elif len(rows):
        centre, spread = wide_prior(logits[None])
    else:
        return Trust(1.0, 0, 0.0, torch.zeros(0, dtype=torch.float64), None, reason)
    tau = float(fit_inverse_temperature(logits[None], labels[None], centre, spread))
    if calibration is not None and len(rows):
        tau *= math.exp(calibration.shift)
    right = (logits.argmax(1) == labels).double()
    correct = float(torch.stack([right[labels == c].mean() for c in labels.unique()]).mean()) if len(rows) else 0.0
    return Trust(tau, len(rows), correct, held_out_similarities(classifier.supports), calibration, reason)


def held_out_similarities(supports: Supports) -> Tensor:
    """Sorted cosines [m] of the supports that can be spared with the nearest one that is not held out with them."""
    folds = fold_numbers(supports)
    places = supports.places.cpu().double()
    near = places @ places.T
    together = (supports.labels[:, None] == supports.labels) & (folds[:, None] == folds)
    return near.masked_fill(together, -torch.inf).amax(1)[folds >= 0].sort().values
