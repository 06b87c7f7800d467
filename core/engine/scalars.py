"""Training curves: metrics.jsonl is the record, TensorBoard a view of it."""

from __future__ import annotations

import logging
from typing import Any

from ..report.run import RunFolder

log = logging.getLogger("fiveway")


class Scalars:
    """Writes one record an epoch. Records that a resumed run will write again are dropped first."""

    def __init__(self, run: RunFolder, records: int, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import: only training pays for it

        run.keep_metrics(records)
        self._run = run
        self._board = SummaryWriter(str(run.path / "tb"), purge_step=step)

    def __enter__(self) -> Scalars:
        return self

    def __exit__(self, *exception: object) -> None:
        self._board.close()

    def add(self, record: dict[str, Any]) -> None:
        """Write a record with `stage`, `epoch` and `step`; each of its further numbers becomes a point of a curve."""
        self._run.add_metrics(record)
        named = {"stage", "epoch", "step"}
        for name, value in record.items():
            if name not in named:
                self._board.add_scalar(f"{record['stage']}/{name}", value, record["step"])
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in record.items() if name not in named)
        log.info("%s epoch %d  %s", record["stage"], record["epoch"], numbers)
