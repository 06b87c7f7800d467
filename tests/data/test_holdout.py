import numpy as np
import pytest
import torch

from core.data.holdout import hold_out
from core.data.pixels import Pixels
from core.errors import UserError
from tests.helpers import make_split

SPLIT = make_split(4, 7, size=8)


def test_the_last_images_of_each_class_are_held_out():
    kept, rest = hold_out(SPLIT, 3)
    assert kept.counts.tolist() == [4] * 4
    assert rest.counts.tolist() == [3] * 4
    both = [
        (label, name) for part in (kept, rest) for label, name in zip(part.labels.tolist(), part.names, strict=True)
    ]
    assert sorted(both) == sorted(zip(SPLIT.labels.tolist(), SPLIT.names, strict=True))
    assert len({SPLIT.fingerprint, kept.fingerprint, rest.fingerprint}) == 3


def test_more_held_out_contains_what_was():
    few, more = hold_out(SPLIT, 1)[1], hold_out(SPLIT, 2)[1]
    assert set(few.rows.tolist()) < set(more.rows.tolist())


def test_pixels_are_those_of_the_rows():
    kept, rest = hold_out(SPLIT, 3)
    whole, cpu = Pixels(SPLIT, torch.device("cpu")), torch.device("cpu")
    for part in (kept, rest):
        pixels = Pixels(part, cpu)
        assert len(pixels) == len(part.names)
        ids = torch.arange(len(part.names))
        assert (pixels.gather(ids) == whole.gather(torch.from_numpy(part.rows))).all()
        assert [SPLIT.names[row] for row in part.rows.tolist()] == part.names
        assert (np.diff(part.labels) >= 0).all()


def test_a_class_keeps_an_image():
    hold_out(SPLIT, 6)
    with pytest.raises(UserError, match="BASE_HOLDOUT is 7, but class"):
        hold_out(SPLIT, 7)
