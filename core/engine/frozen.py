"""A run that trains nothing: a network as it came becomes a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..methods.base import Method
from . import checkpoint


class FrozenNetwork:
    """Stands in a trainer's place where there are no stages.

    Args:
        method: with the weights of its encoder.
        best: where the checkpoint goes.
        meta: what it says about itself.
    """

    def __init__(self, method: Method, best: Path, meta: dict[str, Any]) -> None:
        self._method, self._best, self._meta = method, best, meta

    def rehearse(self) -> None:
        """There are no steps that could fail."""

    def refuse_longer(self, epochs: int) -> None:
        """There are no epochs."""

    def resume(self) -> None:
        """There is nothing to go on with."""

    def fit(self) -> Path:
        """Write the checkpoint."""
        checkpoint.save(self._best, {"method": self._method.state_dict(), "meta": self._meta})
        return self._best
