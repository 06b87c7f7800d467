"""The temperature that turns logits into probabilities, for T tasks at once.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599, section 4.2, with a
prior: a few answers that are all correct would otherwise ask for probabilities of 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SPREAD = 1.5  # of a prior of log tau where nothing better is known
CONTRAST = 2.0  # deviations between a photograph's logits that such a prior takes for a factor e
SPREADS = 6.0  # the minimum is looked for this many prior spreads around the prior's centre
POINTS = 121  # of the grid it is looked for on
REFINEMENTS = 30  # times that a third of the interval between two of them is cut off


def fit_inverse_temperature(logits: Tensor, labels: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    """The factor tau [T] that minimises sum_i NLL(softmax(tau z_i), y_i) + (log tau - centre)^2 / (2 spread^2).

    Logits multiplied by c and a centre smaller by log c give tau / c, hence the same probabilities.

    Args:
        logits: z [T, n, N]; with n = 0 the answer is exp(centre).
        labels: y [T, n].
        centre: of log tau, [T].
        spread: of log tau, [T].
    """
    z, centre, spread = logits.double(), centre.double(), spread.double()
    grid = torch.linspace(-SPREADS, SPREADS, POINTS, dtype=torch.float64, device=z.device)
    values = torch.stack([_objective(centre + step * spread, z, labels, centre, spread) for step in grid], dim=1)
    best = grid[values.argmin(1)]
    gap = (grid[1] - grid[0]) * spread
    low, high = centre + best * spread - gap, centre + best * spread + gap
    for _ in range(REFINEMENTS):  # ternary search between the neighbours of the best point
        first, second = low + (high - low) / 3, high - (high - low) / 3
        left = _objective(first, z, labels, centre, spread) < _objective(second, z, labels, centre, spread)
        low, high = torch.where(left, low, first), torch.where(left, second, high)
    return ((low + high) / 2).exp()


def wide_prior(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and spread of log tau, [T] each, from the scale of logits [T, n, N] alone."""
    z = logits.double()
    contrast = (z - z.mean(-1, keepdim=True)).square().mean((1, 2)).sqrt().clamp(min=1e-12)
    return math.log(CONTRAST) - contrast.log(), torch.full_like(contrast, SPREAD)


def _objective(log_tau: Tensor, z: Tensor, labels: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    """The minimised sum at log tau [T], [T]."""
    scores = (z * log_tau.exp()[:, None, None]).log_softmax(-1)
    likelihood = scores.gather(-1, labels[..., None])[..., 0].sum(1)
    return -likelihood + ((log_tau - centre) / spread) ** 2 / 2
