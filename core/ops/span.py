"""Vectors of a task as combinations of its supports and queries: their products cost the same for any width d."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """The span of n vectors of each of T tasks; a row of coefficients [n] stands for a vector in it."""

    gram: Tensor  # products of the vectors, [T, n, n]

    def double(self) -> Span:
        """The same span in float64."""
        return Span(self.gram.double())

    @staticmethod
    def of(support: Tensor, query: Tensor) -> tuple[Span, Tensor, Tensor]:
        """The span of supports [T, n_s, d] and queries [T, Q, d], and the rows of both: [T, n_s, n] and [T, Q, n]."""
        across = support @ query.transpose(1, 2)  # in blocks, since joined vectors would be copied
        left = torch.cat([support @ support.transpose(1, 2), across.transpose(1, 2)], dim=1)
        gram = torch.cat([left, torch.cat([across, query @ query.transpose(1, 2)], dim=1)], dim=2)
        rows = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device).expand(len(gram), -1, -1)
        return Span(gram), rows[:, : support.shape[1]], rows[:, support.shape[1] :]

    def squared_between_all(self) -> Tensor:
        """|x - y|^2 [T, n, n] of all pairs of the n vectors, at least 0 despite rounding."""
        lengths = self.gram.diagonal(dim1=1, dim2=2)
        return (lengths[:, :, None] + lengths[:, None] - 2 * self.gram).clamp(min=0)

    def squared_to_all(self, rows: Tensor) -> Tensor:
        """|a - x|^2 [T, A, n] of rows [T, A, n] and all n vectors x, at least 0 despite rounding."""
        products, lengths = self._to_all(rows)
        return (self.gram.diagonal(dim1=1, dim2=2)[:, None] - 2 * products + lengths).clamp(min=0)

    def cosines_to_all(self, rows: Tensor) -> Tensor:
        """Cosines [T, A, n] of rows [T, A, n] and all n vectors; 0 for a vector of length 0."""
        products, lengths = self._to_all(rows)
        squares = lengths, self.gram.diagonal(dim1=1, dim2=2)[:, None]
        of_rows, of_vectors = (x.clamp(min=0).sqrt().clamp(min=1e-12) for x in squares)
        return products / of_rows / of_vectors

    def _to_all(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Products [T, A, n] with all vectors, and the squared lengths [T, A, 1] of the rows."""
        products = rows @ self.gram
        return products, (products * rows).sum(-1, keepdim=True)
