"""Mean losses of a classifier against torch.optim.SGD, one task after another."""

import torch
import torch.nn.functional as F

from core.ops.label_trust import mean_losses
from core.ops.span import Span
from tests.methods.small import drawn

TASKS, WAY, N, WIDTH = 2, 3, 12, 5
VECTORS = F.normalize(drawn(TASKS, N, WIDTH), dim=-1)
LABELS = torch.arange(N).remainder(WAY).expand(TASKS, -1)
START = drawn(TASKS, WAY, N, seed=1)
SPAN = Span(VECTORS @ VECTORS.transpose(1, 2))


def test_card_16_losses_are_those_of_sgd_in_the_space_of_the_vectors():
    computed = mean_losses(SPAN, LABELS, START, 40, 0.1, 5e-4)
    for t in range(TASKS):
        layer = torch.nn.Linear(WIDTH, WAY).double()
        with torch.no_grad():
            layer.weight.copy_(START[t] @ VECTORS[t])
            layer.bias.zero_()
        sgd = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
        total = torch.zeros(N, dtype=torch.float64)
        for _ in range(40):
            losses = F.cross_entropy(layer(VECTORS[t]), LABELS[t], reduction="none")
            total += losses.detach()
            sgd.zero_grad()
            losses.mean().backward()
            sgd.step()
        torch.testing.assert_close(computed[t], total / 40, atol=1e-10, rtol=0)


def test_a_wrong_label_has_a_large_loss():
    clusters = F.normalize(torch.eye(WAY, WIDTH, dtype=torch.float64)[LABELS] + 0.1 * VECTORS, dim=-1)
    labels = LABELS.clone()
    labels[:, 4] = 0  # vector 4 lies in cluster 1
    losses = mean_losses(Span(clusters @ clusters.transpose(1, 2)), labels, torch.zeros_like(START), 100, 0.1, 5e-4)
    assert (losses.argmax(1) == 4).all()
