"""Numbers that are not finite: a network that diverged is refused, and never becomes a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..episode import Features
from ..errors import UserError


class NotFinite(UserError):
    """A network gives numbers that are not finite."""


def bad_entry(state: Mapping[str, Any]) -> str:
    """The first entry of a network's state that holds a number that is not finite; "" for none."""
    floats = {name: value for name, value in state.items() if isinstance(value, Tensor) and value.is_floating_point()}
    return next((name for name, value in floats.items() if not torch.isfinite(value).all()), "")


def refuse_state(state: Mapping[str, Any]) -> None:
    """Refuse weights and running statistics that are not finite.

    Raises:
        NotFinite: with the first such entry.
    """
    bad = bad_entry(state)
    if bad:
        raise NotFinite(f"{bad} is not finite: the network diverged; train it with a lower OPTIM.LR.")


def refuse_features(features: Features, ids: Tensor) -> None:
    """Refuse features of images `ids` [n] that are not finite.

    Raises:
        NotFinite: with the first such image.
    """
    for name, value in features.items():
        finite = torch.isfinite(value).flatten(1).all(1)
        if not finite.all():
            image = int(ids[int((~finite).nonzero()[0])])
            raise NotFinite(
                f"the {name} of image {image} is not finite: the network diverged; train it with a lower OPTIM.LR."
            )


def refuse_logits(logits: Tensor, first: int) -> None:
    """Refuse logits [T, Q, N] of the episodes from number `first` on of which a query's largest is not finite.

    A method may rule out a class by -inf, but not all of a query's.

    Raises:
        NotFinite: with the first such episode.
    """
    largest = logits.amax(-1).flatten(1)  # nan where any of a query's is
    odd = ~largest.isfinite()
    if odd.any():
        episode, query = odd.nonzero()[0].tolist()
        raise NotFinite(
            f"the largest logit of a query of episode {first + episode} is {float(largest[episode, query])}: the "
            "network diverged, or the method rules out all classes; train it with a lower OPTIM.LR, or correct forward."
        )
