"""SplitMix64 against plain Python integers, and the distributions drawn from it."""

import hashlib
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.ops import random

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
# The first outputs of SplitMix64 seeded with 1234567, as published with its implementations.
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def split_mix(state, n):
    outputs = []
    for _ in range(n):
        state = (state + GOLDEN) & MASK
        outputs.append(mix(state))
    return outputs


def words(seed, tag, n):
    """What `hashes` documents: SplitMix64 started at the mixed seed and tag."""
    return split_mix(mix((seed ^ random.key(tag)) & MASK), n)


def signed(x):
    return x - (1 << 64) if x >> 63 else x


def unsigned(tensor):
    return [x & MASK for x in tensor.flatten().tolist()]


def seeds(n, start=0):
    return torch.arange(start, start + n) * 7919 - 50


def test_reference_gives_the_published_sequence():
    assert split_mix(1234567, 5) == PUBLISHED


def test_mixer_gives_the_published_sequence():
    state = torch.tensor([signed((1234567 + i * GOLDEN) & MASK) for i in range(1, 6)])
    assert unsigned(random.mix(state)) == PUBLISHED


@given(INT64)
def test_mixer_equals_plain_integers(x):
    assert unsigned(random.mix(torch.tensor([x]))) == [mix(x & MASK)]


@given(INT64, st.text(max_size=5), st.integers(0, 9))
def test_hashes_equal_plain_integers(seed, tag, n):
    assert unsigned(random.hashes(torch.tensor(seed), tag, n)) == words(seed, tag, n)


def test_key_is_the_start_of_a_sha256():
    digest = hashlib.sha256(b"episode\x005\x001").digest()
    assert random.key("episode", 5, 1) == int.from_bytes(digest[:8], "little", signed=True)
    assert len({random.key(*parts) for parts in itertools.product("ab", (1, 11), (1, 11))}) == 8
    assert random.key("a", 11) != random.key("a1", 1)


@given(INT64)
def test_uniform_is_the_upper_24_bits(seed):
    expected = [(word >> 40) / 2**24 for word in words(seed, "u", 6)]
    assert random.uniform(torch.tensor(seed), "u", (2, 3)).flatten().tolist() == expected


@given(INT64)
def test_normal_is_box_and_muller(seed):
    drawn = words(seed, "n", 8)
    radii, angles = ([(word >> 11) / 2**53 for word in half] for half in (drawn[:4], drawn[4:]))
    expected = [math.sqrt(-2 * math.log1p(-r)) * math.cos(2 * math.pi * a) for r, a in zip(radii, angles, strict=True)]
    assert np.allclose(random.normal(torch.tensor(seed), "n", (4,)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_uniform_range_and_moments():
    u = random.uniform(seeds(100), "u", (1000,)).double()
    assert u.shape == (100, 1000)
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    assert abs(u.mean() - 1 / 2) < 5 / math.sqrt(12 * u.numel())
    assert abs(u.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / u.numel())
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 1e-4


def test_normal_moments():
    x = random.normal(seeds(100), "n", (1000,)).double()
    assert abs(x.mean()) < 5 / math.sqrt(x.numel())
    assert abs(x.var() - 1) < 5 * math.sqrt(2 / x.numel())
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-4


def test_seeds_and_tags_are_uncorrelated():
    rows = torch.cat([random.normal(seeds(20), tag, (2000,)) for tag in ("a", "b")])
    off_diagonal = np.corrcoef(rows.numpy())[~np.eye(40, dtype=bool)]
    assert np.abs(off_diagonal).max() < 5.5 / math.sqrt(2000)


@given(st.integers(1, 40), INT64)
def test_permutation_is_one(n, seed):
    assert random.permutation(torch.tensor([seed]), "p", n).sort().values.tolist() == [list(range(n))]


def test_permutations_are_uniform():
    drawn = random.permutation(seeds(24000), "p", 4)
    codes = (drawn * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = codes.unique(return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


@pytest.mark.parametrize(
    "draw",
    [
        lambda s: random.hashes(s, "t", 5),
        lambda s: random.uniform(s, "t", (3, 2)),
        lambda s: random.normal(s, "t", (3, 2)),
        lambda s: random.permutation(s, "t", 9),
        lambda s: random.subset(s, "t", s.remainder(5) + 6, 4),
    ],
    ids=["hashes", "uniform", "normal", "permutation", "subset"],
)
def test_tasks_at_once_draw_what_tasks_alone_draw(draw):
    many = seeds(12)
    together = draw(many)
    assert torch.equal(together, torch.stack([draw(seed) for seed in many]))
    assert torch.equal(together.unflatten(0, (3, 4)), draw(many.view(3, 4)))


def test_longer_draws_begin_with_shorter_ones():
    assert torch.equal(random.hashes(seeds(3), "t", 9)[:, :4], random.hashes(seeds(3), "t", 4))
    sizes = torch.full((3,), 20)
    assert torch.equal(random.subset(seeds(3), "t", sizes, 9)[:, :4], random.subset(seeds(3), "t", sizes, 4))


def fisher_yates(seed, tag, size, k):
    array = list(range(size))
    for step, word in enumerate(words(seed, tag, k)):
        at = step + (word >> 1) % (size - step)
        array[step], array[at] = array[at], array[step]
    return array[:k]


@given(st.lists(st.tuples(INT64, st.integers(5, 30)), min_size=1, max_size=6), st.integers(1, 5))
def test_subset_equals_a_fisher_yates_loop(pairs, k):
    many, sizes = (torch.tensor(values) for values in zip(*pairs, strict=True))
    expected = [fisher_yates(seed, "s", size, k) for seed, size in pairs]
    assert random.subset(many, "s", sizes, k).tolist() == expected


@pytest.mark.parametrize("k", [random.MANY_STEPS, random.MANY_STEPS + 1, 90])
def test_long_subsets_equal_a_fisher_yates_loop(k):
    sizes = [90, 130, 200, 90, 101, 95]
    drawn = random.subset(seeds(6).view(2, 3), "s", torch.tensor(sizes).view(2, 3), k).flatten(0, 1)
    assert drawn.tolist() == [fisher_yates(int(s), "s", n, k) for s, n in zip(seeds(6), sizes, strict=True)]


@given(INT64, st.integers(1, 12))
def test_subset_of_everything_is_a_permutation(seed, n):
    assert sorted(random.subset(torch.tensor(seed), "s", torch.tensor(n), n).tolist()) == list(range(n))


def test_subset_is_different_numbers_below_unequal_sizes():
    sizes = torch.arange(8, 508)
    chosen = random.subset(seeds(500), "s", sizes, 8)
    assert (chosen >= 0).all()
    assert (chosen < sizes[:, None]).all()
    assert all(len(set(row)) == 8 for row in chosen.tolist())


def test_ordered_subsets_are_uniform():
    chosen = random.subset(seeds(24000), "s", torch.full((24000,), 5), 3)
    counts = (chosen * torch.tensor([25, 5, 1])).sum(1).unique(return_counts=True)[1]
    assert len(counts) == 60
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


@pytest.mark.parametrize("concentration", [0.05, 1.0, 2.0, 50.0])
def test_dirichlet_proportions_have_the_distribution_of_one_part(concentration):
    shares = random.dirichlet(seeds(5000), "shares", 4, concentration)
    assert shares.dtype == torch.float64
    torch.testing.assert_close(shares.sum(1), torch.ones(5000, dtype=torch.float64))
    one_part = stats.beta(concentration, 3 * concentration)
    for part in range(4):
        assert stats.kstest(shares[:, part].numpy(), one_part.cdf).pvalue > 1e-4
