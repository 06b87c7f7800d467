"""Brownian distance covariance (BDC): a feature map as a matrix of distances between its channels."""

from __future__ import annotations

import torch
from torch import Tensor

AT_ONCE = 1 << 20  # numbers in the distance matrices that are computed together


def bdc_vectors(maps: Tensor, log_scale: Tensor) -> Tensor:
    """Upper triangles of the BDC matrices of maps [n, d, h, w], diagonals included: [n, d (d + 1) / 2].

    With channels x_i in R^hw: D_ij = sqrt(exp(log_scale) |x_i - x_j|^2 + 1e-5). Its row and column means are subtracted
    and its overall mean is added. The 1e-5 keeps the root's gradient finite.

    A matrix has d^2 numbers for each image, so only a few images are computed at a time.
    """
    d = maps.shape[1]
    rows, columns = torch.triu_indices(d, d, device=maps.device)
    entries = rows * d + columns
    blocks = maps.flatten(2).split(max(1, AT_ONCE // d**2))
    return torch.cat([_centred(block, log_scale).flatten(1).index_select(1, entries) for block in blocks])


def _centred(channels: Tensor, log_scale: Tensor) -> Tensor:
    """Doubly centred distances of channels [n, d, hw]: [n, d, d].

    Memory traffic takes most of the time: so the channels, not the products, are scaled, and operations are in place
    where the gradient needs no old value.
    """
    channels = channels * (log_scale / 2).exp()
    gram = channels @ channels.transpose(1, 2)
    norms = gram.diagonal(dim1=1, dim2=2)
    squares = (norms[:, :, None] + norms[:, None, :]).sub_(gram, alpha=2)
    distances = squares.clamp_(min=0).add_(1e-5).sqrt_()
    means = distances.mean(2)
    return (distances - means[:, :, None]).sub_((means - means.mean(1, keepdim=True))[:, None, :])
