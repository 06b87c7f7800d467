"""Card 6: the implicit gradient on quadratics, where everything is known."""

import pytest
import torch

from core.ops.implicit import Proximal, conjugate_gradients, proximal_minimum
from tests.methods.small import drawn

SIZE = 6


def quadratic():
    """A positive definite B and a centre a."""
    root = drawn(SIZE, SIZE)
    return root @ root.T / SIZE + 0.1 * torch.eye(SIZE, dtype=torch.float64), drawn(SIZE, seed=1)


def support_loss(phi):
    matrix, centre = quadratic()
    return (phi - centre) @ matrix @ (phi - centre) / 2


def query_loss(phi):
    return (phi - drawn(SIZE, seed=2)).pow(2).sum() + phi.prod()


def minimum(theta, penalty, cg_steps=SIZE, steps=3000):
    return proximal_minimum(theta, support_loss, Proximal(penalty, 0.5 / (penalty + 5), steps, cg_steps))


@pytest.mark.parametrize("penalty", [0.5, 2.0])
def test_card_6_the_gradient_of_a_quadratic(penalty):
    matrix, centre = quadratic()
    eye = torch.eye(SIZE, dtype=torch.float64)
    theta = drawn(SIZE, seed=3).requires_grad_()
    phi = minimum(theta, penalty)
    expected = torch.linalg.solve(matrix + penalty * eye, matrix @ centre + penalty * theta.detach())
    torch.testing.assert_close(phi.detach(), expected, rtol=0, atol=1e-10)
    query_loss(phi).backward()
    at = expected.requires_grad_()
    (of_query,) = torch.autograd.grad(query_loss(at), at)
    implicit = torch.linalg.solve(eye + matrix / penalty, of_query)
    torch.testing.assert_close(theta.grad, implicit, rtol=0, atol=1e-9)


def test_card_6_a_large_penalty_gives_the_gradient_at_the_start():
    theta = drawn(SIZE, seed=3).requires_grad_()
    query_loss(minimum(theta, 1e7, steps=50)).backward()
    at = theta.detach().requires_grad_()
    (expected,) = torch.autograd.grad(query_loss(at), at)
    torch.testing.assert_close(theta.grad, expected, rtol=1e-5, atol=1e-5)


def test_card_6_conjugate_gradients_of_all_steps_solve_the_system():
    matrix, target = quadratic()
    expected = torch.linalg.solve(matrix, target)
    solutions = [conjugate_gradients(lambda x: matrix @ x, target, steps) for steps in (2, SIZE, SIZE + 3)]
    errors = [float((x - expected).abs().max()) for x in solutions]
    assert errors[0] > 1e-3
    assert max(errors[1:]) < 1e-8


def test_the_gradient_of_a_loss_that_is_no_quadratic():
    def loss(phi):
        return (1 + phi.exp()).log().sum() + (phi[:-1] * phi[1:]).sum().tanh()

    def minimum_near(theta):
        return proximal_minimum(theta, loss, Proximal(3.0, 0.1, 500, SIZE))

    assert torch.autograd.gradcheck(minimum_near, drawn(SIZE).requires_grad_(), eps=1e-5, atol=1e-6)


def test_card_6_damping_gives_the_system_of_the_authors_code():
    """At penalty 2 and damping 1: 2 I + H / 12."""
    matrix, _ = quadratic()
    theta, direction = drawn(SIZE, seed=3).requires_grad_(), drawn(SIZE, seed=4)
    phi = proximal_minimum(theta, support_loss, Proximal(2.0, 0.1, 5, SIZE, damping=1.0))
    (gradient,) = torch.autograd.grad(phi @ direction, theta)
    expected = torch.linalg.solve(2 * torch.eye(SIZE, dtype=torch.float64) + matrix / 12, direction)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-9)


def test_without_a_system_the_gradient_is_zero():
    theta = drawn(SIZE).requires_grad_()
    (0 * minimum(theta, 1.0)).sum().backward()
    assert theta.grad.abs().sum() == 0
