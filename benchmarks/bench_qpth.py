"""The Earth Mover's Distance layer against qpth, the solver that DeepEMD was published with, in one process.

    python benchmarks/bench_qpth.py [--rounds 3] [--problems 4]

qpth pins an older NumPy than OpenCV needs, though it runs with the newer one, so it gets an environment of its own:

    python -m venv qpth && qpth/bin/pip install -r requirements.txt cvxpy && qpth/bin/pip install --no-deps qpth==0.0.18

Prints one JSON line: the milliseconds of a problem of 25 nodes, forward and backward, as medians of interleaved rounds,
their ratio, and the memory that each side adds. Both run on one thread: on more, qpth's factorisation fails on a CPU.
qpth solves a few problems, since memory and time grow in proportion.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_emd import added_mb, feature_maps, interleaved, slopes

import torch  # isort: skip
from qpth.qp import QPFunction
from torch import Tensor

from core.ops.emd.distance import emd_logits
from core.ops.emd.node_similarity import node_similarity

NODES, STRENGTH = 25, 1e-6  # the strength is what DeepEMD's code gives it


def qpth_similarity(similarity: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """<S, X> of problems [k, n, n] as DeepEMD's code sets them up: rows and columns at most, the total given."""
    each = torch.eye(NODES)
    rows, columns = each.repeat_interleave(NODES, 1), each.repeat(1, NODES)
    inside = torch.cat([rows, columns, -torch.eye(NODES**2)]).double()
    limits = torch.cat([a, b, a.new_zeros(len(a), NODES**2)], 1)
    quadratic, total = STRENGTH * torch.eye(NODES**2).double(), torch.ones(1, NODES**2).double()
    cost = (1 - similarity).flatten(1)
    flow = QPFunction(verbose=-1)(quadratic, cost, inside, limits, total, a.sum(1, keepdim=True))
    return (flow * (1 - cost)).sum(1)


def main() -> None:
    """Print the row."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--problems", type=int, default=4, help="how many qpth solves")
    args = cli.parse_args()
    torch.set_num_threads(1)
    similarity, weights = node_similarity(*feature_maps(NODES, 64), True)
    leaves = [x.flatten(0, 2).detach().requires_grad_() for x in (similarity, *weights)]
    few = [x[: args.problems].double().detach().requires_grad_() for x in leaves]
    for w in few[1:]:
        w.data *= NODES / w.data.sum(1, keepdim=True)

    def ours() -> None:
        slopes(emd_logits(leaves[0], (leaves[1], leaves[2])), *leaves)

    def theirs() -> None:
        slopes(qpth_similarity(*few), *few)

    slopes(emd_logits(leaves[0][:2], (leaves[1][:2], leaves[2][:2])), *leaves)  # compiles
    memory = {name: added_mb(run) for name, run in (("ours", ours), ("qpth", theirs))}
    seconds = interleaved({"ours": ours, "qpth": theirs}, args.rounds)
    one, other = seconds["ours"] / len(similarity.flatten(0, 2)), seconds["qpth"] / args.problems
    row = {
        "what": f"a problem, forward + backward, one thread, n = {NODES}",
        "ours_ms": round(1e3 * one, 4),
        "qpth_ms": round(1e3 * other, 1),
        "qpth_to_ours": round(other / one),
        "target": 10_000,
        "ours_mb_375_problems": memory["ours"],
        "qpth_mb_a_problem": round(memory["qpth"] / args.problems, 1),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
