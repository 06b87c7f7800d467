"""Parts of a small task, and their links a pair at a time."""

import numpy as np
import torch

LABELS = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 2, 2]])
VIEWS, WIDTH, NEAREST = 3, 4, 2


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def links_of_pairs(kind, parts, labels):
    """Whether part i of one task is linked to part j, [m, m]."""
    nodes = parts.flatten(0, 1).numpy()
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in nodes] for a in nodes]
    links = np.zeros((len(nodes), len(nodes)), dtype=bool)
    for i in range(len(nodes)):
        others = sorted((j for j in range(len(nodes)) if j != i), key=lambda j: -cosines[i][j])
        for j in range(len(nodes)):
            same = {"class": labels[i // VIEWS] == labels[j // VIEWS]}
            links[i, j] = i != j and (j in others[:NEAREST] if kind == "knn" else same.get(kind, False))
    return links
