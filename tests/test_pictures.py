import numpy as np

from core.pictures import grid_regions


def test_cells_cover_the_image_row_by_row():
    assert grid_regions([2]).tolist() == [[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]]


def test_maps_stand_one_after_another():
    regions = grid_regions([5, 1])
    assert len(regions) == 26
    areas = (regions[:, 2] - regions[:, 0]) * (regions[:, 3] - regions[:, 1])
    assert np.allclose(areas, [1 / 25] * 25 + [1])
