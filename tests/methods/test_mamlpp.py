"""Card 4, MAML++."""

import pytest
import torch
import torch.nn.functional as F

from core.backbones.conv4 import Conv4
from core.episode import DataInfo
from core.errors import UserError
from core.methods.maml import MAML
from core.methods.mamlpp import MAMLPlusPlus
from tests.methods.inner import INFO, build, copied, descended, logits_of, pixels, slope
from tests.methods.small import conv4, drawn

OFF = {"multi_step": 0.0, "learn_rates": False, "norm_per_step": False}


@pytest.mark.parametrize("epoch", range(15))
def test_card_4_the_weights_of_the_steps_sum_to_one(epoch):
    weights = build(MAMLPlusPlus).step_weights(epoch / 100)
    assert sum(weights) == pytest.approx(1)
    assert weights[:-1] == pytest.approx([max(1 / 5 - epoch / 75, 0.03 / 5)] * 4)
    assert weights[-1] == pytest.approx(min(1 / 5 + epoch * 4 / 75, 1 - 4 * 0.03 / 5))


def test_the_weights_of_a_step_hold_for_an_epoch_and_end():
    method = build(MAMLPlusPlus)
    assert method.step_weights(0) == pytest.approx([0.2] * 5)
    assert method.step_weights(0.1499) == method.step_weights(0.14) == pytest.approx([1 / 75] * 4 + [1 - 4 / 75])
    assert method.step_weights(0.29) == method.step_weights(0.15) == []
    assert method.follows_progress
    assert not build(MAMLPlusPlus, **OFF).follows_progress


def test_card_4_without_its_parts_it_is_maml_bit_for_bit():
    torch.manual_seed(0)
    ours = MAMLPlusPlus(conv4(4, norm="batch"), INFO, steps=3, **OFF).train()
    torch.manual_seed(0)
    expected = MAML(conv4(4, norm="batch"), INFO, steps=3, test_steps=3).train()
    task = pixels(size=16)
    task.support["image"], task.query["image"] = task.support["image"].float(), task.query["image"].float()
    losses = [method.loss(task).value for method in (ours, expected)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    for name, p in expected.named_parameters():
        assert torch.equal(ours.get_parameter(name).grad, p.grad), name
    assert torch.equal(ours.eval()(task), expected.eval()(task))
    learned = {name for name, p in ours.named_parameters() if p.requires_grad}
    assert learned == {name for name, _ in expected.named_parameters()}


def test_card_4_the_gradient_of_the_rates():
    """First-order, one step: d L / d rate_p = -<grad_p L_query(theta_1), grad_p L_support(theta_0)>."""
    method, task = build(MAMLPlusPlus, inner_lr=0.25, steps=1, norm_per_step=False).train(), pixels(tasks=1)
    method.first_order = True
    method.loss(task).value.backward()
    support, labels = task.support["image"][0], task.support_y[0]
    before, after = copied(method), descended(method, support, labels, 1, lambda name, step: 0.25)
    of_support = torch.autograd.grad(F.cross_entropy(logits_of(before, support), labels), list(before.parameters()))
    F.cross_entropy(logits_of(after, task.query["image"][0]), task.query_y[0]).backward()
    for (name, p), gradient in zip(after.named_parameters(), of_support, strict=True):
        torch.testing.assert_close(method.rates[name].grad[0], -(p.grad * gradient).sum(), rtol=0, atol=1e-12)


def randomised(**options):
    """A method whose rates and batch-norms differ from step to step."""
    method = build(MAMLPlusPlus, steps=3, **options).train()
    with torch.no_grad():
        for number, p in enumerate([*method.rates.parameters(), *method.norms.parameters()]):
            p.copy_(1 + 0.5 * drawn(*p.shape, seed=number))
    return method


def plain_losses(method, task):
    """The query loss after each step, all steps written out; gain and offset of the only batch-norm by step."""
    losses = []
    for support, labels, query, y in zip(
        task.support["image"], task.support_y, task.query["image"], task.query_y, strict=True
    ):
        weights = dict(copied(method).named_parameters())
        moving = [name for name in weights if "layers.0.1" not in name]

        def run(images, step, weights):
            gain, offset = (method.norms[f"backbone.layers.0.1.{name}"][step] for name in ("weight", "bias"))
            x = F.conv2d(images, weights["backbone.layers.0.0.weight"], weights["backbone.layers.0.0.bias"], padding=1)
            x = F.batch_norm(x, None, None, gain, offset, training=True)
            return F.linear(x.tanh().mean((2, 3)), weights["head.weight"], weights["head.bias"])

        for step in range(3):
            loss = F.cross_entropy(run(support, step, weights), labels)
            gradients = torch.autograd.grad(loss, [weights[name] for name in moving])
            rates = [method.rates[name][step] for name in moving]
            moved = zip(moving, rates, gradients, strict=True)
            weights = weights | {name: weights[name] - rate * gradient for name, rate, gradient in moved}
            losses.append(F.cross_entropy(run(query, step, weights), y))
    return torch.stack(losses).view(-1, 3).mean(0)


@pytest.mark.parametrize("progress", [0.0, 0.07, 0.2])
def test_the_loss_is_that_of_the_steps(progress):
    method, task = randomised(), pixels()
    object.__setattr__(task, "progress", progress)
    loss, losses = method.loss(task), plain_losses(method, task)
    weights = torch.tensor(method.step_weights(progress) or [0, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(loss.value, (weights * losses).sum(), rtol=0, atol=1e-12)
    torch.testing.assert_close(loss.logits, method(task), rtol=0, atol=1e-12)


def test_the_gradient_is_second_order():
    method, task = randomised(multi_step=1.0), pixels()
    object.__setattr__(task, "progress", 0.5)
    method.loss(task).value.backward()
    learned = [(name, p) for name, p in method.named_parameters() if p.requires_grad]
    for number, (name, p) in enumerate(learned):
        direction = drawn(*p.shape, seed=number + 5)
        expected = slope(method, lambda: method.loss(task).value, p, direction)
        assert float((p.grad * direction).sum()) == pytest.approx(expected, abs=1e-6), name
    assert {name for name, p in method.named_parameters() if not p.requires_grad} == {
        "backbone.layers.0.1.weight",
        "backbone.layers.0.1.bias",
    }


def test_card_4_the_authors_network_has_71621_parameters_and_10_rates_a_step():
    info = DataInfo(n_base=64, image_size=84, way=5)
    method = MAMLPlusPlus(Conv4(84, "native", width=48, norm="batch"), info)
    parts = {"rates": 0, "norms": 0, "backbone": 0, "head": 0}
    for name, p in method.named_parameters():
        parts[name.split(".")[0]] += p.numel() * p.requires_grad
    assert parts == {"rates": 10 * 5, "norms": 1920, "backbone": 63696, "head": 6005}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, r"^METHOD\.ARGS\.steps is 0; it must be at least 1\.$"),
        ({"multi_step": 15.0}, r"^METHOD\.ARGS\.multi_step is 15\.0; it must be at least 0 and at most 1\.$"),
    ],
)
def test_what_it_refuses(options, sentence):
    with pytest.raises(UserError, match=sentence):
        build(MAMLPlusPlus, **options)
