"""Counter-based random numbers: pure functions of (seed, tag), with the same bits on every machine and device.

SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) on int64 tensors,
whose arithmetic wraps modulo 2^64. Seeds carry the leading task axis, so T tasks at once draw what T tasks alone draw.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

MANY_STEPS = 64  # a shuffle of more steps stores its array
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def key(*parts: str | int) -> int:
    """A signed 64-bit integer from names and numbers, e.g. key("episode", fingerprint, 5, 1, 15)."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def mix(state: Tensor) -> Tensor:
    """SplitMix64's finaliser: [..] int64 to [..] int64; every output bit depends on every input bit."""
    for shift, multiplier in _MIX:
        state = (state ^ _shift_right(state, shift)) * _signed(multiplier)
    return state ^ _shift_right(state, 31)


def hashes(seed: Tensor, tag: str | int, n: int) -> Tensor:
    """n independent 64-bit words for each seed: [*S] int64 to [*S, n] int64."""
    start = mix(seed ^ key(tag))
    counter = torch.arange(1, n + 1, device=seed.device) * _signed(_GOLDEN)
    return mix(start[..., None] + counter)


def uniform(seed: Tensor, tag: str | int, shape: tuple[int, ...] = ()) -> Tensor:
    """Uniform on [0, 1) in steps of 2^-24: seeds [*S] to [*S, *shape] float32."""
    words = hashes(seed, tag, math.prod(shape)).view(*seed.shape, *shape)
    return _shift_right(words, 40).float() * 2**-24


def normal(seed: Tensor, tag: str | int, shape: tuple[int, ...] = ()) -> Tensor:
    """Standard normal by Box and Muller: seeds [*S] to [*S, *shape] float32."""
    words = hashes(seed, tag, 2 * math.prod(shape)).view(*seed.shape, 2, *shape)
    radius, angle = (_shift_right(words, 11).double() * 2**-53).unbind(seed.dim())
    return ((-2 * (1 - radius).log()).sqrt() * (2 * math.pi * angle).cos()).float()


def dirichlet(seed: Tensor, tag: str | int, n: int, concentration: float) -> Tensor:
    """Proportions of n parts from a symmetric Dirichlet distribution: seeds [*S] to [*S, n] float64, sums 1.

    They are n Gamma variables over their sum, each from one uniform variable by the inverse of its distribution.
    """
    from scipy.special import gammaincinv  # slow to import

    chance = (_shift_right(hashes(seed, tag, n), 11).double() + 0.5) * 2**-53  # strictly between 0 and 1
    gamma = torch.from_numpy(gammaincinv(concentration, chance.cpu().numpy())).to(chance.device)
    return gamma / gamma.sum(-1, keepdim=True)


def permutation(seed: Tensor, tag: str | int, n: int) -> Tensor:
    """A permutation of 0..n-1 for each seed: [*S] to [*S, n] int64."""
    return hashes(seed, tag, n).argsort(dim=-1, stable=True)


def subset(seed: Tensor, tag: str | int, sizes: Tensor, k: int) -> Tensor:
    """k different numbers below `sizes`, uniformly and in random order: seeds and sizes [*S] to [*S, k] int64.

    These are the first k steps of a Fisher-Yates shuffle. Only a shuffle of many steps stores its array. With few steps
    the content of a position is looked up among the swaps so far, at a cost that does not depend on `sizes` but grows
    with k^2. The bias of taking a remainder is below size / 2^63.
    """
    words = _shift_right(hashes(seed, tag, k), 1)
    return _shuffled(words, sizes) if k > MANY_STEPS else _looked_up(words, sizes)


def _shuffled(words: Tensor, sizes: Tensor) -> Tensor:
    """One step of the shuffle for each of `words` [*S, k], on a stored array."""
    content = torch.arange(int(sizes.max()), device=words.device).expand(*sizes.shape, -1).clone()
    for step in range(words.shape[-1]):
        position = (step + words[..., step] % (sizes - step))[..., None]
        number, replaced = content.gather(-1, position), content[..., step : step + 1].clone()
        content.scatter_(-1, position, replaced)
        content[..., step : step + 1] = number
    return content[..., : words.shape[-1]]


def _looked_up(words: Tensor, sizes: Tensor) -> Tensor:
    """`_shuffled` without an array: the content of a position is looked up among the swaps so far."""
    swapped_at: list[Tensor] = []
    swapped_in: list[Tensor] = []
    chosen: list[Tensor] = []
    for step in range(words.shape[-1]):
        position = step + words[..., step] % (sizes - step)
        current = torch.full_like(position, step)
        number, replaced = position, current
        for swapped, value in zip(swapped_at, swapped_in, strict=True):
            number = torch.where(swapped == position, value, number)
            replaced = torch.where(swapped == current, value, replaced)
        chosen.append(number)
        swapped_at.append(position)
        swapped_in.append(replaced)
    return torch.stack(chosen, dim=-1)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros: torch's operator would copy the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x
