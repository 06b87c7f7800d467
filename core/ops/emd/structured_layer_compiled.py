"""The steps of `structured_layer` for one task after another, compiled by numba, with the network simplex inside.

A step is two matrix products and a hundred small operations on arrays that fit a core's cache. Compiled, one task alone
takes no longer than one of many.

There are N classes of R nodes with C channels, and supports of P nodes; in float32 or float64, but the linear programs
in float64. This module imports numba, which takes a while: import it only where it is called.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .network_simplex import solve_many

_compiled = njit(cache=True, nogil=True, error_model="numpy")
_summing = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})


class Rates(NamedTuple):
    """The rates of SGD, of the same dtype as the arrays."""

    lr: np.floating
    momentum: np.floating
    share: np.floating  # 1 - dampening
    decay: np.floating


class Head(NamedTuple):
    """What the logits depend on besides the nodes; `least_square` is the smallest squared length of a node."""

    way: int
    temperature: float
    weight_grad: bool
    centred: bool
    least_weight: float
    least_square: float
    most_pivots: int


@_compiled
def descend(classes, unit, length, mean, labels, order, ends, smoothing, rates, head):
    """SGD on the classes [T, N R, C] of each task, in place.

    Supports are length * unit + mean, with unit [T, n, P, C], length and mean [T, n, P], and labels [T, n]. Step k uses
    the supports order[:, ends[k] : ends[k + 1]]. Where nodes are B times the learned vectors, `smoothing` is B B^T,
    else it is empty. Returns how many linear programs were not solved, or -1 at once where a number is not finite.
    """
    unsolved = 0
    for t in range(len(classes)):
        supports = (unit[t], length[t], mean[t], labels[t])
        failed = _descend(classes[t], supports, order[t], ends, smoothing, rates, head)
        if failed < 0:
            return -1
        unsolved += failed
    return unsolved


@_compiled
def _descend(classes, supports, order, ends, smoothing, rates, head):
    """`descend` for one task."""
    unit, length, mean, labels = supports
    positions, most = unit.shape[1], 0
    for step in range(len(ends) - 1):
        most = max(most, (ends[step + 1] - ends[step]) * positions)
    nodes = np.empty((most, classes.shape[1]), classes.dtype)  # of the step's supports
    products = np.empty((most, len(classes)), classes.dtype)  # <unit, c>, then the slopes towards them
    gradient, momentum = np.empty_like(classes), np.empty_like(classes)
    sums, inverse, bend, by_sum, by_square = np.empty((5, len(classes)), classes.dtype)
    unsolved = 0
    for step in range(len(ends) - 1):
        batch = order[ends[step] : ends[step + 1]]
        used = len(batch) * positions
        for i, image in enumerate(batch):
            nodes[i * positions : (i + 1) * positions] = unit[image]
        np.dot(nodes[:used], classes.T, products[:used])
        _moments(classes, head, sums, inverse, bend)
        by_sum[:], by_square[:] = 0, 0
        for i, image in enumerate(batch):
            of_image = products[i * positions : (i + 1) * positions]
            target = (labels[image], len(batch))
            failed = _slopes(of_image, length[image], mean[image], target, head, sums, inverse, bend, by_sum, by_square)
            if failed < 0:
                return -1
            unsolved += failed
        np.dot(products[:used].T, nodes[:used], gradient)
        _complete(gradient, classes, head.centred, sums, by_sum, by_square)
        if len(smoothing):
            for n in range(head.way):
                one_class = gradient[n * len(smoothing) : (n + 1) * len(smoothing)]
                one_class[:] = np.dot(smoothing, one_class)
        _step(classes, gradient, momentum, step == 0, rates)
    return unsolved


@_summing
def _moments(classes, head, sums, inverse, bend):
    """For each node c: its sum over channels, 1 / its length (centred or not), and d log(1 / length) / d |c|^2."""
    for r in range(len(classes)):
        node, total, square = classes[r], classes.dtype.type(0), classes.dtype.type(0)
        for c in range(len(node)):
            total += node[c]
            square += node[c] * node[c]
        variance = square - total * total / len(node) if head.centred else square
        sums[r], inverse[r] = total, 1 / np.sqrt(max(variance, head.least_square))
        bend[r] = -1 / (2 * variance) if variance > head.least_square else 0


@_compiled
def _slopes(products, length, mean, target, head, sums, inverse, bend, by_sum, by_square):
    """The slopes of one support's loss by <unit, c>, sum(c) and |c|^2, for each class node c.

    The first overwrite `products` [P, N R]; the others are added to `by_sum` and `by_square`. `target` is the support's
    class and the number of supports whose losses are averaged. Returns how many linear programs were not solved, or -1.
    """
    positions, of_class = len(products), products.shape[1] // head.way
    cost = np.empty((head.way, positions, of_class))
    inner_of_support, inner_of_class = np.zeros((head.way, positions)), np.zeros((head.way, of_class))
    for p in range(positions):
        for n in range(head.way):
            for r in range(of_class):
                node = n * of_class + r
                inner = products[p, node] * length[p] + mean[p] * sums[node]
                inner_of_support[n, p] += inner
                inner_of_class[n, r] += inner
                cost[n, p, r] = 1 - products[p, node] * inverse[node]
    a, scale_a = _weights(inner_of_support, of_class, positions, head.least_weight)
    b, scale_b = _weights(inner_of_class, positions, positions, head.least_weight)
    if not np.isfinite(cost.sum() + scale_a.sum() + scale_b.sum()):
        return -1
    flow, u, v = np.empty_like(cost), np.empty_like(a), np.empty_like(b)
    failed = solve_many(cost, a, b, flow, u, v, head.most_pivots)
    slope = _slopes_of_values(cost, flow, target, head.temperature)
    for n in range(head.way):
        if head.weight_grad:
            _towards_weights(u[n], a[n], slope[n] * scale_a[n] / of_class, inner_of_support[n])
            _towards_weights(v[n], b[n], slope[n] * scale_b[n] / positions, inner_of_class[n])
        else:
            u[n], v[n] = 0, 0
    mean_of_support = mean.sum() / positions
    for n in range(head.way):
        for r in range(of_class):
            node = n * of_class + r
            total, along = positions * v[n, r] * mean_of_support, 0.0
            for p in range(positions):
                by_cosine = -slope[n] * flow[n, p, r]
                along += by_cosine * (1 - cost[n, p, r])
                total += u[n, p] * mean[p]
                products[p, node] = by_cosine * inverse[node] + (u[n, p] + v[n, r]) * length[p]
            by_sum[node] += total
            by_square[node] += along * bend[node]
    return failed


@_compiled
def _weights(inner, count, total, least):
    """Weights relu(mean) + least, scaled to `total`, and the scale; `inner` holds sums over `count` nodes."""
    weights, scale = np.empty_like(inner), np.empty(len(inner))
    for n in range(len(inner)):
        for i in range(inner.shape[1]):
            weights[n, i] = max(inner[n, i] / count, 0.0) + least
        scale[n] = total / weights[n].sum()
        weights[n] *= scale[n]
    return weights, scale


@_compiled
def _slopes_of_values(cost, flow, target, temperature):
    """The slopes of the cross-entropy by each class's EMD, for logits temperature * (1 - EMD / P)."""
    logits = np.empty(len(cost))
    for n in range(len(cost)):
        logits[n] = temperature * (1 - (cost[n] * flow[n]).sum() / cost.shape[1])
    odds = np.exp(logits - logits.max())
    slope = odds / odds.sum()
    slope[target[0]] -= 1
    return slope * (-temperature / (cost.shape[1] * target[1]))


@_compiled
def _towards_weights(dual, weights, factor, inner):
    """Turn duals, in place, into slopes by the sums that the weights came from; the scaling takes out their mean."""
    mean = (dual * weights).sum() / weights.sum()
    for i in range(len(dual)):
        dual[i] = factor * (dual[i] - mean) if inner[i] > 0 else 0.0


@_compiled
def _complete(gradient, classes, centred, sums, by_sum, by_square):
    """Add to the gradient the part that goes through sum(c) and |c|^2."""
    for r in range(len(classes)):
        node, slope = classes[r], gradient[r]
        if centred:
            by_sum[r] -= 2 * by_square[r] * sums[r] / len(node)
        flat, along = by_sum[r], classes.dtype.type(2 * by_square[r])
        for c in range(len(node)):
            slope[c] += flat + along * node[c]


@_compiled
def _step(classes, gradient, momentum, first, rates):
    """One step of SGD as in PyTorch: the first step is not dampened."""
    for r in range(len(classes)):
        node, slope, moving = classes[r], gradient[r], momentum[r]
        for c in range(len(node)):
            decayed = slope[c] + rates.decay * node[c]
            moving[c] = decayed if first else rates.momentum * moving[c] + rates.share * decayed
            node[c] -= rates.lr * moving[c]
