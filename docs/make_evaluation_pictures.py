"""Draw the pictures of docs/evaluation.md from two collected runs: how episodes differ, and what intervals say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.report import evaluations  # noqa: E402
from core.report.evaluations import Evaluation  # noqa: E402
from core.report.paired import paired  # noqa: E402
from core.report.plots import write_svg  # noqa: E402

IMAGES = ROOT / "docs/images"
RUNS = ROOT / "results/cifar_conv4"
QUESTION = "eval/ebest_5way_1shot/test_5w1s_q15_seed0_5000"
A, B = (RUNS / f"CIFAR-FS_{name}_N5K1_C4_short" / QUESTION for name in ("RFS", "ProtoNet"))
INTERVALS = {"episodes": "other episodes", "disjoint": "other images", "classes": "other classes"}


def draw_intervals(run: Evaluation, file: Path) -> None:
    """The accuracies of all episodes of a run, and the three intervals of their mean."""
    figure = Figure(figsize=(10, 3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    left.hist(run.accuracy, bins=np.arange(10, 100, 8 / 3), color="C0", alpha=0.7)
    left.axvline(run.result["mean"], color="black")
    left.set(title=f"{len(run.accuracy)} episodes", xlabel="accuracy of an episode, %", ylabel="episodes")
    for height, (key, label) in enumerate(INTERVALS.items()):
        interval = run.result["intervals"][key]
        mean = interval["mean"]
        low, high = interval.get("low", mean - interval["ci95"]), interval.get("high", mean + interval["ci95"])
        right.plot([low, high], [-height, -height], color="C0", linewidth=3)
        right.plot(mean, -height, "o", color="C0")
        right.annotate(f"{low:.1f} to {high:.1f}", (mean, -height), (0, 6), textcoords="offset points", ha="center")
        right.annotate(label, (low, -height), (-6, -3), textcoords="offset points", ha="right")
    right.set(title="three intervals of the mean", xlabel="accuracy, %", xlim=(34, 68), ylim=(-2.5, 0.6), yticks=[])
    write_svg(file, figure, note(run))


def draw_pairing(run: Evaluation, reference: Evaluation, file: Path) -> None:
    """The accuracies of two runs on the same episodes, and the differences in each."""
    pair = paired(run.accuracy, reference.accuracy)
    figure = Figure(figsize=(10, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for one, colour in ((reference, "C1"), (run, "C0")):
        name = one.result["method"]
        left.hist(one.accuracy, bins=np.arange(10, 100, 8 / 3), color=colour, alpha=0.5, label=name)
    left.set(title="each by itself", xlabel="accuracy of an episode, %", ylabel="episodes")
    left.legend(frameon=False)
    right.hist(run.accuracy - reference.accuracy, bins=np.arange(-30, 45, 8 / 3), color="C2", alpha=0.7)
    right.axvline(0, color="black", linewidth=0.8)
    right.axvline(pair.difference, color="C2")
    right.set(
        title=f"the same episodes: {pair.difference:+.2f} ± {pair.ci95:.2f}",
        xlabel=f"{run.result['method']} minus {reference.result['method']}, points",
    )
    write_svg(file, figure, note(run))


def note(run: Evaluation) -> str:
    """Which result a picture shows."""
    return f"checkpoint sha256 {run.result['checkpoint_sha256']}"


def main() -> None:
    """Draw both."""
    run, reference = evaluations.read(A), evaluations.read(B)
    draw_intervals(run, IMAGES / "evaluation_intervals.svg")
    draw_pairing(run, reference, IMAGES / "evaluation_pairing.svg")


if __name__ == "__main__":
    main()
