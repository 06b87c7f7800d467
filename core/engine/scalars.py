"""Training curves: metrics.jsonl is the record, TensorBoard a view of it."""

from __future__ import annotations

import logging
from typing import Any

from ..config.provenance import flatten
from ..config.read import parse
from ..report.run import RunFolder
from .events import EventFile

log = logging.getLogger("fiveway")


class Scalars:
    """Writes one record an epoch. Records that a resumed run will write again are dropped first.

    TensorBoard counts the steps of all stages on, and forgets points at or after `purge_step`.
    """

    def __init__(self, run: RunFolder, records: int, step: int, steps_before: int = 0) -> None:
        """`step` is the last one in the stage whose record stays, `steps_before` those of the stages before."""
        run.keep_metrics(records)
        self._run, self._steps_before = run, steps_before
        self._board: EventFile | None = None
        if run.writes:
            self._board = EventFile(run.path / "tb", purge_step=steps_before + step + 1)
            if not records and run.config.is_file():
                self._add_settings(self._board)

    def __enter__(self) -> Scalars:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._board is not None:
            self._board.close()

    def _add_settings(self, board: EventFile) -> None:
        """Show the run's settings under "hparams" of TensorBoard."""
        from torch.utils.tensorboard.summary import hparams

        tree = parse(self._run.config.read_text(encoding="utf-8"))
        plain = {key: value for key, value in flatten(tree).items() if isinstance(value, bool | int | float | str)}
        for summary in hparams(plain, {f"{tree['STAGES'][-1]}/val": 0.0}):
            board.summary(summary)

    def add(self, record: dict[str, Any], cost: dict[str, float], epochs: int, pace: str = "") -> None:
        """Write a record with `stage`, `epoch` and `step`; each of its further numbers becomes a point of a curve.

        So do those of its `cost`, which the log leaves out. The log also says of how many `epochs` it is one, and its
        `pace`: how long it took and how much is left.
        """
        self._run.add_metrics(record | {"cost": cost})
        named = {"stage", "epoch", "step"}
        costs = {f"cost/{name}": value for name, value in cost.items()}
        for name, value in (record | costs).items():
            if name not in named and self._board is not None:
                self._board.scalar(f"{record['stage']}/{name}", value, self._steps_before + record["step"])
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in record.items() if name not in named)
        log.info("%s epoch %d of %d  %s%s", record["stage"], record["epoch"], epochs, numbers, pace and f"  ({pace})")
