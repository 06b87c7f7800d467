"""Narrow networks for the tests of this folder that ask for them."""

import pytest

from tests.narrow import narrow_resnets


@pytest.fixture
def narrow(monkeypatch):
    narrow_resnets(monkeypatch)
