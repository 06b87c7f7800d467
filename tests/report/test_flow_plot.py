import numpy as np
import pytest
from PIL import Image

from core.report.flow_plot import draw_flow, grid_boxes


def test_cells_cover_the_image_row_by_row():
    boxes = grid_boxes(2, 8)
    assert boxes.tolist() == [[0, 0, 4, 4], [4, 0, 8, 4], [0, 4, 4, 8], [4, 4, 8, 8]]
    assert ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum() == 64


def drawn(path, flow):
    images = (np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 40, np.uint8))
    lines = draw_flow(path, images, (grid_boxes(2, 16), grid_boxes(2, 16)), flow, (flow.sum(1), flow.sum(0)))
    return lines, np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_a_line_is_drawn_for_each_flow_and_thicker_for_a_larger_one(tmp_path):
    flow = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0.01, 0, 1]])
    lines, picture = drawn(tmp_path / "a.png", flow)
    assert lines == 4
    swapped, other = drawn(tmp_path / "b.png", flow[:, [1, 0, 2, 3]])
    assert swapped == 4
    assert (picture != other).any()
    one = np.zeros((4, 4))
    one[0, 3] = 1.0
    thin = one.copy()
    thin[0, 0] = 20.0
    straight = np.zeros((4, 4))
    straight[0, 0] = 20.0
    only = drawn(tmp_path / "c.png", straight)[1]
    crossed = [abs(drawn(tmp_path / f"{k}.png", f)[1] - only).sum() for k, f in enumerate((one + straight / 20, thin))]
    assert crossed[0] > crossed[1] > 0


def test_a_flow_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="between 4 and 4 regions"):
        drawn(tmp_path / "a.png", np.ones((4, 9)))
