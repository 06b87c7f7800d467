"""Linear systems of T tasks, one for each class, that are joined by what their solutions sum to."""

from __future__ import annotations

import torch
from torch import Tensor


class JoinedSystems:
    """Systems (M + diag D_m) x_m + nu = r_m of the classes m with sum_m x_m = 0, in the x_m and nu of n numbers each.

    A Cholesky factor for each class and one of n x n for nu stand in place of the matrix of n N + n unknowns. M may be
    singular, since every D_m is above 0.

    Args:
        matrix: M, positive semidefinite, [T, n, n].
        ratio: D, above 0, [T, N, n].
    """

    def __init__(self, matrix: Tensor, ratio: Tensor) -> None:
        factor, _ = torch.linalg.cholesky_ex(matrix[:, None] + torch.diag_embed(ratio))
        self.inverse = torch.cholesky_inverse(factor)  # [T, N, n, n]
        self.joint, _ = torch.linalg.cholesky_ex(self.inverse.sum(1))

    def solve(self, right: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, N, n] and nu [T, 1, n] for right sides r [T, N, n]."""
        raw = self._apply(right)
        shared = torch.cholesky_solve(raw.sum(1)[..., None], self.joint)[..., 0][:, None]
        return raw - self._apply(shared.expand_as(right)), shared

    def _apply(self, rows: Tensor) -> Tensor:
        return (self.inverse @ rows[..., None])[..., 0]
