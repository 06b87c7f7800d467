"""Figures of ImageNet low-shot against loops over images."""

import math

import numpy as np
import pytest
import torch

from core.protocols.lowshot import shares

N, B, PRIOR = 7, 9, 0.7


def place(scores, truth):
    """Classes before the true one in a list of scores, lower labels first among equals."""
    order = sorted(range(len(scores)), key=lambda c: (-scores[c], c))
    return order.index(truth)


def softmax(scores):
    total = sum(math.exp(s) for s in scores)
    return [math.exp(s) / total for s in scores]


def test_every_figure():
    generator = torch.Generator().manual_seed(0)
    novel, base = (torch.randn(50, k, generator=generator, dtype=torch.float64) for k in (N, B))
    novel[3], base[41, 2:5] = 0.5, 1.25  # ties
    novel_y, base_y = torch.randint(N, (30,), generator=generator), torch.randint(B, (20,), generator=generator)
    ranks = {name: [] for name in ("novel", "base", "novel_all", "base_all", "all", "prior")}
    for i, (own, other) in enumerate(zip(novel.tolist(), base.tolist(), strict=True)):
        truth = B + int(novel_y[i]) if i < 30 else int(base_y[i - 30])
        joint = place(other + own, truth)
        if i < 30:
            ranks["novel"].append(place(own, truth - B))
            ranks["novel_all"].append(joint)
        else:
            ranks["base"].append(place(other, truth))
            ranks["base_all"].append(joint)
        ranks["all"].append(joint)
        weighed = [(1 - PRIOR) * p for p in softmax(other)] + [PRIOR * p for p in softmax(own)]
        ranks["prior"].append(place(weighed, truth))
    expected = [[100 * sum(r < top for r in found) / len(found) for top in (1, 5)] for found in ranks.values()]
    np.testing.assert_allclose(shares(novel, base, novel_y, base_y, PRIOR), expected)
    assert len({tuple(row) for row in expected}) > 4


@pytest.mark.parametrize(("prior", "novel", "base"), [(1 - 1e-12, 100, 0), (1e-12, 0, 100)])
def test_a_prior_near_one_side_gives_it_every_first_place(prior, novel, base):
    scores = torch.eye(4, dtype=torch.float64)
    of_novel = shares(scores, scores, torch.arange(4), torch.arange(0), prior)[5, 0]
    of_base = shares(scores, scores, torch.arange(0), torch.arange(4), prior)[5, 0]
    assert (of_novel, of_base) == (novel, base)
