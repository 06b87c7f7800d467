"""The best epochs of a run on the val split, each a checkpoint of its own in the folder `epochs` of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import UserError
from ..report.run import KEPT, kept_networks
from . import checkpoint


def keep(folder: Path, epoch: int, accuracy: float, most: int, save: Callable[[Path], None]) -> None:
    """Save this epoch's network where it is among the best so far, and delete one that no longer is.

    Of equal ones the earlier is kept. The files alone say what was kept, so that a resumed run needs to know no more;
    what an interrupted one kept of this epoch or a later one is not counted.

    Args:
        folder: of the run.
        epoch: counted from 1.
        accuracy: on the val split.
        most: how many are kept.
        save: writes the checkpoint to a file.
    """
    this = _file(folder, epoch)
    accuracies = {file: _accuracy(file) for file in kept_networks(folder) if file.name < this.name} | {this: accuracy}
    dropped = _ranked(accuracies)[most:]
    if this not in dropped:
        this.parent.mkdir(exist_ok=True)
        save(this)
    for file in dropped:
        file.unlink(missing_ok=True)


def best_epochs(folder: Path, count: int) -> list[Path]:
    """The files of so many epochs that a run kept, the best first.

    Raises:
        UserError: where the run kept fewer.
    """
    files = kept_networks(folder)
    if len(files) < count:
        raise UserError(
            f"EVAL.ENSEMBLE is {count}, but {folder} holds {len(files)} networks in {KEPT}/; train with KEEP {count} "
            "in the last stage, or set EVAL.ENSEMBLE to 1."
        )
    return _ranked({file: _accuracy(file) for file in files})[:count]


def _ranked(accuracies: dict[Path, float]) -> list[Path]:
    """The files, the best first, of equal ones the earlier."""
    return sorted(accuracies, key=lambda file: (-accuracies[file], file.name))


def _accuracy(file: Path) -> float:
    """On the val split, as a checkpoint says it."""
    accuracy = checkpoint.load(file).get("val")
    if not isinstance(accuracy, float):
        raise UserError(f"{file} is no checkpoint of an epoch: it does not say its accuracy on the val split.")
    return accuracy


def _file(folder: Path, epoch: int) -> Path:
    return folder / KEPT / f"epoch{epoch:06d}.pth"
