"""Small made-up classes, and YAML files to load."""

import pytest

from core.config import Schemas, load
from core.errors import UserError
from core.limits import Bounds, Choices
from core.registry import Arguments


@pytest.fixture(scope="session")
def schemas():
    made_up = Schemas(
        methods={
            "ProtoNet": Arguments({"scale": 1.0, "normalise": False}),
            "DN4": Arguments({"k": 3, "scale": 1.0}, limits={"k": Bounds(">= 1")}),
            "Baseline": Arguments({"head": "linear", "sizes": (1, 2), "anything": None}),
            "NegMargin": Arguments(
                {"scale": 1.0, "metric": "cosine"},
                limits={"metric": Choices(("cosine", "softmax"))},
                renamed={"tau": "scale"},
            ),
        },
        backbones={"Conv4": Arguments({"width": 64}), "ResNet12": Arguments({"drop": 0.1})},
        objectives={"ce": Arguments({}), "arcface": Arguments({"margin": 0.5})},
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
