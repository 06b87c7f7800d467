"""The k largest similarities of each class, on a CPU.

Kept apart, because importing numba takes a while: only what calls it should.
"""

from __future__ import annotations

import numba
import numpy as np
import torch

LANES = 512  # query descriptors side by side: their running best values stay in the first-level cache


def top(similarity: torch.Tensor, ends: list[int], k: int, places: torch.Tensor | None) -> torch.Tensor:
    """The k largest of each class, [T, S, L] to [T, N, k, L], best first.

    Args:
        similarity: to S support descriptors, one class after another, of L query descriptors.
        ends: where the N classes end in S.
        k: at most the size of the smallest class.
        places: [T, N, k, L] int32, filled with the rows in S where they stand (the first of equals); None for values
            alone, in half the time.
    """
    values = similarity.new_empty(similarity.shape[0], len(ends), k, similarity.shape[2])
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    bounds = np.array([0, *ends])
    _top(similarity.numpy(), bounds, values.numpy(), None if places is None else places.numpy())
    return values


@numba.njit(parallel=True, fastmath={"nsz", "arcp", "contract"}, cache=True)
def _top(similarity, bounds, values, places):
    """Every support in turn sinks down the sorted list of each lane, all lanes together."""
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
                        held, sinking = best[rank, i], value[i]
                        best[rank, i], value[i] = max(held, sinking), min(held, sinking)
            else:
                place[:lanes] = row
                for rank in range(k):
                    for i in range(lanes):
                        held, sinking = best[rank, i], value[i]
                        held_at, sinking_at = best_place[rank, i], place[i]
                        better = sinking > held
                        best[rank, i], value[i] = (sinking, held) if better else (held, sinking)
                        best_place[rank, i], place[i] = (sinking_at, held_at) if better else (held_at, sinking_at)
        values[task, label, :, low : low + lanes] = best[:, :lanes]
        if places is not None:
            places[task, label, :, low : low + lanes] = best_place[:, :lanes]
