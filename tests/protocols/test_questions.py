"""One checkpoint, many questions: other shapes and heads, features handed on, the cache, precision, intervals."""

import shutil

import pytest
import torch

from core.registry import METHODS
from tests.workspace import best, result


def folders(checkpoint):
    return {folder.name for folder in (checkpoint.parent / "eval" / checkpoint.stem).iterdir()}


def test_one_result_for_each_question_from_one_encoding(checkpoint, trained, space, encoded, root):
    arguments = ["--shots", 1, 5, "--ways", 2, 3, "--methods", "own,negmargin", root]
    code, out, err = space.evaluator(trained[0], "-c", checkpoint, *arguments)
    assert (code, err) == (0, "")
    plain = {f"test_{way}w{shot}s_q5_seed0_40" for way in (2, 3) for shot in (1, 5)}
    assert folders(checkpoint) == plain | {f"{name}_NegMargin" for name in plain}
    assert out.count("NegMargin on features of ProtoNet  Glyphs test  ") == out.count("\nProtoNet  ") + 1 == 4
    assert out.count("result files") == 8
    assert 100 <= encoded[0] <= 120
    alone = space.evaluate(trained[0], checkpoint, "TASK.TEST.SHOT=5", "EVAL.CACHE=false")
    assert alone.name in plain
    record = result(alone.with_name(f"{alone.name}_NegMargin"))
    assert (record["method"], record["features_of"], record["reference"]) == ("NegMargin", "ProtoNet", None)


def test_together_equals_alone(checkpoint, trained, space):
    space.evaluator(trained[0], "-c", checkpoint, "--shots", "1", "2", "--methods", "ProtoNet", "EVAL.CACHE=false")
    run = checkpoint.parent / "eval" / checkpoint.stem
    together = {folder.name: (folder / "episodes.csv").read_bytes() for folder in run.iterdir()}
    shutil.rmtree(run)
    for shot in (1, 2):
        folder = space.evaluate(trained[0], checkpoint, f"TASK.TEST.SHOT={shot}", "EVAL.CACHE=false")
        assert (folder / "episodes.csv").read_bytes() == together[folder.name]


@pytest.fixture
def heads():
    """Two methods that cannot serve another's features, registered for one test."""
    known = dict(METHODS._classes)

    @METHODS.register("Learned")
    class Learned(METHODS["ProtoNet"]):
        def __init__(self, backbone, info):
            super().__init__(backbone, info)
            self.temperature = torch.nn.Parameter(torch.ones(()))

        def forward(self, task):
            return self.temperature * super().forward(task)

    @METHODS.register("Mapped")
    class Mapped(METHODS["ProtoNet"]):
        needs = ("map",)

    yield
    METHODS._classes = known


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--methods", "own,Learned"], "Learned, which has learned parameters outside the backbone (temperature)"),
        (["--methods", "MetaBaseline"], "MetaBaseline, which has learned parameters outside the backbone (scale)"),
        (["--methods", "Mapped"], "Mapped, which needs the feature 'map', but ProtoNet encodes vector"),
        (["--methods", "MAML", "BACKBONE.ARGS.norm=running"], "METHOD.NAME is MAML"),
        (["--methods", "own,ProtNet"], "--methods is 'ProtNet', which is not one of: own, "),
        (["--methods", "ProtNet"], "did you mean ProtoNet?"),
        (["--shots", "0"], "--shots lists 0; every number must be at least 1."),
        (["--ways", "1"], "--ways lists 1; every number must be at least 2."),
        (["--ways", "five"], "--ways lists 'five', which is not a whole number"),
        (["--ways", "7"], "TASK.TEST.WAY is 7"),
    ],
)
def test_impossible_questions_are_refused_before_the_first_answer(arguments, says, heads, unfit, trained):
    assert says in unfit(best(trained[1]), *arguments, "EVAL.CACHE=false")


def test_heads_that_ask_for_base_means_get_those_of_the_checkpoint(checkpoint, trained, space):
    code, out, err = space.evaluator(trained[0], "-c", checkpoint, "--methods", "SimpleShot,RFS", "EVAL.CACHE=false")
    assert (code, err, out.count("on features of ProtoNet")) == (0, "", 2)
