"""What reference episodes of other classes say about answers: expected accuracy, temperature, rejection.

A few supports say little about their own task (Shimabucoro, Hospedales and Gouk, "Evaluating the Evaluators in Few-Shot
Learning Classification", https://arxiv.org/abs/2307.02732). Episodes of other classes at the same way and shot, whose
queries are labelled, say how the answers of held-out supports relate to the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

LOW, HIGH = 0.025, 0.975  # quantiles of the interval
LINE = {"intercept": float, "slope": float, "low": float, "high": float}
# What `Calibration.as_dict` writes.
CALIBRATION = {
    **{"source": str, "way": int, "shot": int, "episodes": int, "lines": {"": LINE}, "centre": float, "spread": float},
    **{"shift": float, "rejection": [float]},
}
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)  # of photographs of known classes that may be rejected


@dataclass(frozen=True)
class Line:
    """logit(accuracy) = intercept + slope * logit(accuracy of the supports that were held out), and its residuals."""

    intercept: float
    slope: float
    low: float  # quantiles LOW and HIGH of the residuals
    high: float

    def expected(self, correct: float, number: int) -> tuple[float, float, float]:
        """Expected accuracy and its interval, where the share `correct` of `number` held-out supports was right."""
        centre = self.intercept + (self.slope * smoothed_logit(correct, number) if number else 0.0)
        middle, low, high = (1 / (1 + math.exp(-value)) for value in (centre, centre + self.low, centre + self.high))
        return middle, low, high


@dataclass(frozen=True)
class Calibration:
    """What `episodes` reference episodes of one method, way and shot say.

    Args:
        source: the reference, for people.
        lines: of each shot, the line from this shot's held-out supports to the accuracy at that shot.
        centre, spread: of log tau, fitted on queries.
        shift: of log tau, from the one of held-out supports to the one of queries.
        rejection: for each of SHARES, the similarity below which that share of known queries lies: in deviations of the
            held-out supports' similarities from their mean; at one shot, where none can be held out, as it is.
    """

    source: str
    way: int
    shot: int
    episodes: int
    lines: dict[int, Line]
    centre: float
    spread: float
    shift: float
    rejection: list[float]

    def rejects_at(self, share: float) -> float:
        """The entry of `rejection` for any share."""
        for i in range(1, len(SHARES)):
            if share <= SHARES[i]:
                part = (share - SHARES[i - 1]) / (SHARES[i] - SHARES[i - 1])
                return self.rejection[i - 1] + part * (self.rejection[i] - self.rejection[i - 1])
        return self.rejection[-1]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"lines": {str(shot): asdict(line) for shot, line in self.lines.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """What `as_dict` gave, of the kind CALIBRATION.

        Raises:
            ValueError: where it is not.
        """
        if not values["lines"] or len(values["rejection"]) != len(SHARES):
            raise ValueError("a calibration has a line for each shot, and a level for each share")
        lines = {int(shot): Line(**line) for shot, line in values["lines"].items()}
        return cls(**{**values, "lines": lines})


def smoothed_logit(share: float, number: int) -> float:
    """Logit of a share of `number`, with half a count added on both sides so that it is finite."""
    right = share * number
    return math.log((right + 0.5) / (number - right + 0.5))


def fit_line(accuracy: Tensor, number: int, held_out: Tensor | None = None, supports: int = 0) -> Line:
    """The line through reference episodes by least squares.

    Args:
        accuracy: [E], each the share of `number` queries.
        number: queries of an episode.
        held_out: [E], each the share of `supports` held-out supports; None = a line of slope 0.
        supports: held-out supports of an episode.
    """
    y = _logits(accuracy, number)
    if held_out is None:
        slope, x = torch.zeros((), dtype=torch.float64), torch.zeros_like(y)
    else:
        x = _logits(held_out, supports)
        deviation = x - x.mean()
        slope = (deviation * (y - y.mean())).sum() / deviation.square().sum().clamp(min=1e-12)
    intercept = y.mean() - slope * x.mean()
    residuals = y - intercept - slope * x
    low, high = residuals.quantile(torch.tensor([LOW, HIGH], dtype=torch.float64)).tolist()
    return Line(float(intercept), float(slope), low, high)


def rejection_levels(queries: Tensor, supports: Tensor | None) -> list[float]:
    """For each of SHARES, what leaves that share of known queries below it; see `Calibration.rejection`.

    Args:
        queries: similarities [E, Q] of queries of known classes.
        supports: similarities [E, n] of supports that were held out; None = the answer is a similarity itself.
    """
    values = queries
    if supports is not None:
        values = (queries - supports.mean(1, keepdim=True)) / supports.std(1, keepdim=True).clamp(min=1e-9)
    return values.flatten().quantile(torch.tensor(SHARES, dtype=values.dtype)).tolist()


def _logits(share: Tensor, number: int) -> Tensor:
    """`smoothed_logit` of many shares."""
    right = share.double() * number
    return ((right + 0.5) / (number - right + 0.5)).log()
