"""Card 6, iMAML: the method beside the same equations with dense matrices."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from core.errors import UserError
from core.methods.imaml import IMAML, IMAMLHead
from tests.methods.inner import INFO, build, copied, pixels
from tests.methods.small import conv4, task_of


def dense(method, task, penalty, steps, lr):
    """Per task: adapted weights by descent, their query loss, and the outer gradient with the whole Hessian."""
    results = []
    for support, labels, query, y in zip(
        task.support["image"], task.support_y, task.query["image"], task.query_y, strict=True
    ):
        network = copied(method)
        shapes = {name: p.shape for name, p in network.named_parameters()}
        theta = torch.cat([p.detach().flatten() for p in network.parameters()])

        def run(flat, images, network=network, shapes=shapes):
            parts = flat.split([shape.numel() for shape in shapes.values()])
            weights = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
            return functional_call(_Logits(network), {f"network.{name}": w for name, w in weights.items()}, (images,))

        def loss(flat, run=run, support=support, labels=labels):
            return F.cross_entropy(run(flat, support), labels)

        phi = theta.clone()
        for _ in range(steps):
            phi = phi - lr * (torch.func.grad(loss)(phi) + penalty * (phi - theta))
        logits = run(phi, query)
        of_query = torch.func.grad(lambda flat, run=run, query=query, y=y: F.cross_entropy(run(flat, query), y))(phi)
        hessian = torch.autograd.functional.hessian(loss, phi)
        eye = torch.eye(len(theta), dtype=theta.dtype)
        results.append((logits, torch.linalg.solve(eye + hessian / penalty, of_query)))
    return results


class _Logits(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network["head"](self.network["backbone"](images)["vector"])


def test_logits_and_gradient_are_those_of_the_dense_equations():
    method = build(IMAML, penalty=2.0, inner_lr=0.1, steps=30, cg_steps=120).train()
    task = pixels()
    loss = method.loss(task)
    loss.value.backward()
    results = dense(method, task, 2.0, 30, 0.1)
    torch.testing.assert_close(loss.logits, torch.stack([logits for logits, _ in results]), rtol=0, atol=1e-9)
    expected = sum(gradient for _, gradient in results) / len(results)
    slopes = torch.cat([p.grad.flatten() for p in method.parameters()])
    torch.testing.assert_close(slopes, expected, rtol=0, atol=1e-7)


def test_adapting_leaves_the_weights_and_needs_no_graph():
    method, task = build(IMAML, test_steps=3).eval(), pixels()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with torch.no_grad():
        logits = method(task)
    assert not logits.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert not torch.allclose(logits, build(IMAML, test_steps=0).eval()(task))


def test_the_head_adapts_and_its_features_learn():
    torch.manual_seed(0)
    method = IMAMLHead(conv4(7), INFO, penalty=0.1).double().train()
    task = task_of(7)
    support = task.support["vector"].requires_grad_()
    method.loss(task).value.backward()
    assert support.grad.abs().sum() > 0
    assert method.head.weight.grad.abs().sum() > 0
    assert not torch.allclose(method(task), method.head(task.query["vector"]))


@pytest.mark.parametrize("kind", [IMAML, IMAMLHead], ids=lambda kind: kind.name)
@pytest.mark.parametrize("penalty", [0.0, -1.0, float("nan")])
def test_a_penalty_must_be_above_zero(kind, penalty):
    with pytest.raises(UserError, match=rf"^METHOD\.ARGS\.penalty is {penalty}; it must be above 0\.$"):
        kind(conv4(4, norm="batch" if kind is IMAML else "running"), INFO, penalty=penalty)


def test_the_penalty_holds_the_network_near_its_start():
    task = pixels(tasks=1)
    with torch.no_grad():
        near, far = (build(IMAML, penalty=p, inner_lr=0.01, test_steps=40).eval()(task) for p in (90.0, 0.1))
        start = build(IMAML, test_steps=0).eval()(task)
    assert (near - start).abs().max() < 0.1 * (far - start).abs().max()
