"""Linear algebra of eight small problems side by side, compiled by numba: the last axis of every array is the lane.

This module imports numba, which takes a while: import it only where it is called.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

LANES = 8
OPTIONS: dict[str, Any] = {
    "fastmath": {"nsz", "arcp", "contract"},
    "error_model": "numpy",
    "cache": True,
    "nogil": True,
}


@numba.njit(**OPTIONS)
def factor(m, ratio, inverse, work):
    """The inverses of M + diag(ratio) for each class, and in work[0] that of their sum."""
    ways, n, _ = ratio.shape
    joint, scratch = work[0], work[1]
    for c in range(ways):
        of_class = inverse[c]
        for i in range(n):
            for j in range(n):
                for w in range(LANES):
                    of_class[i, j, w] = m[i, j, w] + (ratio[c, i, w] if i == j else 0.0)
        invert(of_class, scratch)
        for i in range(n):
            for j in range(n):
                for w in range(LANES):
                    joint[i, j, w] = of_class[i, j, w] + (joint[i, j, w] if c else 0.0)
    invert(joint, scratch)


@numba.njit(**OPTIONS)
def newton(inverse, work, right, da, dnu):
    """dA and dnu with (M + diag D_m) dA_m + dnu = right_m and sum_m dA_m = 0."""
    ways, n, _ = right.shape
    total, dot = np.zeros((1, n, LANES)), np.empty(LANES)
    for c in range(ways):
        for i in range(n):
            row_dot(inverse[c], i, right, c, 0, n, dot)
            for w in range(LANES):
                da[c, i, w] = dot[w]
                total[0, i, w] += dot[w]
    for i in range(n):
        row_dot(work[0], i, total, 0, 0, n, dnu[0, i])
    for c in range(ways):
        for i in range(n):
            row_dot(inverse[c], i, dnu, 0, 0, n, dot)
            for w in range(LANES):
                da[c, i, w] -= dot[w]


@numba.njit(**OPTIONS)
def invert(h, x):
    """The inverses of positive definite h [n, n, 8], in place; x is scratch, and takes L^-T of h = L L^T."""
    n, dot = len(h), np.empty(LANES)
    for i in range(n):
        for j in range(i + 1):
            row_dot(h, i, h, j, 0, j, dot)
            for w in range(LANES):
                if i == j:
                    x[i, i, w] = 1 / np.sqrt(h[i, i, w] - dot[w])
                else:
                    h[i, j, w] = (h[i, j, w] - dot[w]) * x[j, j, w]
    for j in range(n):
        for i in range(j + 1, n):
            row_dot(h, i, x, j, j, i, dot)
            for w in range(LANES):
                x[j, i, w] = -dot[w] * x[i, i, w]
    for i in range(n):
        for j in range(i + 1):
            row_dot(x, i, x, j, i, n, dot)
            for w in range(LANES):
                h[i, j, w] = dot[w]
                h[j, i, w] = dot[w]


@numba.njit(**OPTIONS)
def row_dot(a, i, b, j, first, last, out):
    """sum_k a[i, k] b[j, k] over first <= k < last in each lane; written out, so that the sums stay in registers."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    for k in range(first, last):
        s0 += a[i, k, 0] * b[j, k, 0]
        s1 += a[i, k, 1] * b[j, k, 1]
        s2 += a[i, k, 2] * b[j, k, 2]
        s3 += a[i, k, 3] * b[j, k, 3]
        s4 += a[i, k, 4] * b[j, k, 4]
        s5 += a[i, k, 5] * b[j, k, 5]
        s6 += a[i, k, 6] * b[j, k, 6]
        s7 += a[i, k, 7] * b[j, k, 7]
    out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = s0, s1, s2, s3, s4, s5, s6, s7
