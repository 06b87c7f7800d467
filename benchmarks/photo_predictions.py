"""How well expected accuracy, rejection and probabilities hold on labelled photographs.

    python benchmarks/photo_predictions.py --photos DIR [--draws 500] [--way 6] [--shots 1 2 3 5] [--head RFS]

The classes are cut in two halves. Draws of one half are tasks of a user: supports, and the other photographs as
queries. The reference is the other half, so that no class is on both sides. Prints one JSON line for each shot:

    covered       share of draws whose accuracy lies in the 95 % interval of the expected accuracy
    error         mean distance of the two, in points; beside it that of the reference's mean accuracy, a constant
    refused       share of queries of the classes that --reject 0.1 refuses; beside it without reference episodes
    auroc         of the similarity to the nearest support, known queries against photographs of 6 other classes
    ece, nll      of the probabilities; beside them without a temperature
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401, I001  (sets OpenMP's wait policy before torch is imported)
import numpy as np
import torch
from torch import Tensor

from core.ops import random
from core.ops.temperature import fit_inverse_temperature
from core.predict.facts import auroc
from core.predict.network import PhotoNetwork
from core.predict.reference import EPISODES, Examiner, Pool, calibrate, draw
from core.predict.references import pool_of_photos
from core.predict.sources import from_encoder
from core.predict.store import default_folder
from core.predict.trust import Trust

REJECT = 0.1
UNKNOWN = 30  # photographs of other classes beside the queries of a task
BINS = 10


def main() -> None:
    """Parse the command line and measure."""
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("--photos", type=Path, required=True)
    cli.add_argument("--draws", type=int, default=500)
    cli.add_argument("--way", type=int, default=6)
    cli.add_argument("--shots", type=int, nargs="+", default=[1, 2, 3, 5])
    cli.add_argument("--query", type=int, default=30, help="of each class")
    cli.add_argument("--head", default="RFS")
    cli.add_argument("--encoder", default="torchvision:mobilenet_v2")
    cli.add_argument("--weights", default="")
    args = cli.parse_args()
    network = from_encoder(args.encoder, args.weights, args.head, [], torch.device("cpu"))
    pool = pool_of_photos(network, args.photos, network.store(default_folder()))
    halves = [part_of(pool, range(first, len(pool.counts), 2)) for first in (0, 1)]
    for shot in args.shots:
        rows = []
        for users, reference in (halves, halves[::-1]):
            rows += measured(network, users, reference, args.way, shot, args.query, args.draws // 2)
        table = {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0]}
        print(json.dumps({"shot": shot, "draws": len(rows), "head": args.head} | table), flush=True)


def part_of(pool: Pool, classes: range) -> Pool:
    """Some classes of a pool."""
    ends = np.cumsum(pool.counts)
    rows = torch.cat([torch.arange(ends[c] - pool.counts[c], ends[c]) for c in classes])
    features = {name: value[rows] for name, value in pool.features.items()}
    return Pool(pool.name, [pool.counts[c] for c in classes], features, pool.places[rows])


def measured(
    network: PhotoNetwork, users: Pool, reference: Pool, way: int, shot: int, query: int, draws: int
) -> list[dict[str, float]]:
    """What each of `draws` tasks of the users' classes says, with the other classes as reference."""
    head = network.folded
    calibration = calibrate(head, reference, way, shot, [])
    of_reference = Examiner(head, reference, None).query_logits(draw(reference, way, shot, EPISODES, query))
    truth = torch.arange(way).repeat_interleave(query)
    constant = 100 * float((of_reference.argmax(-1) == truth).double().mean())
    drawn, examiner = draw(users, way, shot, draws, query), Examiner(head, users, None)
    logits, (near, among) = examiner.query_logits(drawn), examiner.similarities(drawn)
    held_out = examiner.held_out_logits(drawn) if shot > 1 else logits[:, :0]
    held_truth = torch.arange(way).repeat_interleave(shot)[: held_out.shape[1]].expand(draws, -1)
    prior = (torch.full((draws,), value) for value in (calibration.centre, calibration.spread))
    tau = fit_inverse_temperature(held_out, held_truth, *prior) * math.exp(calibration.shift)
    places = users.places.double()
    unknown = random.subset(drawn.seed, "unknown", torch.full_like(drawn.seed, len(reference.places)), UNKNOWN)
    rows = []
    for i in range(draws):
        similar = (torch.zeros(0) if among is None else among[i]).sort().values
        correct = float((held_out[i].argmax(-1) == held_truth[i]).double().mean()) if shot > 1 else 0.0
        trust = Trust(float(tau[i]), held_out.shape[1], correct, similar, calibration)
        others = (reference.places[unknown[i]].double() @ places[drawn.supports[i].flatten()].T).amax(1)
        row = of_one(trust, logits[i], truth, near[i], others)
        rows.append(row | {"error_of_constant": abs(row["accuracy"] - constant)})
    return rows


def of_one(trust: Trust, logits: Tensor, truth: Tensor, near: Tensor, near_others: Tensor) -> dict[str, float]:
    """What one task says: logits [Q, N] of its queries, and similarities of these and of other photographs."""
    right = (logits.argmax(1) == truth).double()
    expected, accuracy = trust.expected()[0], 100 * float(right.mean())
    plain = float(trust.similarities.quantile(REJECT)) if trust.held_out else -math.inf
    scores = {"": trust.probabilities(logits), "_without_temperature": logits.softmax(-1)}
    return {
        "accuracy": accuracy,
        "covered": float(expected.low <= accuracy <= expected.high),
        "width": expected.high - expected.low,
        "error": abs(accuracy - expected.percent),
        "refused": float((near < trust.threshold(REJECT)).double().mean()),
        "refused_without_reference": float((near < plain).double().mean()),
        "others_refused": float((near_others < trust.threshold(REJECT)).double().mean()),
        "auroc": auroc(near.tolist(), near_others.tolist()),
        **{f"ece{name}": ece(score, right) for name, score in scores.items()},
        **{f"nll{name}": float(-score.gather(1, truth[:, None]).log().mean()) for name, score in scores.items()},
    }


def ece(probabilities: torch.Tensor, right: torch.Tensor) -> float:
    """Expected calibration error over bins of equal numbers."""
    top, order = probabilities.amax(1).sort()
    bins = [(top[part] - right[order][part]).mean().abs() for part in torch.arange(len(top)).chunk(BINS)]
    return float(torch.stack(bins).mean())


if __name__ == "__main__":
    main()
