"""FRN against its equations, written as loops in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.backbones.conv4 import Conv4
from core.episode import Batch, DataInfo
from core.methods.frn import FRN
from core.methods.protonet import ProtoNet
from tests.helpers import make_task

WIDTH, SIDE, WAY = 6, 2, 3
ALPHA, BETA, GAMMA = 0.4, -0.3, 1.7


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def frn():
    def build(seed=0, **options):
        torch.manual_seed(seed)
        backbone = Conv4(16, "native", width=WIDTH, pools=3)
        method = FRN(backbone, DataInfo(5, 16), **options).double()
        for parameter, value in zip((method.alpha, method.beta, method.gamma), (ALPHA, BETA, GAMMA), strict=True):
            parameter.data.fill_(value)
        return method

    return build


def rows_of(maps):
    """Maps [k, d, h, w] to a matrix of their descriptors."""
    return np.stack([image[:, i, j] for image in maps.numpy() for i, j in np.ndindex(*image.shape[1:])])


def logit(query, rows, alpha, beta, gamma):
    """Equation 8, a descriptor at a time."""
    penalty = len(rows) / rows.shape[1] * math.exp(alpha) + 1e-6
    errors = []
    for q in query:
        weights = np.linalg.solve(rows @ rows.T + penalty * np.eye(len(rows)), rows @ q)
        errors.append(((q - math.exp(beta) * weights @ rows) ** 2).sum())
    return -gamma * sum(errors) / len(errors)


@pytest.mark.parametrize("counts", [[1, 1, 1], [2, 2, 2], [4, 4, 4], [1, 3, 2]])
@pytest.mark.parametrize("shrink", [True, False])
def test_logits(frn, counts, shrink):
    method, divisor = frn(shrink=shrink).eval(), math.sqrt(WIDTH) if shrink else 1
    labels = torch.arange(WAY).repeat_interleave(torch.tensor(counts))[None]
    support, query = drawn(1, sum(counts), WIDTH, SIDE, SIDE), drawn(1, 4, WIDTH, SIDE, SIDE, seed=1)
    task = make_task({"map": support}, {"map": query}, WAY, counts[0] if len(set(counts)) == 1 else None, labels)
    expected = [
        [
            logit(rows_of(q[None]) / divisor, rows_of(support[0, labels[0] == n]) / divisor, ALPHA, BETA, GAMMA)
            for n in range(WAY)
        ]
        for q in query[0]
    ]
    assert np.allclose(method(task).detach().numpy()[0], expected, rtol=0, atol=1e-10)


def test_batch_logits_reconstruct_from_the_matrices_of_the_base_classes(frn):
    method = frn()
    maps = drawn(3, WIDTH, SIDE, SIDE)
    expected = [
        [logit(rows_of(q[None]), matrix.detach().numpy(), ALPHA, BETA, GAMMA) for matrix in method.categories]
        for q in maps
    ]
    batch = Batch({"map": maps}, torch.tensor([0, 1, 2]))
    assert np.allclose(method.batch_logits(batch).detach().numpy(), expected, rtol=0, atol=1e-10)


def test_pretraining_leaves_alpha_and_beta(frn):
    method = frn()
    method.loss(Batch({"map": drawn(3, WIDTH, SIDE, SIDE)}, torch.tensor([0, 1, 2]))).value.backward()
    assert method.alpha.grad is None
    assert method.beta.grad is None
    assert method.gamma.grad.abs() > 0
    assert method.categories.grad.abs().sum() > 0


def test_loss_adds_the_overlap_of_classes(frn):
    method = frn(aux_weight=0.2)
    support = drawn(2, WAY * 2, WIDTH, SIDE, SIDE)
    task = make_task({"map": support}, {"map": drawn(2, 3, WIDTH, SIDE, SIDE, seed=1)}, WAY, 2)
    overlaps = []
    for maps in support:
        matrices = [rows_of(maps[2 * n : 2 * n + 2]) for n in range(WAY)]
        norm = math.sqrt(sum((s**2).sum() for s in matrices))
        pairs = [(i, j) for i, j in np.ndindex(WAY, WAY) if i < j]
        overlaps.append(sum(((matrices[i] / norm @ (matrices[j] / norm).T) ** 2).sum() for i, j in pairs))
    plain = F.cross_entropy(method(task).flatten(0, 1), task.query_y.flatten()).item()
    assert method.loss(task).value.item() == pytest.approx(plain + 0.2 * np.mean(overlaps), abs=1e-10)


def test_supports_that_are_all_zero_have_no_overlap_and_a_finite_gradient(frn):
    support = drawn(2, WAY * 2, WIDTH, SIDE, SIDE)
    support[0] = 0
    support.requires_grad_()
    task = make_task({"map": support}, {"map": drawn(2, 3, WIDTH, SIDE, SIDE, seed=1)}, WAY, 2)
    overlap = frn().overlap(task)
    overlap.backward()
    assert overlap > 0
    assert (support.grad[0] == 0).all()
    assert support.grad[1].isfinite().all()


def test_a_stage_takes_over_all_of_an_frn_and_the_backbone_of_others(frn):
    method, previous = frn(1), frn(2)
    previous.gamma.data.fill_(3.0)
    assert "0 missing, 0 unexpected" in method.start_from(previous)
    assert all(torch.equal(value, previous.state_dict()[name]) for name, value in method.state_dict().items())
    other = ProtoNet(Conv4(16, "native", width=WIDTH), DataInfo(5, 16)).double()
    method.start_from(other)
    assert torch.equal(method.backbone.layers[0][0].weight, other.backbone.layers[0][0].weight)
    assert method.gamma.item() == 3.0
