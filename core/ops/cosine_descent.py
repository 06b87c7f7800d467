"""Cosine heads that descend from class means by whole-batch steps, each of which is seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 1e-12  # length of a support whose cosines are taken; of a support of length 0 they are 0


class CosineDescent:
    """Heads of T tasks on supports z [T, n, d], with logits scale * cos(z, w_j).

    Rows start as class means and only move by multiples of the supports, so A [T, N, n] and the Gram matrix of the
    supports are all that a step needs, at any width.
    """

    def __init__(self, support: Tensor, labels: Tensor, way: int, scale: float) -> None:
        self.support, self.scale = support, scale
        self.gram = support @ support.transpose(1, 2)
        self.length = self.gram.diagonal(dim1=1, dim2=2).sqrt().clamp(min=LEAST)[:, None]  # [T, 1, n] |z_i|
        self.target = F.one_hot(labels, way).to(support.dtype).transpose(1, 2)
        self.rows = self.target / self.target.sum(2, keepdim=True)

    @torch.no_grad()
    def gradient(self) -> Tensor:
        """Coefficients [T, N, n] of the gradient of the mean cross-entropy by each row, a constant."""
        dots = self.rows @ self.gram
        row_length = self._row_length(dots)
        cosine = dots / (row_length * self.length)
        error = self.scale * ((self.scale * cosine).softmax(1) - self.target) / self.target.shape[2]
        along_row = (error * cosine).sum(2, keepdim=True) / row_length.square()
        return error / (row_length * self.length) - along_row * self.rows

    def descend(self, step: Tensor) -> None:
        """Subtract coefficients [T, N, n] from those of the rows."""
        self.rows = self.rows - step

    def against(self, query: Tensor) -> Tensor:
        """Products <q, z_i> / |q| of queries [T, Q, d], for `logits`: [T, Q, n]."""
        return F.normalize(query, dim=-1) @ self.support.transpose(1, 2)

    def logits(self, against: Tensor) -> Tensor:
        """scale * cos(q, w_j) of the present rows, [T, Q, N]."""
        rows = self.rows / self._row_length(self.rows @ self.gram)
        return self.scale * against @ rows.transpose(1, 2)

    def _row_length(self, dots: Tensor) -> Tensor:
        """|w_j| [T, N, 1] from the products of the rows with the supports."""
        return (self.rows * dots).sum(2, keepdim=True).clamp(min=1e-12).sqrt()
