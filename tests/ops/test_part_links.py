"""Links between parts against loops over pairs, and the averages along them."""

import numpy as np
import pytest
import torch

from core.ops.part_links import averaging_matrix, part_links
from tests.ops.parts import LABELS, NEAREST, VIEWS, WIDTH, drawn, links_of_pairs


@pytest.mark.parametrize("kind", ["class", "knn"])
def test_links_are_those_of_the_pairs(kind):
    parts = drawn(2, 6, VIEWS, WIDTH, seed=1)
    links = part_links(kind, parts, LABELS, NEAREST).numpy()
    expected = np.stack([links_of_pairs(kind, p, y) for p, y in zip(parts, LABELS, strict=True)])
    off_diagonal = ~np.eye(links.shape[1], dtype=bool)
    assert (links[:, off_diagonal] == expected[:, off_diagonal]).all()


def test_more_neighbours_than_parts_are_all_of_them():
    assert part_links("knn", drawn(1, 2, 1, WIDTH), torch.tensor([[0, 1]]), 9).sum() == 2


def test_every_part_is_averaged_with_itself_and_its_links():
    links = torch.tensor([[[False, True, True], [False, False, False], [True, False, True]]])
    expected = [[1 / 3, 1 / 3, 1 / 3], [0, 1, 0], [1 / 2, 0, 1 / 2]]
    torch.testing.assert_close(averaging_matrix(links), torch.tensor([expected], dtype=torch.float64))
    nothing = torch.zeros(2, 18, 18, dtype=torch.bool)
    assert torch.equal(averaging_matrix(nothing), torch.eye(18, dtype=torch.float64).expand(2, -1, -1))
