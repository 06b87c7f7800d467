"""Real weights to test with, where `make weights` has fetched them."""

from pathlib import Path

import pytest

MOBILENET = Path(__file__).parents[1] / "data/weights/mobilenet_v2-b0353104.pth"
needs_mobilenet = pytest.mark.skipif(not MOBILENET.is_file(), reason=f"no {MOBILENET.name}: run `make weights`")
