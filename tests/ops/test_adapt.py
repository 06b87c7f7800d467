"""The head fitted in Gram coordinates against torch.optim.SGD on its weights, one task and one batch at a time."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from core.ops import random
from core.ops.adapt import HeadSGD, fit_cosine_head

WIDTH = 12
SHORT = HeadSGD(passes=12)


def made(tasks, way, shot, dtype=torch.float64):
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
    data = made(2, 5, shot, dtype)
    sgd = HeadSGD() if dtype == torch.float32 and shot == 1 else SHORT
    found = fit_cosine_head(*data, 5.0, sgd)
    assert found.dtype == dtype
    assert torch.allclose(found.double(), expected(*data, 5.0, sgd), rtol=0, atol=atol)
    assert (found - data[2]).abs().max() > 0.01


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
    data = made(2, 3, 3)
    assert torch.allclose(fit_cosine_head(*data, 7.0, sgd), expected(*data, 7.0, sgd), rtol=0, atol=1e-9)


def test_tasks_at_once_equal_tasks_alone():
    data = made(4, 5, 1)
    together = fit_cosine_head(*data, 5.0, SHORT)
    alone = [fit_cosine_head(*(value[t : t + 1] for value in data), 5.0, SHORT) for t in range(4)]
    assert torch.allclose(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_lengths_of_supports_do_not_matter():
    support, *rest = made(2, 5, 1)
    found = fit_cosine_head(F.normalize(support, dim=-1), *rest, 5.0, SHORT)
    assert torch.allclose(found, fit_cosine_head(support, *rest, 5.0, SHORT), rtol=0, atol=1e-12)


def test_no_pass_leaves_the_first_rows():
    data = made(2, 5, 1)
    assert torch.equal(fit_cosine_head(*data, 5.0, dataclasses.replace(SHORT, passes=0)), data[2])


def test_fitting_lowers_the_loss():
    support, labels, start, seed = made(2, 5, 5)
    found = fit_cosine_head(support, labels, start, seed, 5.0, HeadSGD(passes=20))

    def loss(weight):
        logits = 5 * F.normalize(support, dim=-1) @ F.normalize(weight, dim=-1).transpose(1, 2)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    assert loss(found) < 0.8 * loss(start)
