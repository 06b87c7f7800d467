"""A suite in a folder of its own: two methods that share a base training, and one alone."""

import pytest
import yaml

from tests.workspace import META, PROTONET, TWO_STAGES

SHORT = {"STAGE": {"meta": META | {"EPOCHS": 2}}, "EVAL": {"EPISODES": 20}}
TWO = TWO_STAGES | {"STAGE": TWO_STAGES["STAGE"] | SHORT["STAGE"], "EVAL": SHORT["EVAL"]}


@pytest.fixture
def suite(space):
    """Write a suite file; `keys` replace those of the default."""
    space.config(PROTONET | SHORT, "Proto.yaml")
    space.config(TWO, "Two.yaml")
    space.config(TWO | {"METHOD": {"NAME": "ProtoNet", "ARGS": {"scale": 0.5}}}, "Scaled.yaml")

    def write(**keys):
        file = space.path / "suite.yaml"
        runs = [str(space.path / name) for name in ("Two.yaml", "Scaled.yaml", "Proto.yaml")]
        tree = {"BASE": str(space.base), "RUNS": runs, "TESTS": [{}, {"OPTIONS": ["--shots", 2]}]}
        file.write_text(yaml.safe_dump(tree | keys))
        return file

    return write
