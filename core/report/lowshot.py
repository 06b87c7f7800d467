"""Figures of ImageNet low-shot: trials that draw other shots and ask the same images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .result import answered_by
from .run import write_json, write_text
from .stats import interval

FIGURES = ("novel", "base", "novel_all", "base_all", "all", "prior")
TOPS = (1, 5)
COLUMNS = [f"{figure}_top{top}" for figure in FIGURES for top in TOPS]


@dataclass(frozen=True)
class Trials:
    """Shares of images whose class is the likeliest, or among the five likeliest.

    novel, base          each kind of image among its own kind of classes
    novel_all, base_all  each kind among all classes
    all                  all images among all classes
    prior                the same, with softmax over the novel classes times mu, over the base classes times 1 - mu
    """

    shares: np.ndarray  # [trials, 6, 2] percent: FIGURES by TOPS

    def figures(self, formula: str) -> dict[str, Any]:
        """Means with their 95 % intervals over trials."""
        columns = self.shares.reshape(len(self.shares), -1).T
        found = [interval(column, formula) for column in columns]
        pairs = {name: {"mean": i.mean, "ci95": i.ci95} for name, i in zip(COLUMNS, found, strict=True)}
        return {figure: {f"top{top}": pairs[f"{figure}_top{top}"] for top in TOPS} for figure in FIGURES}

    def table(self) -> str:
        """One line a trial."""
        rows = self.shares.reshape(len(self.shares), -1).tolist()
        lines = [",".join([str(i), *(f"{value:.4f}" for value in row)]) + "\n" for i, row in enumerate(rows)]
        return ",".join(["trial", *COLUMNS]) + "\n" + "".join(lines)


def write_lowshot(folder: Path, result: dict[str, Any], trials: Trials) -> None:
    """Write trials.csv and, last, lowshot.json."""
    write_text(folder / "trials.csv", trials.table())
    write_json(folder / "lowshot.json", result)


def lowshot_line(result: dict[str, Any]) -> str:
    """One line: top-5 of every figure, and top-1 of the joint one."""
    r, f = result, result["figures"]
    parts = "  ".join(f"{name.replace('_', ' ')} {_said(f[name]['top5'])}" for name in FIGURES)
    return (
        f"{answered_by(r)}  {r['dataset']} group {r['group']}  n = {r['shot']}  top-5  {parts}  top-1 all "
        f"{_said(f['all']['top1'])}  ({r['trials']} trials, seed {r['seed']}, {r['way']} novel and {r['n_base']} base "
        f"classes, {sum(r['queries'].values())} images, prior {r['prior']})"
    )


def _said(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.2f} ± {figure['ci95']:.2f}"
