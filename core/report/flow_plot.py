"""A picture of an optimal flow between the regions of two images."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

LEAST_SHARE = 0.02  # of the largest flow, below which no line is drawn


def draw_flow(
    path: Path,
    images: tuple[np.ndarray, np.ndarray],
    boxes: tuple[np.ndarray, np.ndarray],
    flow: np.ndarray,
    weights: tuple[np.ndarray, np.ndarray],
    titles: tuple[str, str] = ("query", "support"),
) -> int:
    """Write two images side by side with a line for each flow, as thick as the flow is large.

    Args:
        path: PNG to write.
        images: [H, W, 3] each, uint8 or 0..1.
        boxes: regions of each image, [P, 4]: left, top, right, bottom in pixels; see `grid_boxes`.
        flow: [P, R] from regions of the first image to those of the second, not negative.
        weights: [P] and [R]; the less a region weighs, the paler it is.
        titles: above the images.

    Returns:
        How many lines were drawn: flows below 2 % of the largest are left out.
    """
    if flow.shape != (len(boxes[0]), len(boxes[1])):
        raise ValueError(f"a flow of shape {flow.shape} between {len(boxes[0])} and {len(boxes[1])} regions")
    figure = Figure(figsize=(9, 4.5))
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    for panel, image, regions, weight, title in zip(panels, images, boxes, weights, titles, strict=True):
        _draw_regions(panel, image, regions, weight, title)
    centres = [np.stack([(b[:, 0] + b[:, 2]) / 2, (b[:, 1] + b[:, 3]) / 2], 1) for b in boxes]
    largest = max(float(flow.max()), 1e-12)
    drawn = np.argwhere(flow > LEAST_SHARE * largest)
    colours = matplotlib.colormaps["viridis"]
    for i, j in drawn:
        share = float(flow[i, j]) / largest
        line = ConnectionPatch(
            centres[0][i] - 0.5,
            centres[1][j] - 0.5,
            "data",
            "data",
            axesA=panels[0],
            axesB=panels[1],
            linewidth=4 * share,
            color=colours(share),
            alpha=0.35 + 0.65 * share,
        )
        figure.add_artist(line)
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})
    return len(drawn)


def _draw_regions(panel: Axes, image: np.ndarray, regions: np.ndarray, weight: np.ndarray, title: str) -> None:
    panel.imshow(image)
    panel.set_title(title)
    panel.set_axis_off()
    for (left, top, right, bottom), heavy in zip(regions, weight / max(float(weight.max()), 1e-12), strict=True):
        corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
        panel.add_patch(
            Rectangle(corner, *size, facecolor=(1, 1, 1, 0.6 * (1 - heavy)), edgecolor="white", linewidth=0.5)
        )


def grid_boxes(side: int, size: int) -> np.ndarray:
    """The cells of a side x side map over an image of `size` pixels, row by row, [side^2, 4]."""
    edges = np.linspace(0, size, side + 1)
    return np.array([[edges[x], edges[y], edges[x + 1], edges[y + 1]] for y in range(side) for x in range(side)])
