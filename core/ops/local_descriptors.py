"""Local descriptors: the vectors at the positions of a map, or of an image's crops, and how well they match.

S is the number of support descriptors of a task, R the number of its query descriptors. The S x R similarities are
never all in memory: they are computed and reduced a block at a time, and the gradient needs only the rows of matches.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..episode import Task
from ..errors import UserError
from .groups import class_shots, mean_by_class

CPU_BLOCK = 2**20  # similarities in memory at once: 4 MiB, which fit a last-level cache
GPU_BLOCK = 2**26
TINY = 1e-8  # a shorter descriptor counts as zero


def descriptors(maps: Tensor) -> Tensor:
    """One descriptor for each position, row by row: [..., C, h, w] to [..., h * w, C]."""
    return maps.flatten(-2).transpose(-1, -2)


def pyramid(maps: Tensor, sides: list[int]) -> Tensor:
    """Descriptors of the map averaged to each of `sides` in turn: [..., C, h, w] to [..., sum of side^2, C].

    A side equal to the map's leaves the map as it is. M2L's PyramidFCN-5,2,1 is [5, 2, 1]; the last side of DeepEMD's
    feature pyramid is the map's.
    """
    flat = maps.flatten(0, -4)
    pooled = [descriptors(F.adaptive_avg_pool2d(flat, side)) for side in sides]
    return torch.cat(pooled, dim=1).unflatten(0, maps.shape[:-3])


def unit(vectors: Tensor) -> Tensor:
    """Vectors [..., C] scaled to length 1; a zero vector stays zero, and its gradient finite."""
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / length.masked_fill(length < TINY, 1)


def local_scores(query: Tensor, support: Tensor, task: Task, k: int = 1) -> Tensor:
    """Image-to-class similarity: each query descriptor's k largest cosines among a class's descriptors, summed.

    score(q, n) = sum_r sum_{j in top-k} cos(x_qr, y_nj) over the r descriptors of a query and the K * s of a class.

    Args:
        query: [T, Q, r, C]; descriptors may have any length.
        support: [T, n_s, s, C], in the order of the task's supports; unequal shots included.
        task: whose supports these are; gives their classes.
        k: neighbours in each class.

    Returns:
        [T, Q, N], between -k * r and k * r.

    Raises:
        UserError: where a class has fewer than k descriptors.
    """
    ends = list(accumulate(shots * support.shape[2] for shots in class_shots(task)))
    smallest = min(class_shots(task)) * support.shape[2]
    if smallest < k:
        raise UserError(
            f"METHOD.ARGS.k is {k}, but a class of this task has {smallest} local descriptors; lower k, or let the "
            "backbone pool less."
        )
    at_once = max(1, _budget(query) // (query.shape[1:3].numel() * support.shape[1:3].numel()))
    totals = [
        _Matches.apply(unit(q).flatten(1, 2), unit(s).flatten(1, 2), ends, k)
        for q, s in zip(query.split(at_once), support.split(at_once), strict=True)
    ]
    return torch.cat(totals).unflatten(2, query.shape[1:3]).sum(3).transpose(1, 2)


def matches(query: Tensor, support: Tensor, task: Task, k: int = 1) -> Tensor:
    """The cosines that `local_scores` sums, and 0 in place of all others: [T, Q, n_s, r, s].

    They are all in memory at once, so `query` should be few of a task's queries.
    """
    similarity = torch.einsum("tqrc,tnsc->tqrns", unit(query), unit(support))
    kept = []
    for of_class in similarity.split(class_shots(task), dim=3):
        flat = of_class.flatten(3)
        largest = flat.topk(k, dim=-1)
        chosen = torch.zeros_like(flat).scatter(-1, largest.indices, largest.values)
        kept.append(chosen.unflatten(3, of_class.shape[3:]))
    return torch.cat(kept, dim=3).transpose(2, 3)


def class_covariances(support: Tensor, task: Task) -> Tensor:
    """Unbiased covariance of each class's descriptors: [T, n_s, s, C] to [T, N, C, C]."""
    mean = mean_by_class(support.mean(2), task)
    centred = support - mean.take_along_dim(task.support_y[..., None], 1)[:, :, None]
    second = mean_by_class(centred.transpose(2, 3) @ centred, task)
    shots = torch.tensor(class_shots(task), device=support.device)[:, None, None]
    return second * shots / (shots * support.shape[2] - 1)


def quadratic_forms(vectors: Tensor, matrices: Tensor) -> Tensor:
    """x^T A x of each vector and matrix: [T, R, C] and [T, N, C, C] to [T, N, R]."""
    return torch.stack([((vectors @ matrix) * vectors).sum(-1) for matrix in matrices.unbind(1)], 1)


class _Matches(torch.autograd.Function):
    """Sum of the k largest inner products: queries [T, R, C], supports [T, S, C] to [T, N, R]."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, support: Tensor, ends: list[int], k: int) -> Tensor:
        """Save only the rows of the matches, and those only if a gradient is wanted."""
        total = query.new_empty(len(query), len(ends), query.shape[1])
        keep = any(ctx.needs_input_grad)
        shape = (len(query), len(ends), k, query.shape[1] if keep else 0)
        places = torch.empty(shape, dtype=torch.int32, device=query.device)
        blocks = _blocks(query, support)
        memory = query.new_empty(
            len(query), support.shape[1], blocks[0].stop
        )  # for every block, so that it stays cached
        for rows in blocks:
            similarity = torch.bmm(support, query[:, rows].mT, out=_part(memory, rows.stop - rows.start))
            values, block_places = _largest(similarity, ends, k, keep)
            total[..., rows] = values.sum(2)
            if keep and block_places is not None:
                places[..., rows] = block_places
        ctx.save_for_backward(query, support, places)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Each match passes its gradient to its query and its support descriptor."""
        query, support, places = ctx.saved_tensors
        to_query, to_support = torch.empty_like(query), torch.zeros_like(support)
        for rows in _blocks(query, support):
            matches = places[..., rows].flatten(1, 2).long()
            slopes = gradient[:, :, None, rows].expand(-1, -1, places.shape[2], -1).flatten(1, 2)
            weight = query.new_zeros(len(query), support.shape[1], matches.shape[2]).scatter_(1, matches, slopes)
            to_query[:, rows] = weight.transpose(1, 2) @ support
            to_support += weight @ query[:, rows]
        return to_query, to_support, None, None


def _budget(x: Tensor) -> int:
    """How many similarities may be in memory at once on the device of x."""
    return CPU_BLOCK if x.device.type == "cpu" else GPU_BLOCK


def _blocks(query: Tensor, support: Tensor) -> list[slice]:
    """Slices of the query rows [T, R, C] whose similarities to the supports [T, S, C] stay within the budget."""
    width = max(1, _budget(query) // (len(support) * support.shape[1]))
    return [slice(i, min(i + width, query.shape[1])) for i in range(0, query.shape[1], width)]


def _part(memory: Tensor, width: int) -> Tensor:
    """The memory at the beginning of [T, S, L] as a contiguous [T, S, width]."""
    return memory.flatten()[: memory[..., :width].numel()].view(*memory.shape[:2], width)


def _largest(similarity: Tensor, ends: list[int], k: int, keep: bool) -> tuple[Tensor, Tensor | None]:
    """The k largest similarities [T, S, L] of each class and, with `keep`, their rows in S: both [T, N, k, L]."""
    if similarity.device.type != "cpu":
        return _largest_by_torch(similarity, ends, k)
    from .local_descriptors_compiled import largest  # imports numba

    tasks, _, width = similarity.shape
    places = torch.empty(tasks, len(ends), k, width, dtype=torch.int32) if keep else None
    return largest(similarity, ends, k, places), places


def _largest_by_torch(similarity: Tensor, ends: list[int], k: int) -> tuple[Tensor, Tensor]:
    """`_largest` with rows, on any device."""
    starts = [0, *ends[:-1]]
    classes = [similarity[:, start:end] for start, end in zip(starts, ends, strict=True)]
    best = [part.max(1, keepdim=True) if k == 1 else part.topk(k, dim=1) for part in classes]
    places = [of_class.indices + start for of_class, start in zip(best, starts, strict=True)]
    return torch.stack([of_class.values for of_class in best], 1), torch.stack(places, 1)
