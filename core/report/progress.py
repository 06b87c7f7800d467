"""Progress bars for people at a terminal; silent in logs."""

from __future__ import annotations

from tqdm import tqdm


class Progress(tqdm):
    """A tqdm bar that counts `total` of `unit`, shown only where someone watches (a terminal) and `show` is set."""

    def __init__(self, total: int, unit: str, show: bool = True, initial: int = 0) -> None:
        super().__init__(
            total=total,
            initial=initial,
            unit=f" {unit}",
            disable=None if show else True,
            leave=False,
            dynamic_ncols=True,
            smoothing=0.05,
        )
