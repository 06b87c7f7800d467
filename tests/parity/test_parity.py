"""Every method against the recorded numbers of its authors' equations: logits, loss and gradient on a small input."""

import json
from pathlib import Path

import pytest
import torch

from core.backbones.resnet12t import ResNet12T
from core.registry import METHODS
from tests.parity.cases import CASES
from tests.parity.record import NUMBERS

TESTS = Path(__file__).parents[1]
RECORDED = json.loads(NUMBERS.read_text())
# Methods whose answers loops in float64 give, in a file of tests/methods of their own.
BY_LOOPS = {
    "BD-CSPN": "bdcspn",
    "LaplacianShot": "laplacianshot",
    "TIM": "tim",
    "AlphaTIM": "alpha_tim",
    "PT-MAP": "ptmap",
    "iLPC": "ilpc",
    "EPNet": "epnet",
    "PMF": "pmf",
}
DEVIATIONS = RECORDED.pop("ResNet12T, initial deviations")


@pytest.mark.parametrize("name", CASES)
def test_a_method_gives_the_numbers_of_its_equations(name):
    answers, expected = CASES[name].ours(), RECORDED[name]
    assert answers.keys() == expected.keys()
    for part, value in answers.items():
        numbers = torch.tensor(expected[part], dtype=torch.float64).view(value.shape)
        rtol = 1e-5 if CASES[name].differences else 1e-6
        torch.testing.assert_close(value, numbers, rtol=rtol, atol=1e-8, msg=lambda text, part=part: f"{part}: {text}")


@pytest.mark.parametrize("name", CASES)
def test_what_is_compared_is_not_empty(name):
    for part, numbers in RECORDED[name].items():
        untrained = (name, part) == ("FRN, pretraining", "gradient of alpha")
        assert any(numbers) is not untrained, part


def test_every_method_is_compared():
    compared = {case.method for case in CASES.values()} - {"TEN"} | {"TADAM"}  # TADAM by the network that is its own
    assert all((TESTS / f"methods/test_{file}.py").is_file() for file in BY_LOOPS.values())
    assert compared.isdisjoint(BY_LOOPS)
    assert compared | BY_LOOPS.keys() == {
        METHODS[name].name for name in METHODS if METHODS[name].__module__.startswith("core.")
    }
    assert RECORDED.keys() == CASES.keys()


def test_initial_weights_of_resnet12t():
    torch.manual_seed(0)
    backbone = ResNet12T(84, "native", width=16)
    convolutions = [m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    for side, outputs, deviation in DEVIATIONS:
        weights = [m.weight for m in convolutions if m.weight.shape[::2] == (outputs, side)]
        for weight in weights:
            tolerance = 4 / (2 * weight.numel()) ** 0.5  # four standard errors
            assert weight.std().item() == pytest.approx(deviation, rel=tolerance)
