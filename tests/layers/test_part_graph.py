"""The graph embedding against loops over parts."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.errors import UserError
from core.layers.part_graph import GRAPHS, PartGraph, averages, links

LABELS = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 2, 2]])
VIEWS, WIDTH, NEAREST = 3, 4, 2


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(kind, neighbours=NEAREST):
    torch.manual_seed(0)
    return PartGraph(WIDTH, kind, neighbours).double().eval()


def linked(kind, parts, labels):
    """Whether part j of one task reaches part i: [m][m], a pair at a time."""
    nodes = parts.flatten(0, 1).numpy()
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in nodes] for a in nodes]
    found = np.zeros((len(nodes), len(nodes)), dtype=bool)
    for i in range(len(nodes)):
        others = sorted((j for j in range(len(nodes)) if j != i), key=lambda j: -cosines[i][j])
        for j in range(len(nodes)):
            same = {"class": labels[i // VIEWS] == labels[j // VIEWS], "image": i // VIEWS == j // VIEWS}
            found[i, j] = i != j and (j in others[:NEAREST] if kind == "knn" else same.get(kind, False))
    return found


def embedded(graph, parts, labels):
    """One task: every part from its neighbours and itself."""
    reach = linked(graph.kind, parts, labels) | np.eye(parts[..., 0].numel(), dtype=bool)
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
    graph, parts = made(kind), drawn(2, 6, VIEWS, WIDTH)
    expected = torch.stack([embedded(graph, p, y) for p, y in zip(parts, LABELS, strict=True)])
    torch.testing.assert_close(graph(parts, LABELS), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["class", "image", "knn"])
def test_links_are_those_of_the_pairs(kind):
    parts = drawn(2, 6, VIEWS, WIDTH, seed=1)
    found = links(kind, parts, LABELS, NEAREST).numpy()
    expected = np.stack([linked(kind, p, y) for p, y in zip(parts, LABELS, strict=True)])
    off_diagonal = ~np.eye(found.shape[1], dtype=bool)
    assert (found[:, off_diagonal] == expected[:, off_diagonal]).all()


def test_without_links_each_part_passes_a_perceptron_alone():
    graph, parts = made("identity"), drawn(2, 6, VIEWS, WIDTH)
    nothing = torch.zeros(2, 18, 18, dtype=torch.bool)
    assert torch.equal(averages(nothing), torch.eye(18, dtype=torch.float64).expand(2, -1, -1))
    alone = graph(parts, LABELS)
    for t, n, v in [(0, 0, 0), (1, 5, 2), (0, 3, 1)]:
        part = parts[t, n, v]
        expected = part + graph.outer(F.relu(graph.inner(part)))
        torch.testing.assert_close(alone[t, n, v], expected, rtol=0, atol=1e-13)


def test_more_neighbours_than_parts_are_all_of_them():
    assert links("knn", drawn(1, 2, 1, WIDTH), torch.tensor([[0, 1]]), 9).sum() == 2


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
    graph, parts = made(kind), drawn(2, 6, VIEWS, WIDTH).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: graph(x, LABELS), parts)
    graph(parts, LABELS).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in graph.parameters())


def test_half_of_the_hidden_layer_drops_in_training():
    graph, parts = made("class").train(), drawn(2, 6, VIEWS, WIDTH)
    assert not torch.equal(graph(parts, LABELS), graph(parts, LABELS))
    assert graph.dropout.p == 0.5


@pytest.mark.parametrize(
    ("arguments", "said"), [(("clas", 5), "METHOD.ARGS.graph is 'clas'"), (("knn", 0), "METHOD.ARGS.neighbours is 0")]
)
def test_wrong_arguments_are_refused(arguments, said):
    with pytest.raises(UserError, match=said):
        PartGraph(WIDTH, *arguments)
