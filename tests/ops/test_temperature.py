"""The temperature minimises what it says, and does not depend on the scale of the logits."""

import math

import torch

from core.ops.temperature import fit_inverse_temperature


def problem(tasks=4, n=20, way=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, way, (tasks, n), generator=generator)
    z = torch.randn(tasks, n, way, generator=generator, dtype=torch.float64)
    return z + 1.5 * torch.nn.functional.one_hot(labels, way), labels


def sum_of(tau, z, y, centre, spread):
    """From the definition, one example at a time."""
    total = (math.log(tau) - centre) ** 2 / (2 * spread**2)
    for row, label in zip(z.tolist(), y.tolist(), strict=True):
        total -= tau * row[label] - math.log(sum(math.exp(tau * value) for value in row))
    return total


def test_no_other_factor_gives_a_smaller_sum():
    z, y = problem()
    centre, spread = torch.tensor([0.0, 1.0, -1.0, 0.5]), torch.tensor([1.0, 0.5, 2.0, 1.0])
    for t, tau in enumerate(fit_inverse_temperature(z, y, centre, spread).tolist()):
        best = sum_of(tau, z[t], y[t], float(centre[t]), float(spread[t]))
        for factor in [math.exp(step / 50) for step in range(-200, 201) if step]:
            assert sum_of(tau * factor, z[t], y[t], float(centre[t]), float(spread[t])) >= best - 1e-9


def test_scaled_and_shifted_logits_give_the_same_probabilities():
    z, y = problem()
    centre, spread = torch.zeros(4), torch.ones(4)
    tau = fit_inverse_temperature(z, y, centre, spread)
    scaled = fit_inverse_temperature(7 * z, y, centre - math.log(7), spread)
    assert torch.allclose(7 * scaled, tau, rtol=1e-5)
    shifted = fit_inverse_temperature(z + torch.arange(20.0)[:, None], y, centre, spread)
    assert torch.allclose(shifted, tau, rtol=1e-5)


def test_tasks_together_are_tasks_alone_and_no_examples_leave_the_prior():
    z, y = problem()
    together = fit_inverse_temperature(z, y, torch.zeros(4), torch.ones(4))
    alone = fit_inverse_temperature(z[2:3], y[2:3], torch.zeros(1), torch.ones(1))
    assert torch.allclose(together[2], alone[0])
    nothing = fit_inverse_temperature(z[:, :0], y[:, :0], torch.full((4,), 0.7), torch.ones(4))
    assert torch.allclose(nothing, torch.full((4,), 0.7, dtype=torch.float64).exp(), rtol=1e-4)


def test_answers_that_are_all_right_do_not_ask_for_certainty():
    z = 3 * torch.eye(4, dtype=torch.float64)[None]
    tau = fit_inverse_temperature(z, torch.arange(4)[None], torch.zeros(1), torch.ones(1))
    assert 1 < float(tau) < 10
