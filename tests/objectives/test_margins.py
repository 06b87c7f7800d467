"""Additive margins against loops in float64, the identities between them, and the signs of their gradients."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from core.engine.epoch_losses import EpochLosses
from core.errors import UserError
from core.objectives.angular import ArcFace, CosFace
from core.objectives.margins import (
    ClassRelevantMargin,
    NaiveMargin,
    TaskRelevantMargin,
    with_diagonal,
    without_diagonal,
)
from core.objectives.negmargin import NegMarginLoss

EXACT = {"rtol": 0, "atol": 1e-11}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def case(tasks=3, queries=8, ways=5, dims=4):
    """Logits, labels and word vectors of tasks."""
    y = torch.randint(ways, (tasks, queries), generator=torch.Generator().manual_seed(1))
    return drawn(tasks, queries, ways), y, drawn(tasks, ways, dims, seed=2)


def traml(ways=5, seed=0, **options):
    torch.manual_seed(seed)
    loss = TaskRelevantMargin(**options).double()
    loss.prepare(ways)
    return loss.double()


def cosine(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def similarities(vectors):
    return [[cosine(a, b) for b in vectors] for a in vectors]


def equation_1(logits, y, margins):
    """Mean over tasks and queries of -log( e^{z_y} / (e^{z_y} + sum over k != y of e^{z_k + m_yk}) )."""
    losses = []
    for z, labels, m in zip(logits.tolist(), y.tolist(), margins, strict=True):
        for row, t in zip(z, labels, strict=True):
            others = math.fsum(math.exp(row[k] + m[t][k]) for k in range(len(row)) if k != t)
            losses.append(-math.log(math.exp(row[t]) / (math.exp(row[t]) + others)))
    return math.fsum(losses) / len(losses)


def generated(net, tables, order):
    """G written out: rows of all tasks through FC, batch-norm of their own statistics, ReLU, twice."""
    rows = [
        (t, y, [k for k in range(len(table)) if k != y]) for t, table in enumerate(tables) for y in range(len(table))
    ]
    if order == "sorted":
        rows = [(t, y, sorted(ks, key=lambda k, t=t, y=y: -tables[t][y][k])) for t, y, ks in rows]
    values = [[tables[t][y][k] for k in ks] for t, y, ks in rows]
    for first in (0, 3):
        weight, norm = net[first].weight.tolist(), net[first + 1]
        values = [[math.fsum(w * v for w, v in zip(ws, row, strict=True)) for ws in weight] for row in values]
        for j in range(len(weight)):
            column = [row[j] for row in values]
            mean = math.fsum(column) / len(column)
            variance = math.fsum((v - mean) ** 2 for v in column) / len(column)
            for row in values:
                normed = (row[j] - mean) / math.sqrt(variance + norm.eps)
                row[j] = max(0.0, normed * norm.weight[j].item() + norm.bias[j].item())
    margins = [[[0.0] * len(table) for _ in table] for table in tables]
    for (t, y, ks), row in zip(rows, values, strict=True):
        for k, value in zip(ks, row, strict=True):
            margins[t][y][k] = value
    return margins


def test_the_diagonal_goes_and_comes_back():
    for ways in (2, 3, 7):
        square = drawn(2, 3, ways, ways)
        rows = without_diagonal(square)
        for y in range(ways):
            assert torch.equal(rows[:, :, y], square[:, :, y, [k for k in range(ways) if k != y]])
        assert torch.equal(with_diagonal(rows), square * (1 - torch.eye(ways)))


@pytest.mark.parametrize("margin", [0.0, 0.7, -0.3])
def test_naml_is_equation_2(margin):
    z, y, words = case()
    table = [[[margin] * 5] * 5] * 3
    assert NaiveMargin(margin=margin)(z, y).value.item() == pytest.approx(equation_1(z, y, table), abs=1e-11)
    assert torch.equal(NaiveMargin(margin=margin)(z, y, 3.0, words).value, NaiveMargin(margin=margin)(z, y).value)


def test_craml_is_equation_3():
    z, y, words = case()
    table = [[[1.5 * s - 0.2 for s in row] for row in similarities(task)] for task in words.tolist()]
    loss = ClassRelevantMargin(alpha=1.5, beta=-0.2).double()(z, y, 1.0, words).value
    assert loss.item() == pytest.approx(equation_1(z, y, table), abs=1e-7)  # alpha was a float32


@pytest.mark.parametrize("order", ["class", "sorted"])
def test_traml_is_equation_5(order):
    z, y, words = case()
    loss = traml(order=order, alpha=0.5, beta=0.25)
    for norm in (loss.generator[1], loss.generator[4]):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, std=0.3)
    table = generated(loss.generator, [similarities(task) for task in words.tolist()], order)
    assert loss(z, y, 1.0, words).value.item() == pytest.approx(equation_1(z, y, table), abs=1e-10)


def test_no_margin_is_cross_entropy():
    z, y, words = case()
    expected = F.cross_entropy(z.flatten(0, 1), y.flatten())
    for loss in (NaiveMargin(margin=0.0), ClassRelevantMargin(alpha=0.0, beta=0.0), traml(alpha=0.0, beta=0.0)):
        assert torch.equal(loss(z, y, 1.0, words).value, expected)


def test_naml_takes_its_margin_from_the_target_and_is_cosface():
    z, y, _ = case()
    target = F.one_hot(y, 5).double()
    torch.testing.assert_close(
        NaiveMargin(margin=0.6)(z, y).value, F.cross_entropy((z - 0.6 * target).flatten(0, 1), y.flatten()), **EXACT
    )
    cosines = z.tanh()
    naive = NaiveMargin(margin=12 * 0.15)(12 * cosines, y).value
    torch.testing.assert_close(CosFace(margin=0.15)(12 * cosines, y, 12.0).value, naive, **EXACT)
    torch.testing.assert_close(NegMarginLoss(margin=0.15)(12 * cosines, y, 12.0).value, naive, **EXACT)


@pytest.mark.parametrize("ways", [2, 5, 389])
@pytest.mark.parametrize("order", ["class", "sorted"])
def test_any_number_of_classes(ways, order):
    loss = traml(ways, order=order)
    z, y, words = case(1, 40, ways, 100)
    value = loss(z, y, 1.0, words).value
    value.backward()
    assert value.isfinite()
    assert value >= F.cross_entropy(z[0], y[0])  # margins are not negative
    assert all(p.grad.isfinite().all() for p in loss.parameters() if p.requires_grad)


@pytest.mark.parametrize("make", [NaiveMargin, lambda: ClassRelevantMargin().double(), traml])
def test_a_batch_is_a_task_without_its_axis(make):
    z, y, words = case(1, 40, 5)
    loss = make()
    torch.testing.assert_close(loss(z[0], y[0], 1.0, words[0]).value, loss(z, y, 1.0, words).value, **EXACT)


@pytest.mark.parametrize("make", [NaiveMargin, lambda: ClassRelevantMargin().double(), lambda: traml().eval()])
def test_tasks_at_once_are_the_mean_of_tasks_alone(make):
    z, y, words = case()
    loss = make()
    alone = [loss(z[t : t + 1], y[t : t + 1], 1.0, words[t : t + 1]).value for t in range(3)]
    torch.testing.assert_close(loss(z, y, 1.0, words).value, torch.stack(alone).mean(), **EXACT)


def test_rows_of_all_tasks_pass_batch_norm_once_and_together():
    loss = traml()
    z, y, words = case(tasks=3)
    loss(z, y, 1.0, words)
    assert loss.generator[1].num_batches_tracked == 1
    rows = torch.tensor([similarities(task) for task in words.tolist()], dtype=torch.float64)
    inputs = loss.generator[0](without_diagonal(rows).flatten(0, 1))
    torch.testing.assert_close(loss.generator[1].running_mean, 0.1 * inputs.mean(0), **EXACT)


@pytest.mark.parametrize("training", [True, False])
def test_sorted_traml_is_equivariant_and_plain_traml_is_not(training):
    z, y, words = case()
    order = torch.tensor([3, 0, 4, 1, 2])
    label = order.argsort()
    for name, same in (("sorted", True), ("class", False)):
        loss = traml(order=name).train(training)
        other = copy.deepcopy(loss)
        value = other(z[..., order], label[y], 1.0, words[:, order]).value
        assert torch.isclose(loss(z, y, 1.0, words).value, value, **EXACT) == same


def test_margins_and_logits_have_slopes_of_the_known_sign():
    z, y, words = case()
    loss = ClassRelevantMargin(learn="joint").double()
    loss(z, y, 1.0, words).value.backward()
    assert loss.line.grad[1] > 0  # beta: a step of descent lowers it
    last = traml(learn="joint", beta=1.0)
    last(z, y, 1.0, words).value.backward()
    assert (last.generator[4].bias.grad > 0).all()
    z.requires_grad_()
    NaiveMargin(margin=1.0)(z, y).value.backward()
    slope = z.grad.gather(2, y[..., None])
    assert (slope < 0).all()
    assert (z.grad.sum() - slope.sum()) > 0


@pytest.mark.parametrize("order", ["class", "sorted"])
def test_gradients(order):
    z, y, words = case(2, 6, 4)
    words.requires_grad_()
    z.requires_grad_()
    loss = traml(4, order=order, beta=1.0)  # away from the corner of the last ReLU
    loss.eval()
    assert torch.autograd.gradcheck(lambda a, b: loss(a, y, 1.0, b).value, (z, words))
    line = ClassRelevantMargin(learn="joint").double()
    assert torch.autograd.gradcheck(lambda a, b: line(a, y, 1.0, b).value, (z, words))


def test_what_learns():
    z, y, words = case()
    counts = {}
    for learn in ("fixed", "joint"):
        craml, with_g = ClassRelevantMargin(learn=learn, rate=0.1), traml(learn=learn, rate=0.1)
        with_g(z, y, 1.0, words).value.backward()
        assert with_g.generator[0].weight.grad.abs().sum() > 0
        for loss in (craml, with_g):
            groups = loss.param_groups(0.5)
            assert all(group["lr"] == 0.05 and group["weight_decay"] == 0 for group in groups)
            counts[learn, loss.name] = sum(p.numel() for group in groups for p in group["params"])
    assert counts["fixed", "craml"] == 0
    assert counts["joint", "craml"] == 2
    assert counts["joint", "traml"] - counts["fixed", "traml"] == 8  # a gain and an offset for each of 4 slots
    assert NaiveMargin().param_groups(1.0) == []


def test_the_curves_show_the_margins_of_an_epoch():
    z, y, words = case()
    loss = ClassRelevantMargin(alpha=2.0, beta=1.0).double()
    assert loss.scalars() == {"alpha": 2.0, "beta": 1.0}
    epoch = EpochLosses(torch.device("cpu"))
    epoch.add(loss(z, y, 1.0, words[:1].expand(3, -1, -1)))
    epoch.add(loss(z, y, 1.0, words[1:2].expand(3, -1, -1)))
    rivals = [
        2 * s + 1
        for t in (0, 1)
        for i, row in enumerate(similarities(words[t].tolist()))
        for j, s in enumerate(row)
        if i != j
    ]
    scalars = epoch.scalars()
    assert scalars["margin_mean"] == pytest.approx(sum(rivals) / len(rivals))
    assert (scalars["margin_min"], scalars["margin_max"]) == (pytest.approx(min(rivals)), pytest.approx(max(rivals)))
    assert "margin_mean" not in loss.scalars()
    assert not EpochLosses(torch.device("cpu")).scalars()


def test_a_zero_vector_is_like_no_other():
    z, y, words = case()
    words[:, 1:] = 0
    loss = ClassRelevantMargin(alpha=3.0, beta=0.5).double()
    assert loss(z, y, 1.0, words).value == NaiveMargin(margin=0.5)(z, y).value


@pytest.mark.parametrize("scale", [0.5, 10.0, 64.0])
def test_arcface_survives_any_scale_and_cosine(scale):
    cosines = torch.tensor([[1.0, -1.0, 0.3], [-1.0, 1.0, 1.0], [1.0000001, 0.0, -0.2]], requires_grad=True)
    learned = torch.tensor(scale, requires_grad=True)
    for loss in (ArcFace(margin=0.3), CosFace(margin=0.2)):
        loss(learned * cosines, torch.tensor([0, 0, 0]), learned).value.backward()
    assert cosines.grad.isfinite().all()
    assert learned.grad.isfinite()


def test_bad_arguments_are_a_sentence():
    with pytest.raises(UserError, match=r"^OBJECTIVE\.ARGS\.learn is 'never', which is not one of: fixed, joint\.$"):
        ClassRelevantMargin(learn="never")
    with pytest.raises(UserError, match=r"^OBJECTIVE\.ARGS\.order is 'any', which is not one of: class, sorted\.$"):
        TaskRelevantMargin(order="any")
    with pytest.raises(UserError) as caught:
        traml(7)(*case()[:2], 1.0, case()[2])
    assert str(caught.value) == (
        "OBJECTIVE.NAME is traml, whose generator was built for 7 classes, but a training step has 5; train with one "
        "TASK.TRAIN.WAY, on one kind of STREAM."
    )


@pytest.mark.parametrize("make", [traml, lambda: ClassRelevantMargin(alpha=1.5, beta=-0.2).double()])
def test_the_picture_is_the_matrix_that_the_loss_adds(make):
    z, y, words = case(tasks=1)
    loss = make().eval()
    (picture,) = loss.pictures(words[0])
    assert picture.values.shape == (5, 5)
    assert not picture.values.diagonal().any()
    expected = equation_1(z, y, [picture.values.tolist()])
    assert loss(z, y, 1.0, words).value.item() == pytest.approx(expected, abs=1e-7)
    assert NaiveMargin().pictures(words[0]) == []
