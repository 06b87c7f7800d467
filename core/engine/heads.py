"""Whether a method can classify the features of another method's checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..episode import Task
from ..errors import UserError
from ..methods.base import Method

FEATURES = ("image", "map", "vector", "parts")


def refuse_unfit(head: Method, encoder: Method, example: Callable[[], Task], option: str = "--methods") -> None:
    """Refuse a head that cannot classify a checkpoint's features.

    Args:
        head: a freshly built method in eval mode.
        encoder: the method that encodes.
        example: makes a task of its features.
        option: of the command line that names the head.

    Raises:
        UserError: where a feature is missing, or the answer would depend on weights that the checkpoint does not hold.
    """
    owner = encoder.name
    missing = [name for name in head.needs if name in FEATURES and name not in encoder.needs]
    if missing:
        raise UserError(
            f"{option} names {head.name}, which needs the feature {missing[0]!r}, but {owner} encodes "
            f"{', '.join(name for name in encoder.needs if name in FEATURES)}; leave it out."
        )
    learned = used_by_forward(head, example)
    if learned:
        raise UserError(
            f"{option} names {head.name}, which has learned parameters outside the backbone ({learned[0]}), and a "
            f"checkpoint of {owner} does not hold them; evaluate a checkpoint of {head.name} instead."
        )


def refuse_untrained(head: Method, example: Callable[[], Task], option: str) -> None:
    """Refuse a method on a pretrained encoder whose answers depend on weights that nothing has trained.

    Args:
        head: the method in eval mode, with the encoder for its backbone.
        example: makes a task of its features.
        option: of the command line that names the method.

    Raises:
        UserError: where there are such weights.
    """
    learned = [name for name in used_by_forward(head, example) if not name.startswith("backbone.")]
    if learned:
        raise UserError(
            f"{option} names {head.name}, which has learned parameters outside the backbone ({learned[0]}), and an "
            "encoder does not hold them; choose a method that learns from the supports alone, such as RFS."
        )


def used_by_forward(head: Method, example: Callable[[], Task]) -> list[str]:
    """Names of the weights that logits depend on: the parameters that a gradient reaches, and buffers of the head.

    A classifier of base classes, for example, is not among them: it serves training alone.
    """
    learned = {name: p for name, p in head.named_parameters() if p.requires_grad}
    inside = {id(buffer) for part in (head.backbone, head.objective) for buffer in part.buffers()}
    values = head.state_dict(keep_vars=True).items()  # an ensemble lists what its members share under several names
    outside = [name for name, value in values if not isinstance(value, nn.Parameter) and id(value) not in inside]
    with torch.enable_grad():
        logits = head.answer(example())
        if not logits.requires_grad:
            return outside
        slopes = torch.autograd.grad(logits.sum(), list(learned.values()), allow_unused=True)
    return [name for name, slope in zip(learned, slopes, strict=True) if slope is not None] + outside
