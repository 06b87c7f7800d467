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
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401, I001  (sets OpenMP's wait policy before torch is imported)
import numpy as np
import torch

from core.ops import random
from core.predict.calibration import Calibration
from core.predict.classifier import Classifier, make_head_named
from core.predict.facts import auroc
from core.predict.network import PhotoNetwork
from core.predict.reference import EPISODES, LEAST_QUERIES, Examiner, Pool, calibrate, draw
from core.predict.references import pool_of_photos
from core.predict.sources import from_encoder
from core.predict.store import default_folder
from core.predict.supports import Supports
from core.predict.trust import measure_trust

REJECT = 0.1
OTHERS = 6  # classes of the photographs that are of none of the task's
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
        draws = []
        for users, reference in (halves, halves[::-1]):
            calibration = calibrate(network.folded, reference, args.way, shot, [])
            mean = reference_accuracy(network, reference, args.way, shot, args.query)
            for number in range(args.draws // 2):
                task = draw_task(users, reference, args.way, shot, args.query, number)
                draws.append(measured(network, task, calibration, mean))
        table = {key: round(float(np.nanmean([draw[key] for draw in draws])), 4) for key in draws[0]}
        print(json.dumps({"shot": shot, "draws": len(draws), "head": args.head} | table), flush=True)


def part_of(pool: Pool, classes: range) -> Pool:
    """Some classes of a pool."""
    ends = np.cumsum(pool.counts)
    rows = torch.cat([torch.arange(ends[c] - pool.counts[c], ends[c]) for c in classes])
    features = {name: value[rows] for name, value in pool.features.items()}
    return Pool(pool.name, [pool.counts[c] for c in classes], features, pool.places[rows])


def reference_accuracy(network: PhotoNetwork, reference: Pool, way: int, shot: int, query: int) -> float:
    """Mean accuracy, in %, of the reference episodes."""
    logits = Examiner(network.folded, reference, None).query_logits(draw(reference, way, shot, EPISODES, query))
    return 100 * float((logits.argmax(-1) == torch.arange(way).repeat_interleave(query)).double().mean())


def draw_task(users: Pool, others: Pool, way: int, shot: int, query: int, number: int) -> dict[str, torch.Tensor]:
    """Rows of a user's supports and queries, and of photographs of other classes, of the other half."""
    seed = random.hashes(torch.tensor(random.key("user", way, shot)), "draws", number + 1)[-1:]
    counts = torch.tensor(users.counts)
    starts = counts.cumsum(0) - counts
    classes = random.subset(seed, "classes", torch.full_like(seed, len(counts)), way)[0].sort().values
    within = random.subset(random.hashes(seed, "images", way)[0], "within", counts[classes], shot + query)
    rows = within + starts[classes][:, None]
    unknown = random.subset(seed, "others", torch.full_like(seed, sum(others.counts)), OTHERS * LEAST_QUERIES)[0]
    return {
        "support": users.features["vector"][rows[:, :shot].flatten()],
        "places": users.places[rows[:, :shot].flatten()],
        "query": users.features["vector"][rows[:, shot:].flatten()],
        "query_places": users.places[rows[:, shot:].flatten()],
        "other_places": others.places[unknown],
        "labels": torch.arange(way).repeat_interleave(shot),
        "truth": torch.arange(way).repeat_interleave(query),
        "looks": torch.arange(way * shot),
    }


def measured(network: PhotoNetwork, task: dict[str, torch.Tensor], calibration: Calibration, mean: float) -> dict:
    """What one draw says."""
    way, shots = int(task["labels"].max()) + 1, len(task["labels"])
    looks = np.random.default_rng(0).integers(0, 256, (shots, 32), dtype=np.uint8)  # no two photographs look the same
    names = [str(i) for i in range(shots)]
    features = {"vector": task["support"]}
    supports = Supports([str(i) for i in range(way)], names, names, task["labels"], features, looks, task["places"])
    classifier = Classifier(network, make_head_named(network, "own"), supports)
    trust, plain = measure_trust(classifier, calibration), measure_trust(classifier)
    logits = classifier.logits({"vector": task["query"]})
    right = (logits.argmax(1) == task["truth"]).double()
    expected, accuracy = trust.expected()[0], 100 * float(right.mean())
    near, near_others = ((task[name] @ task["places"].T).amax(1) for name in ("query_places", "other_places"))
    scores = {"": trust.probabilities(logits), "_without_temperature": logits.softmax(-1)}
    truth = task["truth"][:, None]
    return {
        "accuracy": accuracy,
        "covered": float(expected.low <= accuracy <= expected.high),
        "width": expected.high - expected.low,
        "error": abs(accuracy - expected.percent),
        "error_of_constant": abs(accuracy - mean),
        "refused": float((near < trust.threshold(REJECT)).double().mean()),
        "refused_without_reference": float((near < plain.threshold(REJECT)).double().mean()),
        "others_refused": float((near_others < trust.threshold(REJECT)).double().mean()),
        "auroc": auroc(near.tolist(), near_others.tolist()),
        **{f"ece{name}": ece(score, right) for name, score in scores.items()},
        **{f"nll{name}": float(-score.gather(1, truth).log().mean()) for name, score in scores.items()},
    }


def ece(probabilities: torch.Tensor, right: torch.Tensor) -> float:
    """Expected calibration error over bins of equal numbers."""
    top, order = probabilities.amax(1).sort()
    bins = [(top[part] - right[order][part]).mean().abs() for part in torch.arange(len(top)).chunk(BINS)]
    return float(torch.stack(bins).mean())


if __name__ == "__main__":
    main()
