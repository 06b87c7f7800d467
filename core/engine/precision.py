"""The arithmetic of training: float32, TF32 on tensor cores, or bfloat16 where images become features.

Under bfloat16 losses, solvers, statistics of batch-norm and the optimiser stay in float32. TF32 is a switch of the
whole step, backward included: float32 products in losses and solvers are multiplied with it too. Validation has all
bits under either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from ..episode import Features
from ..errors import UserError
from ..methods.base import Method
from .device import allow_tf32


def chosen(precision: str, device: torch.device) -> str:
    """What `auto` stands for on a device: bf16 on a GPU that has it, else fp32."""
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def refuse_unused(precision: str, method: Method, key: str) -> None:
    """Refuse bfloat16 where no image becomes a feature before the loss.

    Raises:
        UserError: for a method whose loss runs the network itself, such as MAML.
    """
    if precision == "bf16" and "image" in method.needed(training=True):
        raise UserError(
            f"{key} is bf16, but {method.name} adapts its network within the loss, which stays in float32; set it to "
            "fp32 or tf32."
        )


@contextmanager
def multiplying(precision: str) -> Iterator[None]:
    """Training steps; TF32, if they ask for it, ends with them: validation and tests have all bits."""
    allow_tf32(precision == "tf32")
    try:
        yield
    finally:
        allow_tf32(False)


def encoder(method: Method, precision: str, device: torch.device) -> Callable[[Features], Features]:
    """The method's `encode`, under bfloat16 autocast if `precision` is bf16; its features are float32."""
    if precision != "bf16":
        return method.encode

    def encode(pixels: Features) -> Features:
        with torch.autocast(device.type, torch.bfloat16):
            features = method.encode(pixels)
        return {name: value.float() for name, value in features.items()}

    return encode
