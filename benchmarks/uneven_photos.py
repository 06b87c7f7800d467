"""Accuracy of heads where some classes have more labelled photographs than others.

    python benchmarks/uneven_photos.py --photos DIR [--draws 100] [--heads RFS Ridge TipAdapter ProtoNet]

Draws tasks of six classes whose numbers of supports are those of COUNTS, with ten other photographs of each class as
queries, and prints one JSON line for each row of COUNTS: the mean accuracy of each head in percent.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401, I001  (sets OpenMP's wait policy before torch is imported)
import numpy as np
import torch
from torch import Tensor

from core.predict.reference import Pool
from core.predict.references import pool_of_photos
from core.predict.sources import from_encoder
from core.predict.store import default_folder
from core.predict.supports import make_task

COUNTS = ((5,) * 6, (5, 5, 5, 5, 5, 6), (5, 5, 5, 5, 5, 10), (2, 3) * 3, (1, 1, 1, 1, 1, 5), (2, 2, 2, 2, 2, 20))
QUERY = 10


def main() -> None:
    """Parse the command line and measure."""
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("--photos", type=Path, required=True)
    cli.add_argument("--draws", type=int, default=100)
    cli.add_argument("--heads", nargs="+", default=["RFS", "Ridge", "TipAdapter", "ProtoNet"])
    cli.add_argument("--encoder", default="torchvision:mobilenet_v2")
    cli.add_argument("--weights", default="")
    args = cli.parse_args()
    networks = [from_encoder(args.encoder, args.weights, head, [], torch.device("cpu")) for head in args.heads]
    pool = pool_of_photos(networks[0], args.photos, networks[0].store(default_folder()))
    for counts in COUNTS:
        accuracies = np.zeros((args.draws, len(networks)))
        for number in range(args.draws):
            supports, queries = draw(pool, counts, number)
            for place, network in enumerate(networks):
                accuracies[number, place] = accuracy(network.folded, pool, counts, supports, queries)
        table = dict(zip(args.heads, accuracies.mean(0).round(1).tolist(), strict=True))
        print(json.dumps({"counts": counts, "draws": args.draws} | table), flush=True)


def draw(pool: Pool, counts: tuple[int, ...], number: int) -> tuple[Tensor, Tensor]:
    """Rows of the supports, class after class, and of QUERY others of each class."""
    rng = np.random.default_rng(number)
    ends = np.cumsum(pool.counts)
    supports, queries = [], []
    for c, count in zip(rng.permutation(len(pool.counts)), counts, strict=False):
        rows = ends[c] - 1 - rng.permutation(pool.counts[c])
        supports.append(rows[:count])
        queries.append(rows[count : count + QUERY])
    return torch.from_numpy(np.concatenate(supports)), torch.from_numpy(np.concatenate(queries))


@torch.no_grad()
def accuracy(head: torch.nn.Module, pool: Pool, counts: tuple[int, ...], supports: Tensor, queries: Tensor) -> float:
    """Share of the queries that a head names rightly, in percent."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    support, query = ({"vector": pool.features["vector"][rows][None]} for rows in (supports, queries))
    task = make_task(support, labels, query, len(counts), torch.zeros(1, dtype=torch.long), None, None)
    truth = torch.arange(len(counts)).repeat_interleave(QUERY)
    return 100 * float((head(task)[0].argmax(1) == truth).double().mean())


if __name__ == "__main__":
    main()
