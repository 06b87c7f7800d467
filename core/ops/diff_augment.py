"""DiffAugment: Zhao, Liu, Lin, Zhu and Han, NeurIPS 2020, as P>M>F augments supports. https://arxiv.org/abs/2006.10738"""

from __future__ import annotations

import torch
from torch import Tensor

from . import random
from .crop import padded_crop

FARTHEST = 0.125  # translation, as a share of a side


def diff_augment(images: Tensor, seed: Tensor, tag: str, chance: float = 0.9) -> Tensor:
    """Change the colours and the place of normalised images [n, 3, H, W], with parameters of its own for each.

    With probability 1 - chance they stay as they are, all of them. Otherwise all are mirrored or none (probability one
    half); then brightness moves by -0.5..0.5, saturation is multiplied by 0..2 and contrast by 0.5..1.5, and the image
    moves by up to an eighth of a side along each axis, with zeros behind it.

    Args:
        images: [n, 3, H, W].
        seed: [] of the draw.
        tag: names it, so that one seed serves several draws.
        chance: of any change.
    """
    coins = random.uniform(seed, f"{tag} coins", (2,))
    u = random.uniform(seed, f"{tag} images", (len(images), 5))
    brightness, saturation, contrast = u[:, :3, None, None, None].to(images.dtype).unbind(1)
    changed = torch.where(coins[1] < 0.5, images.flip(3), images)
    changed = changed + brightness - 0.5
    changed = _stretched(changed, 2 * saturation, (1,))
    changed = _stretched(changed, contrast + 0.5, (1, 2, 3))
    return torch.where(coins[0] < chance, _moved(changed, u[:, 3:]), images)


def _stretched(images: Tensor, factor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Images whose distance from their mean along some axes is multiplied by factors [n, 1, 1, 1]."""
    mean = images.mean(axes, keepdim=True)
    return (images - mean) * factor + mean


def _moved(images: Tensor, u: Tensor) -> Tensor:
    """Images moved by whole pixels, as numbers [n, 2] of 0..1 say."""
    down, right = (round(FARTHEST * side) for side in images.shape[2:])
    corner = (u * torch.tensor([2 * down + 1, 2 * right + 1], device=u.device)).long()
    return padded_crop(images.permute(0, 2, 3, 1), corner, down, right).permute(0, 3, 1, 2)
