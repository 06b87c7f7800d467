"""The losses of an epoch, counted and reduced to the numbers of its record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..objectives.loss import Loss
from ..ranks import current

REDUCED: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": torch.mean,
    "min": torch.amin,
    "max": torch.amax,
    "last": lambda column: column[-1],
}


class EpochLosses:
    """Adds up what the losses of the steps of an epoch say. Nothing is read from the device before the end.

    Where a run has several processes, the numbers are those of all of them.
    """

    def __init__(self, device: torch.device) -> None:
        self._ranks = current()
        self._correct, self._answers = torch.zeros((), dtype=torch.long, device=device), 0
        # Rows of measurements [calls, scalars], by the names of the scalars and how each is reduced.
        self._rows: dict[tuple[tuple[str, str], ...], list[Tensor]] = {}

    def add(self, loss: Loss) -> None:
        """Count the right answers of a loss, and keep its measurements."""
        if loss.logits is not None and loss.y is not None:
            self._correct += (loss.logits.detach().argmax(-1) == loss.y).sum()
            self._answers += loss.y.numel()
        if loss.scalars:
            columns = tuple((name, scalar.over) for name, scalar in loss.scalars.items())
            row = torch.stack([scalar.value.detach().reshape(-1) for scalar in loss.scalars.values()], dim=1)
            self._rows.setdefault(columns, []).append(row)

    def state(self) -> dict[str, Any]:
        """All that was added in all processes, for a checkpoint in the middle of an epoch."""
        correct, answers = self._ranks.add(self._correct.clone()), sum(self._ranks.gather(self._answers))
        return {"correct": correct, "answers": answers, "rows": [*self._tables().items()]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        device = self._correct.device
        self._correct, self._answers = state["correct"].to(device), state["answers"]
        self._rows = {columns: [rows.to(device)] for columns, rows in state["rows"]}

    def train_accuracy(self) -> dict[str, float]:
        """Percent of right answers in training; nothing where no loss had any."""
        correct, answers = self._ranks.add(torch.tensor([int(self._correct), self._answers])).tolist()
        return {"train_accuracy": 100 * correct / answers} if answers else {}

    def scalars(self) -> dict[str, float]:
        """Every measurement over all its calls in the epoch."""
        return {
            name: float(REDUCED[over](column))
            for columns, table in self._tables().items()
            for (name, over), column in zip(columns, table.unbind(1), strict=True)
        }

    def _tables(self) -> dict[tuple[tuple[str, str], ...], Tensor]:
        """The rows of all processes, one table for each kind."""
        tables = {columns: torch.cat(rows).cpu() for columns, rows in self._rows.items()}
        everyone = self._ranks.gather(tables)
        return {columns: torch.cat([part[columns] for part in everyone if columns in part]) for columns in tables}
