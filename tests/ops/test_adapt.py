"""The head fitted in Gram coordinates against torch.optim.SGD on its weights, one task and one batch at a time."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from core.ops import random
from core.ops.adapt import HeadSGD, descended_logits, fit_cosine_head, fit_linear_head

WIDTH = 12
SHORT = HeadSGD(passes=12)


def problem(tasks, way, shot, dtype=torch.float64):
    """Features of very different lengths, labels, first rows and seeds."""
    generator = torch.Generator().manual_seed(shot)
    support = torch.randn(tasks, way * shot, WIDTH, generator=generator, dtype=torch.float64)
    support = support * torch.logspace(-2, 2, way * shot, dtype=torch.float64)[None, :, None]
    labels = torch.arange(way).repeat_interleave(shot).expand(tasks, -1)
    start = (torch.rand(tasks, way, WIDTH, generator=generator, dtype=torch.float64) * 2 - 1) / WIDTH**0.5
    return support.to(dtype), labels, start.to(dtype), torch.arange(tasks) * 1234567 - 3


def sequential(support, labels, start, seed, scale, sgd):
    """One task: [n, d], [n], [N, d], a seed."""
    weight = start.double().clone().requires_grad_()
    optimizer = torch.optim.SGD(
        [weight], lr=sgd.lr, momentum=sgd.momentum, dampening=sgd.dampening, weight_decay=sgd.weight_decay
    )
    for pass_seed in random.hashes(seed, "head-passes", sgd.passes):
        for batch in random.permutation(pass_seed, "order", len(support)).split(sgd.batch):
            optimizer.zero_grad()
            logits = scale * F.normalize(support[batch].double(), dim=-1) @ F.normalize(weight, dim=-1).T
            F.cross_entropy(logits, labels[batch]).backward()
            optimizer.step()
    return weight.detach()


def expected(support, labels, start, seed, scale, sgd):
    tasks = zip(support, labels, start, seed, strict=True)
    return torch.stack([sequential(*task, scale, sgd) for task in tasks])


@pytest.mark.parametrize("shot", [1, 5])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_equals_the_papers_recipe_step_by_step(shot, dtype, atol):
    data = problem(2, 5, shot, dtype)
    sgd = HeadSGD() if dtype == torch.float32 and shot == 1 else SHORT
    weight = fit_cosine_head(*data, 5.0, sgd).weight
    assert weight.dtype == dtype
    assert torch.allclose(weight.double(), expected(*data, 5.0, sgd), rtol=0, atol=atol)
    assert (weight - data[2]).abs().max() > 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.0, "dampening": 0.0},
        {"momentum": 0.9, "dampening": 0.0},
        {"weight_decay": 0.0},
        {"weight_decay": 0.3, "lr": 0.1},
        {"batch": 1},
        {"batch": 3},
        {"batch": 100},
    ],
    ids=str,
)
def test_equals_torch_for_every_recipe(changes):
    sgd = dataclasses.replace(SHORT, passes=5, **changes)
    data = problem(2, 3, 3)
    assert torch.allclose(fit_cosine_head(*data, 7.0, sgd).weight, expected(*data, 7.0, sgd), rtol=0, atol=1e-9)


def test_tasks_at_once_equal_tasks_alone():
    data = problem(4, 5, 1)
    together = fit_cosine_head(*data, 5.0, SHORT).weight
    alone = [fit_cosine_head(*(value[t : t + 1] for value in data), 5.0, SHORT).weight for t in range(4)]
    assert torch.allclose(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_lengths_of_supports_do_not_matter():
    support, *rest = problem(2, 5, 1)
    weight = fit_cosine_head(F.normalize(support, dim=-1), *rest, 5.0, SHORT).weight
    assert torch.allclose(weight, fit_cosine_head(support, *rest, 5.0, SHORT).weight, rtol=0, atol=1e-12)


def test_no_pass_leaves_the_first_rows():
    data = problem(2, 5, 1)
    assert torch.equal(fit_cosine_head(*data, 5.0, dataclasses.replace(SHORT, passes=0)).weight, data[2])


@pytest.mark.parametrize(("supports", "sizes"), [(5, [4]), (25, [4] * 6), (8, [4, 4]), (3, [3])])
def test_drop_last_leaves_out_what_is_no_full_batch(supports, sizes):
    seed = torch.tensor([1, 2])
    batches = HeadSGD(passes=30, drop_last=True).batches(seed, supports)
    assert [batch.shape[1] for batch in batches] == sizes * 30
    assert torch.cat(batches, 1).unique().tolist() == list(range(supports))
    every = HeadSGD(passes=30).batches(seed, supports)
    steps = -(-supports // 4)
    kept = [batch for i, batch in enumerate(every) if i % steps < len(sizes)]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(batches, kept, strict=True))
    assert len(HeadSGD(steps=11, drop_last=True).batches(seed, supports)) == 11


@pytest.mark.parametrize("steps", [1, 6, 7, 13])
def test_steps_cut_the_last_pass_short(steps):
    data = problem(2, 5, 5)
    cut = dataclasses.replace(SHORT, steps=steps).batches(data[3], 25)
    whole = SHORT.batches(data[3], 25)
    assert len(cut) == steps
    assert len(whole) == 12 * 7
    assert all(torch.equal(a, b) for a, b in zip(cut[:7], whole[:7], strict=False))


def test_fitting_lowers_the_loss():
    support, labels, start, seed = problem(2, 5, 5)
    weight = fit_cosine_head(support, labels, start, seed, 5.0, HeadSGD(passes=20)).weight

    def loss(weight):
        logits = 5 * F.normalize(support, dim=-1) @ F.normalize(weight, dim=-1).transpose(1, 2)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    assert loss(weight) < 0.8 * loss(start)


class WeightNorm(torch.nn.Module):
    """Rows direction * norm / |direction|, both trained, as torch.nn.utils.weight_norm(dim=0) has them."""

    def __init__(self, start, scale):
        super().__init__()
        self.direction = torch.nn.Parameter(start.clone())
        self.norm = torch.nn.Parameter(start.norm(dim=1, keepdim=True))
        self.scale = scale

    def forward(self, z):
        rows = self.norm * self.direction / self.direction.norm(dim=1, keepdim=True)
        return self.scale * F.normalize(z, dim=-1) @ rows.T


class Linear(torch.nn.Module):
    """scale * <z, w> + b."""

    def __init__(self, start, scale, bias=None):
        super().__init__()
        self.weight = torch.nn.Parameter(start.clone())
        self.bias = None if bias is None else torch.nn.Parameter(bias.clone())
        self.scale = scale

    def forward(self, z):
        logits = self.scale * z @ self.weight.T
        return logits if self.bias is None else logits + self.bias


def trained(head, support, labels, seed, sgd):
    """A module trained by torch.optim.SGD on one task."""
    optimizer = torch.optim.SGD(
        head.parameters(), lr=sgd.lr, momentum=sgd.momentum, dampening=sgd.dampening, weight_decay=sgd.weight_decay
    )
    for pass_seed in random.hashes(seed, "head-passes", sgd.passes):
        for batch in random.permutation(pass_seed, "order", len(support)).split(sgd.batch):
            optimizer.zero_grad()
            F.cross_entropy(head(support[batch]), labels[batch]).backward()
            optimizer.step()
    return head


def test_a_learned_norm_equals_weight_normalisation():
    support, labels, start, seed = problem(2, 5, 3)
    head = fit_cosine_head(support, labels, start, seed, 2.0, SHORT, learn_norm=True)
    query = torch.randn(2, 4, WIDTH, dtype=torch.float64)
    for t in range(2):
        alone = trained(WeightNorm(start[t], 2.0), support[t], labels[t], seed[t], SHORT)
        assert torch.allclose(head.logits(query)[t], alone(query[t]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("with_bias", [True, False])
def test_a_linear_head_equals_torch(with_bias):
    support, labels, start, seed = problem(2, 5, 3)
    support = support / 30
    bias = torch.linspace(-0.3, 0.3, 10, dtype=torch.float64).view(2, 5) if with_bias else None
    head = fit_linear_head(support, labels, start, seed, 1.5, SHORT, bias)
    query = torch.randn(2, 4, WIDTH, dtype=torch.float64)
    for t in range(2):
        alone = Linear(start[t], 1.5, bias[t] if with_bias else None)
        trained(alone, support[t], labels[t], seed[t], SHORT)
        assert torch.allclose(head.logits(query)[t], alone(query[t]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("first_order", [False, True])
def test_descent_on_coefficients_is_descent_on_the_weights(first_order):
    """Full batches of a linear head, as `fit_linear_head` descends without momentum, one task at a time."""
    support, labels, start, seed = problem(3, 5, 2)
    support = F.normalize(support, dim=-1)
    weight, bias, query = start[0], torch.linspace(-1, 1, 5, dtype=torch.float64), support.flip(1)
    sgd = HeadSGD(passes=7, batch=10, lr=0.4, momentum=0.0, dampening=0.0, weight_decay=0.0)
    starts = weight.expand(3, -1, -1), seed, 1.0, sgd, bias.expand(3, -1)
    expected = fit_linear_head(support, labels, *starts).logits(query)
    logits = descended_logits(support, labels, query, weight, bias, 0.4, 7, first_order)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)


def test_gradients_through_the_descent():
    support, labels, start, _ = problem(2, 3, 1)
    support = F.normalize(support, dim=-1).requires_grad_()
    query = support.detach().flip(1)[:, :2].requires_grad_()
    weight, bias = start[0].clone().requires_grad_(), torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def logits(*inputs):
        return descended_logits(inputs[0], labels, *inputs[1:], 0.7, 3)

    assert torch.autograd.gradcheck(logits, (support, query, weight, bias))
