"""Card 9 of the specifications: TapNet's equations and identities."""

from dataclasses import replace

import pytest
import torch

from core.episode import DataInfo
from core.errors import UserError
from core.methods.tapnet import TapNet
from tests.methods.small import close, conv4, shapes, task_of

WAY, WIDTH = 5, 12


def tapnet(way=WAY, **options):
    torch.manual_seed(0)
    return TapNet(conv4(width=WIDTH), DataInfo(n_base=7, image_size=16, way=way), **options).double().eval()


@torch.no_grad()
def expected(method, task, t, rows):
    """Logits of one task by a singular value decomposition, for given rows of the table."""
    phi, beta = method.references.weight[rows], method.references.bias[rows]
    support, labels = task.support["vector"][t], task.support_y[t]
    means = torch.stack([support[labels == n].mean(0) for n in range(task.way)])
    apart = task.way * phi - phi.sum(0)
    errors = [a / (a.norm() + 1e-6) - c / (c.norm() + 1e-6) for a, c in zip(apart, means, strict=True)]
    basis = torch.linalg.svd(torch.stack(errors)).Vh[task.way :].T
    return [
        [-((q - p) @ basis).square().sum() + 2 * b for p, b in zip(phi, beta, strict=True)]
        for q in task.query["vector"][t]
    ]


@shapes()
def test_training_gives_each_class_its_own_reference(counts):
    method, task = tapnet(way=3).train(), task_of(WIDTH, counts=counts, tasks=1 if counts else 2)
    torch.nn.init.normal_(method.references.bias)
    for t, logits in enumerate(method(task)):
        close(logits, torch.tensor(expected(method, task, t, [0, 1, 2])).numpy())


@pytest.mark.parametrize("matching", ["greedy", "best"])
def test_at_test_classes_take_different_references(matching):
    method, task = tapnet(matching=matching), task_of(WIDTH, tasks=6)
    torch.nn.init.normal_(method.references.bias)
    means = task.support["vector"].unflatten(1, (3, 2)).mean(2)
    table, offsets = method.references.weight, method.references.bias
    scores = 2 * (means @ table.T + offsets) - table.square().sum(1)
    for t, logits in enumerate(method(task)):
        free, rows = list(range(WAY)), []
        for n in range(3):
            rows.append(max(free, key=lambda j, n=n, t=t: scores[t, n, j]))
            free.remove(rows[-1])
        if matching == "best":
            triples = [(i, j, k) for i in range(5) for j in range(5) for k in range(5) if len({i, j, k}) == 3]
            rows = list(max(triples, key=lambda r, t=t: sum(scores[t, n, j] for n, j in enumerate(r))))
        close(logits, torch.tensor(expected(method, task, t, rows)).numpy())


def test_card_9_where_references_and_means_agree_logits_are_distances_to_the_references():
    method, task = tapnet(way=3).train(), task_of(WIDTH, shot=1)
    torch.nn.init.normal_(method.references.bias)
    phi = method.references.weight
    agreeing = (3 * phi - phi.sum(0)).detach().expand(2, -1, -1)
    query = task.query["vector"]
    logits = method(replace(task, support={"vector": agreeing}))
    distances = torch.cdist(query, phi.expand(2, -1, -1)).square()
    torch.testing.assert_close(logits, 2 * method.references.bias - distances, rtol=0, atol=1e-5)


def test_card_9_no_gradient_passes_the_projection():
    method, task = tapnet(way=3).train(), task_of(WIDTH)
    support, query = (part["vector"].requires_grad_() for part in (task.support, task.query))
    slopes = torch.autograd.grad(method.loss(task).value, [support, query], allow_unused=True)
    assert slopes[0] is None
    assert slopes[1].abs().sum() > 0


def test_permuting_the_classes_permutes_the_logits_of_the_best_matching_alone():
    order = torch.tensor([2, 0, 1])
    task = task_of(WIDTH, tasks=40, shot=1)
    permuted = replace(task, support={"vector": task.support["vector"][:, order]})
    same = [
        torch.allclose(method(permuted), method(task)[..., order])
        for method in (tapnet(matching="best"), tapnet(matching="greedy"))
    ]
    assert same == [True, False]
    assert [tapnet(matching=m).class_symmetric for m in ("best", "greedy")] == same


def test_more_classes_than_references_are_one_sentence():
    with pytest.raises(UserError, match=r"^TASK\.TEST\.WAY is 6, but TapNet has learned 5 references"):
        tapnet()(task_of(WIDTH, way=6))
    with pytest.raises(UserError, match=r"^TASK\.TRAIN\.WAY is 12, but vectors of BACKBONE\.NAME have 12 numbers"):
        tapnet(way=12)
    with pytest.raises(UserError, match=r"^TapNet has one reference for each class of a training episode"):
        tapnet().base_logits(task_of(WIDTH))
