"""How far the intervals of an evaluation hold what they speak of, on simulated tasks whose truth is known.

    python benchmarks/interval_coverage.py [--repeats 200]

Prints a JSON line for each number that docs/evaluation.md gives: the interval over disjoint tasks, where the images of
the same classes are drawn anew; the interval over classes, where the classes are; that over episodes near 100 %; and
the calibration error of answers that have none. Coverage is the share of repetitions whose interval holds the truth.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from core.data.disjoint import DisjointSampler
from core.data.episodes import Shape
from core.data.store import Split
from core.report.intervals import of_classes, of_disjoint
from core.report.stats import t_interval
from core.report.tally import Tally

CLASSES, IMAGES, WAY, QUERY, PARTITIONS = 20, 600, 5, 15, 5  # CIFAR-FS's test split
CLASS_EFFECT, NOISE = 3.42, 8.0  # points: the interval over classes is then as wide as RFS's on CIFAR-FS


def images_anew(repeats: int) -> list[dict]:
    """The interval over disjoint tasks beside the spread of the mean over new images, for five partitions and one."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    about = ([str(number) for number in range(CLASSES)], [str(number) for number in range(len(labels))])
    split = Split("simulated", "test", np.empty((0, 1, 1, 3), np.uint8), labels, *about, {"fingerprint": ""})
    sampler = DisjointSampler(split, Shape(WAY, 1, QUERY), 0, PARTITIONS)
    tasks = sampler.draw(torch.arange(len(sampler)))
    centres = draw.normal(size=(CLASSES, 8)) * 0.6 * draw.uniform(0.5, 1.5, (CLASSES, 1))
    rows: dict[int, list[tuple[float, float]]] = {PARTITIONS: [], 1: []}
    for _ in range(repeats):
        features = torch.from_numpy(centres[labels] + draw.normal(size=(len(labels), 8)))
        distance = torch.cdist(features[tasks.query], features[tasks.support])
        accuracy = 100 * (distance.argmin(2) == tasks.query_y).double().mean(1).numpy()
        for partitions, measured in rows.items():
            interval = of_disjoint(accuracy[: partitions * sampler.tasks], sampler.tasks)
            measured.append((interval["mean"], interval["ci95"]))
    return [
        spread(f"mean of {partitions} x {sampler.tasks} disjoint tasks", measured)
        for partitions, measured in rows.items()
    ]


def spread(what: str, measured: list[tuple[float, float]]) -> dict:
    """Standard deviation of the means, that which the intervals claim, and how many hold the mean of all."""
    means, widths = np.array(measured).T
    covered = np.abs(means - means.mean()) <= widths
    return {
        "what": what,
        "deviation": round(float(means.std(ddof=1)), 2),
        "claimed": round(float(widths.mean() / 1.976), 2),  # t(0.975) of 147 degrees of freedom
        "coverage": round(float(covered.mean()), 3),
        "repeats": len(means),
    }


def episodes_of(draw: np.random.Generator, count: int, classes: int, way: int, effect: float, noise: float):
    """Accuracies [n] around 60 % of simulated episodes, and their classes [n, N]; classes shift them by `effect`."""
    shifts, chosen = draw.normal(0, effect, classes), draw.random((count, classes)).argsort(1)[:, :way]
    return 60 + shifts[chosen].sum(1) + draw.normal(0, noise, count), chosen


def classes_anew(classes: int, way: int, count: int, repeats: int) -> dict:
    """How often the interval over classes holds the mean of all classes that there could be."""
    draw, covered = np.random.default_rng(1), 0
    for _ in range(repeats):
        accuracy, chosen = episodes_of(draw, count, classes, way, CLASS_EFFECT, NOISE)
        interval = of_classes(accuracy, chosen, classes, 0)
        assert interval is not None, "there are enough classes"
        covered += interval["low"] <= 60 <= interval["high"]
    what = f"{classes} classes, {way}-way, {count} episodes"
    return {"what": what, "coverage": round(covered / repeats, 3), "repeats": repeats}


def widened(classes: int, count: int, repeats: int) -> dict:
    """How much longer the interval over classes is than one from effects that are known without error."""
    draw, ratios = np.random.default_rng(2), []
    for _ in range(repeats):
        state = draw.bit_generator.state
        lengths = []
        for noise in (NOISE, 0.0):
            draw.bit_generator.state = state  # the same classes
            accuracy, chosen = episodes_of(draw, count if noise else 20 * count, classes, WAY, CLASS_EFFECT, noise)
            interval = of_classes(accuracy, chosen, classes, 0)
            assert interval is not None, "there are enough classes"
            lengths.append(interval["high"] - interval["low"])
        ratios.append(lengths[0] / lengths[1])
    what = f"length over classes by that without noise, {classes} classes, {count} episodes"
    return {"what": what, "ratio": round(float(np.mean(ratios)), 2), "repeats": repeats}


def without_effects(repeats: int) -> dict:
    """The interval over 20 classes that do not differ, as a multiple of that over episodes."""
    draw, ratios = np.random.default_rng(3), []
    for _ in range(repeats):
        accuracy, chosen = episodes_of(draw, 2000, CLASSES, WAY, 0.0, 11.0)
        interval = of_classes(accuracy, chosen, CLASSES, 0)
        assert interval is not None, "there are enough classes"
        ratios.append((interval["high"] - interval["low"]) / (2 * t_interval(accuracy).ci95))
    return {"what": "classes that do not differ, by episodes", "ratio": round(float(np.mean(ratios)), 2)}


def near_100_percent(repeats: int) -> dict:
    """How often the interval over 100 episodes of 5 queries holds an accuracy of 99 %, which varies over episodes."""
    draw, covered = np.random.default_rng(4), 0
    for _ in range(repeats):
        interval = t_interval(100 * draw.binomial(5, draw.beta(0.99 * 20, 0.01 * 20, 100)) / 5)
        covered += abs(interval.mean - 99) <= interval.ci95
    return {"what": "100 episodes of 5 queries at 99 %", "coverage": round(covered / repeats, 3), "repeats": repeats}


def calibration_error(queries: int, repeats: int) -> dict:
    """`ece` of 5-way answers whose labels are drawn from their own probabilities."""
    draw, errors = np.random.default_rng(5), []
    for _ in range(repeats):
        logits = draw.normal(0, 1.5, (1, queries, 5)).astype(np.float32)
        shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        labels = (shares.cumsum(-1) > draw.random((1, queries, 1))).argmax(-1)
        tally = Tally(1, 5, 5)
        tally.add(logits, labels, np.arange(5)[None], np.zeros((1, queries), int))
        errors.append(tally.evaluation(queries, {}).ece)
    return {"what": f"ece of calibrated answers, {queries} queries", "ece": round(float(np.mean(errors)), 1)}


def main() -> None:
    """Print every row."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--repeats", type=int, default=200)
    repeats = cli.parse_args().repeats
    rows = images_anew(repeats)
    for classes, way, count in ((20, 5, 5000), (16, 5, 2000), (10, 5, 2000), (4, 2, 600)):
        rows.append(classes_anew(classes, way, count, 4 * repeats))
    rows += [widened(20, 5000, repeats // 4), widened(100, 1000, repeats // 4), without_effects(repeats)]
    rows.append(near_100_percent(20 * repeats))
    rows += [calibration_error(queries, repeats) for queries in (75, 750, 7500)]
    for row in rows:
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
