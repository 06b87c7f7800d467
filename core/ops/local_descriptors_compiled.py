"""The k largest similarities of each class on a CPU, compiled by numba, for `local_descriptors`.

This module imports numba, which takes a while: import it only where it is called.
"""

from __future__ import annotations

import numba
import numpy as np
import torch

LANES = 512  # query descriptors side by side: their running best values stay in the first-level cache


def largest(similarity: torch.Tensor, ends: list[int], k: int, places: torch.Tensor | None) -> torch.Tensor:
    """The k largest similarities of each class, [T, S, L] to [T, N, k, L], best first.

    Args:
        similarity: of S support descriptors, one class after another, and L query descriptors.
        ends: where each of the N classes ends among the S.
        k: at most the size of the smallest class.
        places: [T, N, k, L] int32, is filled with the row of each match among the S (of equal ones the first). None
            leaves the rows out, in half the time.
    """
    values = similarity.new_empty(similarity.shape[0], len(ends), k, similarity.shape[2])
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    bounds = np.array([0, *ends])
    _largest(similarity.numpy(), bounds, values.numpy(), None if places is None else places.numpy())
    torch.set_num_threads(threads)  # numba's OpenMP sets PyTorch's number too, and other threads add in another order
    return values


@numba.njit(parallel=True, fastmath={"nsz", "arcp", "contract"}, cache=True)
def _largest(similarity, bounds, values, places):
    """Insert every support into the sorted list of each lane, all lanes together.

    A value moves down the ranks and changes places with every smaller one.
    """
    tasks, classes, k, width = values.shape
    strips = (width + LANES - 1) // LANES
    for job in numba.prange(tasks * classes * strips):
        task, label, low = job // (classes * strips), job // strips % classes, job % strips * LANES
        lanes = min(width - low, LANES)
        value, place = np.empty(LANES, values.dtype), np.empty(LANES, np.int32)
        best, best_place = np.full((k, LANES), -np.inf, values.dtype), np.zeros((k, LANES), np.int32)
        for row in range(bounds[label], bounds[label + 1]):
            value[:lanes] = similarity[task, row, low : low + lanes]
            if places is None:
                for rank in range(k):
                    for i in range(lanes):
                        ranked, moving = best[rank, i], value[i]
                        best[rank, i], value[i] = max(ranked, moving), min(ranked, moving)
            else:
                place[:lanes] = row
                for rank in range(k):
                    for i in range(lanes):
                        ranked, moving = best[rank, i], value[i]
                        ranked_row, moving_row = best_place[rank, i], place[i]
                        better = moving > ranked
                        best[rank, i], value[i] = (moving, ranked) if better else (ranked, moving)
                        best_place[rank, i], place[i] = (moving_row, ranked_row) if better else (ranked_row, moving_row)
        values[task, label, :, low : low + lanes] = best[:, :lanes]
        if places is not None:
            places[task, label, :, low : low + lanes] = best_place[:, :lanes]
