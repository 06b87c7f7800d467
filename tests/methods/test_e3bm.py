"""Card 8, E3BM: learned rates and weights over the learners of all steps."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.errors import UserError
from core.methods.e3bm import E3BM, HyperPrior, centred
from core.ops.adapt import HeadSGD, fit_cosine_head
from tests.methods.small import UNEQUAL, conv4, drawn, task_of

INFO = DataInfo(n_base=6, image_size=16, way=3)
WIDTH = 7


def e3bm(seed=0, **options):
    torch.manual_seed(seed)
    return E3BM(conv4(WIDTH), INFO, **options).double()


def without_hyperpriors(method):
    for prior in (method.rates, method.weights):
        torch.nn.init.zeros_(prior.map.weight)
        torch.nn.init.zeros_(prior.map.bias)
    return method


def plain(method, support, labels, query, way):
    """One task on the rows themselves, gradient by autograd, with the graph of the priors."""
    z, q = centred(support), centred(query)
    mean = z.mean(0)
    z = z.detach()
    rows = torch.stack([z[labels == n].mean(0) for n in range(way)])
    out = torch.zeros(len(q), way, dtype=z.dtype)

    def logits(vectors, rows):
        return 8.0 * F.normalize(vectors, dim=-1) @ F.normalize(rows, dim=-1).T

    def number(prior, step, mean_row):
        return prior.start[step] + 1e-4 * prior.map(torch.cat([mean, mean_row]))[step]

    for step in range(len(method.rates.start)):
        at = rows.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits(z, at), labels), at)
        rows = rows - number(method.rates, step, gradient.mean(0)) * gradient
        out = out + number(method.weights, step, gradient.mean(0)) * logits(q, rows)
    return out


@pytest.mark.parametrize("counts", [None, UNEQUAL])
def test_logits_and_gradients_are_those_of_the_equations(counts):
    method = e3bm(steps=4, ensemble="equal").train()
    task = task_of(WIDTH, counts=counts, tasks=1 if counts else 2)
    support, query = task.support["vector"].requires_grad_(), task.query["vector"].requires_grad_()
    rows = zip(support, task.support_y, query, strict=True)
    expected, output = torch.stack([plain(method, *row, 3) for row in rows]), method(task)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-11)
    leaves = [support, query, *method.rates.parameters(), *method.weights.parameters()]
    direction = drawn(*output.shape, seed=9)
    ours, theirs = (torch.autograd.grad((logits * direction).sum(), leaves) for logits in (output, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)
        assert a.abs().sum() > 0


def test_card_8_the_last_learner_alone_is_a_cosine_head_fine_tuned_from_prototypes():
    method, task = without_hyperpriors(e3bm(steps=12)).eval(), task_of(WIDTH)
    support = centred(task.support["vector"])
    sgd = HeadSGD(passes=12, batch=6, lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0)
    means = support.unflatten(1, (3, 2)).mean(2)
    head = fit_cosine_head(support, task.support_y, means, task.seed, 8.0, sgd)
    # 0.1 is a float32 number in the method
    torch.testing.assert_close(method(task), head.logits(centred(task.query["vector"])), rtol=0, atol=1e-6)


def test_card_8_the_answer_is_linear_in_the_weights():
    method, task = without_hyperpriors(e3bm(steps=5)).eval(), task_of(WIDTH)
    first, second = drawn(5, seed=1), drawn(5, seed=2)

    def answer(weights):
        with torch.no_grad():
            method.weights.start.copy_(weights)
            return method(task)

    torch.testing.assert_close(answer(first + second), answer(first) + answer(second), rtol=0, atol=1e-11)


def test_card_8_permuting_the_classes_permutes_the_logits():
    method, task, order = e3bm(), task_of(WIDTH), torch.tensor([2, 0, 1])
    rows = torch.arange(6).view(3, 2)[order].flatten()
    renamed = replace(task, support={"vector": task.support["vector"][:, rows]}, class_ids=task.class_ids[:, order])
    torch.testing.assert_close(method(renamed), method(task)[:, :, order])


def test_weights_start_at_the_last_learner_or_alike():
    assert e3bm(steps=4).weights.start.tolist() == [0, 0, 0, 1]
    assert e3bm(steps=4, ensemble="equal").weights.start.tolist() == [0.25] * 4


def test_what_learns_and_how_fast():
    scaled, whole = e3bm(steps=3), e3bm(steps=3, learns="weights")
    assert not scaled.backbone.layers[0][0].weight.requires_grad
    assert whole.backbone.layers[0][0].weight.requires_grad
    network, priors = scaled.param_groups(5e-4)
    assert (network["lr"], priors["lr"]) == (5e-4, pytest.approx(1e-6))
    assert len(priors["params"]) == 6


def test_a_prior_reaches_a_ten_thousandth():
    prior = HyperPrior(torch.ones(2), 3).double()
    support, mean = drawn(1, 4, 3), drawn(1, 3, seed=1)
    number = prior.of_task(support, mean).at(1, drawn(1, 4, seed=2))
    rows = (drawn(1, 4, seed=2)[..., None] * support).sum(1)
    torch.testing.assert_close(number, 1 + 1e-4 * prior.map(torch.cat([mean, rows], 1))[:, 1], rtol=0, atol=1e-12)


def test_an_ensemble_has_a_learner():
    with pytest.raises(UserError, match=r"^METHOD\.ARGS\.steps is 0; it must be at least 1\.$"):
        e3bm(steps=0)
