"""Figures of generalized episodes, from the leads and hits of their queries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .result import answered_by
from .run import write_json, write_text
from .stats import interval


@dataclass(frozen=True)
class Joint:
    """Every query's two answers: which novel and which base class is likeliest, and by how much the novel one leads.

    A query counts as novel where its lead is above 0; a tie goes to the base classes, whose labels come first.
    """

    novel_hit: np.ndarray  # [episodes, Q] bool: right among the novel classes
    novel_lead: np.ndarray  # [episodes, Q] best novel score - best base score
    base_hit: np.ndarray  # [episodes, Q_b] bool: right among the base classes
    base_lead: np.ndarray  # [episodes, Q_b]

    def figures(self, formula: str) -> dict[str, Any]:
        """Accuracies in percent with their 95 % intervals over episodes, and what is derived from them.

        novel, base              each kind of query among its own kind of classes
        novel_joint, base_joint  each kind among all classes
        both                     all queries among all classes (Gidaris and Komodakis, CVPR 2018)
        hmean                    harmonic mean of novel_joint and base_joint
        delta                    what the joint space costs, mean over both kinds: negative (Ren et al., NeurIPS 2019)
        ausuc                    area under base_joint over novel_joint as a constant is added to the base scores
                                 (Ye et al., IJCV 2021), in 0..1
        """
        novel, base = self.novel_hit, self.base_hit
        novel_joint, base_joint = novel & (self.novel_lead > 0), base & (self.base_lead <= 0)
        both = np.concatenate([novel_joint, base_joint], axis=1)
        delta = (novel_joint.mean(1) - novel.mean(1) + base_joint.mean(1) - base.mean(1)) / 2
        columns = {"novel": novel, "base": base, "novel_joint": novel_joint, "base_joint": base_joint, "both": both}
        found = {name: _measured(hits.mean(1), formula) for name, hits in columns.items()}
        found["delta"] = _measured(delta, formula)
        return found | {"hmean": _harmonic(novel_joint.mean(), base_joint.mean()), "ausuc": self.ausuc()}

    def ausuc(self) -> float:
        """P(a novel query is right in its own space, a base query too, and the former leads by more)."""
        leads = np.sort(self.novel_lead[self.novel_hit])
        least = self.base_lead[self.base_hit]
        above = len(leads) - (np.searchsorted(leads, least, "right") + np.searchsorted(leads, least, "left")) / 2
        return float(above.sum() / (self.novel_hit.size * self.base_hit.size))

    def table(self) -> str:
        """One line an episode: right answers of each kind, for paired comparisons."""
        columns = [
            self.novel_hit.sum(1),
            self.base_hit.sum(1),
            (self.novel_hit & (self.novel_lead > 0)).sum(1),
            (self.base_hit & (self.base_lead <= 0)).sum(1),
        ]
        rows = [",".join(map(str, [i, *row])) + "\n" for i, row in enumerate(np.stack(columns, 1).tolist())]
        return "index,novel,base,novel_joint,base_joint\n" + "".join(rows)


def write_generalized(folder: Path, result: dict[str, Any], joint: Joint) -> None:
    """Write episodes.csv and, last, generalized.json."""
    write_text(folder / "episodes.csv", joint.table())
    write_json(folder / "generalized.json", result)


def generalized_line(result: dict[str, Any]) -> str:
    """One line: both kinds of query alone, together, and what was derived."""
    r, f = result, result["figures"]
    parts = "  ".join(f"{name.replace('_', ' ')} {f[name]['mean']:.2f} ± {f[name]['ci95']:.2f}" for name in SHOWN)
    return (
        f"{answered_by(r)}  {r['dataset']} {r['split']}  {r['way']}-way {r['shot']}-shot + {r['n_base']} base classes  "
        f"{parts}  hmean {f['hmean']:.2f}  AUSUC {f['ausuc']:.3f}  ({r['episodes']} episodes, seed {r['seed']}, "
        f"{r['base_holdout']} images of each base class held out)"
    )


SHOWN = ("novel", "base", "both", "novel_joint", "base_joint", "delta")


def _measured(share: np.ndarray, formula: str) -> dict[str, float]:
    found = interval(100 * share, formula)
    return {"mean": found.mean, "ci95": found.ci95}


def _harmonic(one: float, other: float) -> float:
    """Of two shares, in percent."""
    return float(200 * one * other / (one + other)) if one + other else 0.0
