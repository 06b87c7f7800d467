"""A network simplex for many small transportation problems, compiled by numba.

Here a node is one of the n rows or, after them, of the m columns. A basis is a spanning tree of n + m - 1 arcs with its
root at row 0. Each node has a parent, the flow of the arc to its parent, and the set of nodes at and below it as bits.
So a bit test finds where two paths join, and one vector operation changes the duals of a moved subtree.

A node's potential is u_i for a row and -v_j for a column; the reduced cost of an arc is C_ij - u_i - v_j. During the
pivots, costs are integers of 51 bits: their sums are exact, so that no tolerance is needed, and compilers turn the
search for the least of them, which is most of the work, into vector code. They do not do that for floats.

The weights are perturbed by a part in 10^12, in proportions that no two sums share, so that pivots never stall on ties.
The answer is computed from the final tree and the weights as they were before.

This module imports numba, which takes a while: import it only where it is called.
"""

from __future__ import annotations

import numpy as np
from numba import njit

PERTURBATION = 1e-12
LARGEST = 2.0**50  # the largest cost as an integer; potentials of 8,000 nodes stay within 63 bits
CLOSED = 2**60  # stands for the cost of a column that is full
BLOCK = 4  # rows whose arcs are priced before the best of them enters the tree

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def solve_many(cost, a, b, flow, u, v, most_pivots):
    """Solve problems [k, n, m] into `flow`, `u` and `v`; returns how many needed more than `most_pivots`.

    All arrays are float64 and contiguous; `a` and `b` are non-negative with equal totals.
    """
    rows, nodes = cost.shape[1], cost.shape[1] + cost.shape[2]
    parent, order = np.empty(nodes, np.int64), np.empty(nodes, np.int64)
    first, after = np.empty(nodes, np.int64), np.empty(nodes, np.int64)
    below = np.empty((nodes, (nodes + 63) // 64), np.int64)
    amount, potential = np.empty(nodes), np.empty(nodes)
    price, level = np.empty(cost.shape[1:], np.int64), np.empty(nodes, np.int64)  # costs and potentials as integers
    arcs, arc_flow = np.empty((nodes, 2), np.int64), np.empty(nodes)
    unsolved = 0
    for k in range(len(cost)):
        _price(cost[k], price)
        _start(price, a[k], b[k], arcs, arc_flow, amount, level)
        _hang(arcs, arc_flow, parent, amount, order)
        _sets(parent, order, below)
        _potentials(price, parent, order, level)
        unsolved += not _optimise(price, parent, below, amount, level, most_pivots)
        _order(parent, first, after, order)
        _potentials(cost[k], parent, order, potential)
        _flows(a[k], b[k], parent, order, amount)
        flow[k] = 0
        for node in order[1:]:
            row, column = min(node, parent[node]), max(node, parent[node]) - rows
            flow[k, row, column] = max(amount[node], 0.0)
        u[k] = potential[:rows]
        v[k] = -potential[rows:]
    return unsolved


@_compiled
def _price(cost, price):
    """Costs as integers."""
    largest = np.abs(cost).max()
    scale = LARGEST / largest if largest > 0 else 0.0
    for i in range(cost.shape[0]):
        for j in range(cost.shape[1]):
            price[i, j] = np.int64(cost[i, j] * scale)


@_compiled
def _start(price, a, b, arcs, arc_flow, left, level):
    """A feasible tree by the modified row-minimum rule.

    Rows take turns; each fills the column whose cost is lowest above that column's own minimum.
    """
    rows, columns = price.shape
    _perturb(a, b, left)
    raised = level[:columns]  # minus each column's minimum; a closed column is out of reach
    for j in range(columns):
        raised[j] = -price[0, j]
    for i in range(1, rows):
        for j in range(columns):
            raised[j] = max(raised[j], -price[i, j])
    open_rows, open_columns, i = rows, columns, 0
    for arc in range(rows + columns - 1):
        column = _place(price[i], raised, _least(price[i], raised))
        node = rows + column
        close_row = open_columns == 1 or (open_rows > 1 and left[i] <= left[node])
        moved = left[i] if close_row else left[node]
        arcs[arc, 0], arcs[arc, 1], arc_flow[arc] = i, node, moved
        left[i] -= moved
        left[node] -= moved
        if close_row:
            left[i] = -1.0
            open_rows -= 1
        else:
            raised[column] = CLOSED
            open_columns -= 1
        if open_rows > 0:
            i = (i + 1) % rows
            while left[i] == -1.0:
                i = (i + 1) % rows


@_compiled
def _perturb(a, b, left):
    """Weights of all nodes, moved off every tie; the totals stay equal."""
    rows, columns = len(a), len(b)
    step = PERTURBATION * (a.sum() / rows + 1e-300)
    rows_total, columns_total = 0.0, 0.0
    for i in range(rows):
        left[i] = a[i] + step * (1 + 0.6180339887498949 * (i + 1) % 1.0)
        rows_total += left[i]
    for j in range(columns):
        left[rows + j] = b[j] + step * (1 + 0.7548776662466927 * (j + 1) % 1.0)
        columns_total += left[rows + j]
    for j in range(columns):
        left[rows + j] *= rows_total / columns_total


@_compiled
def _hang(arcs, arc_flow, parent, amount, order):
    """Make row 0 the root of the tree of these arcs; `order` lists every node after its parent."""
    nodes = len(parent)
    head, link = np.full(nodes, -1), np.empty(2 * nodes, np.int64)  # the arcs at each node, as linked lists
    for arc in range(nodes - 1):
        for side in range(2):
            node, half = arcs[arc, side], 2 * arc + side
            link[half], head[node] = head[node], half
    parent[0], order[0] = -1, 0
    known = 1
    for position in range(nodes):
        node = order[position]
        half = head[node]
        while half >= 0:
            neighbour = arcs[half >> 1, 1 - (half & 1)]
            if neighbour != parent[node]:
                parent[neighbour], amount[neighbour] = node, arc_flow[half >> 1]
                order[known] = neighbour
                known += 1
            half = link[half]


@_compiled
def _order(parent, first, after, order):
    """Fill `order` so that every node comes after its parent; `first` and `after` are work space."""
    first[:] = -1
    for node in range(1, len(parent)):
        after[node], first[parent[node]] = first[parent[node]], node
    order[0], known = 0, 1
    for position in range(len(parent)):
        child = first[order[position]]
        while child >= 0:
            order[known] = child
            known += 1
            child = after[child]


@_compiled
def _sets(parent, order, below):
    """The nodes at and below each node, as bits."""
    below[:] = 0
    for node in order[::-1]:
        below[node, node >> 6] |= 1 << (node & 63)
        if parent[node] >= 0:
            for word in range(below.shape[1]):
                below[parent[node], word] |= below[node, word]


@_compiled
def _potentials(cost, parent, order, potential):
    """Potentials that make the reduced cost of every arc of the tree 0, and u_0 = 0."""
    rows = cost.shape[0]
    potential[0] = 0
    for node in order[1:]:
        above = parent[node]
        if node < rows:
            potential[node] = potential[above] + cost[node, above - rows]
        else:
            potential[node] = potential[above] - cost[above, node - rows]


@_compiled
def _flows(a, b, parent, order, amount):
    """The flow that the weights imply on every arc of the tree, from the leaves up."""
    amount[: len(a)] = a
    amount[len(a) :] = b
    for node in order[:0:-1]:
        amount[parent[node]] -= amount[node]


@_compiled
def _least(prices, raised):
    """The smallest of prices_j + raised_j."""
    least = prices[0] + raised[0]
    for j in range(1, len(prices)):
        least = min(least, prices[j] + raised[j])
    return least


@_compiled
def _place(prices, raised, least):
    """Where prices_j + raised_j is `least`."""
    j = 0
    while prices[j] + raised[j] != least:
        j += 1
    return j


@_compiled
def _optimise(price, parent, below, amount, level, most_pivots):
    """Pivot until no reduced cost is negative; returns False where that takes more than `most_pivots`."""
    rows = len(price)
    raised, row = level[rows:], 0
    for _ in range(most_pivots + 1):
        enters, reduced, priced = -1, 0, 0
        while priced < rows and enters < 0:
            for _ in range(min(BLOCK, rows - priced)):
                least = _least(price[row], raised) - level[row]
                if least < reduced:
                    enters, reduced = row, least
                row = row + 1 if row + 1 < rows else 0
                priced += 1
        if enters < 0:
            return True
        column = _place(price[enters], raised, reduced + level[enters])
        _exchange(enters, rows + column, reduced, rows, parent, below, amount, level)
    return False


@_compiled
def _exchange(row, column, reduced, rows, parent, below, amount, level):
    """Let the arc of a row and a column enter the tree; the first arc that the added flow empties leaves it."""
    word, bit = column >> 6, 1 << (column & 63)
    leaving, least, row_side = -1, np.inf, True  # rows' arcs empty on the row's side of the join, columns' on the other
    join = row
    while not below[join, word] & bit:
        if join < rows and amount[join] < least:
            leaving, least = join, amount[join]
        join = parent[join]
    node = column
    while node != join:
        if node >= rows and amount[node] < least:
            leaving, least, row_side = node, amount[node], False
        node = parent[node]
    top, hook = (row, column) if row_side else (column, row)
    _move_sets(top, hook, leaving, join, parent, below)
    node, change = hook, -least
    while node != join:
        amount[node] += change
        node, change = parent[node], -change
    node, change = parent[leaving], least
    while node != join:
        amount[node] += change
        node, change = parent[node], -change
    # On the path from the entering arc to the leaving one, parents become children.
    node, above, flow, change = top, hook, least, -least
    while True:
        next_flow, next_node = amount[node] + change, parent[node]
        amount[node], parent[node] = flow, above
        if node == leaving:
            break
        node, above, flow, change = next_node, node, next_flow, -change
    shift = reduced if row_side else -reduced
    for w in range(below.shape[1]):
        moved = below[top, w]
        for k in range(min(64, len(parent) - 64 * w)):
            level[64 * w + k] += shift if (moved >> k) & 1 else 0


@_compiled
def _move_sets(top, hook, leaving, join, parent, below):
    """Update the sets for the subtree at `leaving`, cut off and hung from `hook` by `top`, before parents change."""
    for w in range(below.shape[1]):
        moved, node = below[leaving, w], hook
        while node != join:
            below[node, w] |= moved
            node = parent[node]
        node = parent[leaving]
        while node != join:
            below[node, w] &= ~moved
            node = parent[node]
        node, inner = top, 0
        while True:
            inner, below[node, w] = below[node, w], moved & ~inner
            if node == leaving:
                break
            node = parent[node]
