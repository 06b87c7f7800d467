"""The graph embedding against loops over parts."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.errors import UserError
from core.layers.part_graph import GRAPHS, PartGraph
from tests.ops.parts import LABELS, NEAREST, VIEWS, WIDTH, drawn, links_of_pairs


def graph_of(kind, neighbours=NEAREST):
    torch.manual_seed(0)
    return PartGraph(WIDTH, kind, neighbours).double().eval()


def embedded(graph, parts, labels):
    """One task: every part from its neighbours and itself."""
    reach = links_of_pairs(graph.kind, parts, labels) | np.eye(parts[..., 0].numel(), dtype=bool)
    nodes = parts.flatten(0, 1)
    w1, b1, w2, b2 = (p.detach() for layer in (graph.inner, graph.outer) for p in (layer.weight, layer.bias))
    hidden = []
    for i in range(len(nodes)):
        average = sum(nodes[j] for j in np.flatnonzero(reach[i])) / reach[i].sum()
        hidden.append((w1 @ average + b1).clamp(min=0))
    out = []
    for i in range(len(nodes)):
        average = sum(hidden[j] for j in np.flatnonzero(reach[i])) / reach[i].sum()
        out.append(nodes[i] + w2 @ average + b2)
    return torch.stack(out).view(parts.shape)


@pytest.mark.parametrize("kind", GRAPHS)
def test_the_embedding_follows_its_equation(kind):
    graph, parts = graph_of(kind), drawn(2, 6, VIEWS, WIDTH)
    expected = torch.stack([embedded(graph, p, y) for p, y in zip(parts, LABELS, strict=True)])
    torch.testing.assert_close(graph(parts, LABELS), expected, rtol=0, atol=1e-12)


def test_without_links_each_part_passes_a_perceptron_alone():
    graph, parts = graph_of("identity"), drawn(2, 6, VIEWS, WIDTH)
    alone = graph(parts, LABELS)
    for t, n, v in [(0, 0, 0), (1, 5, 2), (0, 3, 1)]:
        part = parts[t, n, v]
        expected = part + graph.outer(F.relu(graph.inner(part)))
        torch.testing.assert_close(alone[t, n, v], expected, rtol=0, atol=1e-13)


def test_the_published_size_and_start():
    graph = PartGraph(640, "class", NEAREST)
    assert sum(p.numel() for p in graph.parameters()) == 3_280_000
    for layer in (graph.inner, graph.outer):
        bound = layer.out_features**-0.5
        for parameter in layer.parameters():
            assert 0.98 * bound < parameter.abs().max() <= bound
            assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


@pytest.mark.parametrize("kind", GRAPHS)
def test_gradients_reach_parts_and_weights(kind):
    graph, parts = graph_of(kind), drawn(2, 6, VIEWS, WIDTH).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: graph(x, LABELS), parts)
    graph(parts, LABELS).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in graph.parameters())


def test_half_of_the_hidden_layer_drops_in_training():
    graph, parts = graph_of("class").train(), drawn(2, 6, VIEWS, WIDTH)
    assert not torch.equal(graph(parts, LABELS), graph(parts, LABELS))
    assert graph.dropout.p == 0.5


def test_a_graph_without_neighbours_is_refused():
    with pytest.raises(UserError, match=r"METHOD\.ARGS\.neighbours is 0"):
        PartGraph(WIDTH, "knn", 0)
