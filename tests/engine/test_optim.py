"""Learning-rate factors as formulas of the epoch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from core.build.config import load_config
from core.engine.optim import Recipe

LR = 0.003
NEGMARGIN = Recipe(lr=LR, schedule="cosine", warmup=50, lr_min=1e-6)


@given(st.floats(0, 49.99))
def test_warmup_is_negmargins_formula(epoch):
    assert LR * NEGMARGIN.factor(epoch, 200) == pytest.approx(LR / 16 * (15 * epoch / 50 + 1), rel=1e-12)


def test_warmup_starts_at_a_sixteenth_and_ends_at_one():
    assert NEGMARGIN.factor(0, 200) == 1 / 16
    assert NEGMARGIN.factor(50, 200) == 1
    assert NEGMARGIN.factor(50 - 1e-9, 200) == pytest.approx(1)


@pytest.mark.parametrize(
    ("leaf", "start", "risen", "end"),
    [
        ("miniImagenet/NegMargin_N5K1_R12", 3e-3 / 16, (100, 3e-3), (400, 1e-6)),
        ("CUB/NegMargin_N5K5_R18", 3e-3 / 16, (50, 3e-3), (200, 1e-6)),
        ("CUB/NegMargin_N5K1_C4", 0.05 / 4, (30, 0.05), (200, 5e-4)),
        ("miniImagenet/NegMargin_N5K1_C4", 0.05 / 4, (30, 0.05), (200, 5e-4)),
        ("tieredImagenet/NegMargin_N5K1_C4", 0.05 / 4, (50, 5e-3), (100, 5e-4)),
    ],
)
def test_the_named_recipes_of_negmargin(leaf, start, risen, end):
    stage = load_config(f"configs/{leaf}.yaml").cfg.STAGE.base
    recipe = Recipe.from_node(stage.OPTIM, steps=100)
    assert end[0] == stage.EPOCHS
    for epoch, rate in ((0, start), risen, end):
        assert recipe.lr * recipe.factor(epoch, stage.EPOCHS) == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize(("leaf", "warmup"), [("CUB", 3000), ("miniImagenet", 3000), ("tieredImagenet", 5000)])
def test_the_warmup_of_mmfewshot_lasts_so_many_steps(leaf, warmup):
    """It rises linearly from a quarter of the rate: half of the steps bring it to 5/8."""
    stage = load_config(f"configs/{leaf}/Baseline_N5K1_C4.yaml").cfg.STAGE.base
    for steps in (600, 7000):
        recipe = Recipe.from_node(stage.OPTIM, steps)
        factors = [recipe.factor(step / steps, stage.EPOCHS) for step in (0, warmup // 2, warmup - 1, warmup)]
        assert factors == pytest.approx([0.25, 0.625, 1 - 0.75 / warmup, 1])


@given(st.floats(50, 200))
def test_cosine_runs_from_the_end_of_warmup_to_lr_min(epoch):
    expected = 1e-6 + (LR - 1e-6) * (1 + math.cos(math.pi * (epoch - 50) / 150)) / 2
    assert LR * NEGMARGIN.factor(epoch, 200) == pytest.approx(expected, rel=1e-9)


def test_cosine_ends_at_lr_min():
    assert LR * NEGMARGIN.factor(200, 200) == pytest.approx(1e-6)
    assert LR * NEGMARGIN.factor(125, 200) == pytest.approx((LR + 1e-6) / 2)
    assert Recipe(schedule="cosine").factor(0, 60) == 1
    assert Recipe(schedule="cosine").factor(60, 60) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("schedule", ["constant", "step", "multistep", "cosine"])
def test_every_schedule_starts_at_one_without_warmup(schedule):
    assert Recipe(schedule=schedule, milestones=[5]).factor(0, 60) == 1


def test_constant():
    recipe = Recipe(warmup=2)
    assert [recipe.factor(epoch, 10) for epoch in (0, 1, 2, 9.5)] == [1 / 16, 17 / 32, 1, 1]


def test_step_halves_every_20_epochs():
    recipe = Recipe(schedule="step", every=20, gamma=0.5)
    expected = {0: 1, 19.99: 1, 20: 0.5, 39.9: 0.5, 40: 0.25, 199.9: 0.5**9}
    assert {epoch: recipe.factor(epoch, 200) for epoch in expected} == expected


def test_multistep_at_its_milestones():
    recipe = Recipe(schedule="multistep", gamma=0.1, milestones=[60, 80], warmup=1)
    expected = {0.5: 17 / 32, 1: 1, 59.9: 1, 60: 0.1, 79.9: 0.1, 80: 0.01, 99: 0.01}
    assert {epoch: recipe.factor(epoch, 100) for epoch in expected} == pytest.approx(expected)


def test_multistep_with_a_factor_for_each_milestone():
    recipe = Recipe(lr=0.1, schedule="multistep", milestones=[20, 40, 50], gammas=[0.06, 0.2, 0.2])
    expected = {0: 0.1, 19.9: 0.1, 20: 0.006, 40: 0.0012, 59.9: 0.00024}
    assert {epoch: 0.1 * recipe.factor(epoch, 60) for epoch in expected} == pytest.approx(expected)


@pytest.mark.parametrize("recipe", [NEGMARGIN, Recipe(schedule="step", warmup=3), Recipe(schedule="cosine")])
def test_a_function_of_the_epoch_alone(recipe):
    epochs = [t / 7 for t in range(60 * 7)]
    forward = [recipe.factor(epoch, 60) for epoch in epochs]
    assert [recipe.factor(epoch, 60) for epoch in reversed(epochs)] == forward[::-1]


def groups():
    weights = [torch.nn.Parameter(torch.full((2,), float(i))) for i in (1, 2)]
    return [{"params": [weights[0]], "lr": 0.1}, {"params": [weights[1]], "lr": 0.02}]


def test_adam():
    optimizer = Recipe(name="adam", lr=0.1, weight_decay=5e-4).optimizer(groups())
    assert type(optimizer) is torch.optim.Adam
    assert [(g["lr"], g["initial_lr"]) for g in optimizer.param_groups] == [(0.1, 0.1), (0.02, 0.02)]
    assert {(g["weight_decay"], g["betas"]) for g in optimizer.param_groups} == {(5e-4, (0.9, 0.999))}


@pytest.mark.parametrize("leaf", ["DN4_N5K1_F64", "CovaMNet_N5K5_F64", "DN4_N5K1_C4"])
def test_adam_of_m2l_has_the_betas_of_its_authors(leaf):
    stage = load_config(f"configs/miniImagenet/{leaf}.yaml").cfg.STAGE.meta
    optimizer = Recipe.from_node(stage.OPTIM, stage.STEPS).optimizer(groups())
    assert {g["betas"] for g in optimizer.param_groups} == {(0.5, 0.9)}


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd(nesterov):
    recipe = Recipe(name="sgd", lr=0.1, momentum=0.8, nesterov=nesterov, weight_decay=1e-3)
    optimizer = recipe.optimizer(groups())
    assert type(optimizer) is torch.optim.SGD
    assert [(g["lr"], g["initial_lr"]) for g in optimizer.param_groups] == [(0.1, 0.1), (0.02, 0.02)]
    settings = {(g["momentum"], g["nesterov"], g["weight_decay"], g["dampening"]) for g in optimizer.param_groups}
    assert settings == {(0.8, nesterov, 1e-3, 0)}


def test_the_callers_groups_stay_as_they_were():
    param_groups = groups()
    Recipe().optimizer(param_groups)
    assert [set(group) for group in param_groups] == [{"params", "lr"}] * 2


@pytest.mark.parametrize(("clip_by", "lengths"), [("global", [5 / 13, 12 / 13]), ("tensor", [1.0, 1.0])])
def test_gradients_are_clipped_together_or_by_tensor(clip_by, lengths):
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 12.0])
    Recipe(clip=1.0, clip_by=clip_by).clip_gradients(iter(parameters))
    assert [p.grad.norm().item() for p in parameters[:2]] == pytest.approx(lengths, abs=1e-5)
    assert parameters[2].grad is None


def test_short_gradients_stay():
    parameter = nn.Parameter(torch.zeros(2))
    for recipe in (Recipe(clip=6.0, clip_by="tensor"), Recipe(clip_by="tensor")):
        parameter.grad = torch.tensor([3.0, 4.0])
        recipe.clip_gradients([parameter])
        assert parameter.grad.tolist() == [3.0, 4.0]
