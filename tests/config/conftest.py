"""Small made-up classes, and YAML files to load."""

import pytest

from core.config import Schemas, load
from core.errors import UserError


@pytest.fixture(scope="session")
def schemas():
    made_up = Schemas(
        methods={
            "ProtoNet": {"scale": 1.0, "normalise": False},
            "DN4": {"k": 3, "scale": 1.0},
            "Baseline": {"head": "linear", "sizes": (1, 2), "anything": None},
        },
        backbones={"Conv4": {"width": 64}, "ResNet12": {"drop": 0.1}},
        objectives={"ce": {}, "arcface": {"margin": 0.5}},
    )
    return lambda: made_up


@pytest.fixture
def write(tmp_path):
    """Write a YAML below the test's folder and return its path."""

    def write(text="", name="leaf.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def read(write, schemas):
    """Load a YAML given as text, with overrides."""
    return lambda text="", *overrides: load(write(text), overrides, schemas)


@pytest.fixture
def refused(read):
    """The message with which loading a YAML, with overrides, is refused."""

    def refused(text, *overrides):
        with pytest.raises(UserError) as caught:
            read(text, *overrides)
        return str(caught.value)

    return refused
