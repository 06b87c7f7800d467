"""Generalized episodes: novel classes are told from all base classes, not only from each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..build.data import Data
from ..build.evaluation import Network
from ..data.base_queries import BaseQueries
from ..data.store import Split
from ..engine.evaluator import Evaluator, Sampler
from ..engine.features import FeatureSource
from ..engine.finite import refuse_logits
from ..errors import UserError
from ..files import FileContent
from ..methods.base import Method
from ..report.result import answered_by, data_notes, episodes_name, folder_name
from ..report.stats import interval
from .base import METHODS, PROTOCOLS, SHOTS, WAYS, Answer, Protocol, refuse_base_classes
from .questions import Question, TestedNetwork, questions

SHOWN = ("novel", "base", "both", "novel_joint", "base_joint", "delta")


@PROTOCOLS.register("generalized")
class Generalized(Protocol):
    """Queries of an episode, and as many of base classes, are told from all classes: the episode's and the base ones.

    The base images are those that DATASET.BASE_HOLDOUT kept out of training.
    """

    options = {"shots": SHOTS, "ways": WAYS, "methods": METHODS}

    def __init__(
        self,
        data: Data,
        network: Network,
        *,
        shots: Sequence[int] = (),
        ways: Sequence[int] = (),
        methods: Sequence[str] = (),
    ) -> None:
        super().__init__(data, network)
        self._questions = questions(data.cfg, shots, ways, methods)
        self._tested = TestedNetwork(data, network)
        self._base_split, self._base_pixels = data.held_out()

    def refuse(self) -> None:
        trained, wanted = self.network.meta.get("base_holdout", 0), self.cfg.DATASET.BASE_HOLDOUT
        if self.network.path is not None and trained != wanted:
            raise UserError(
                f"{self.network.path} was trained with DATASET.BASE_HOLDOUT {trained}, but the config says {wanted}, "
                "so it may have seen base-class images it would be tested on; train it with that hold-out."
            )
        self._tested.refuse(self._questions)
        for question in self._questions:
            refuse_base_classes(self._tested.head(question.method), self.network)

    def answers(self) -> Iterator[Answer]:
        evaluator, source = self._tested.evaluator, self._tested.source
        base_source = evaluator.source(source.method, pixels=self._base_pixels)
        for question in self._questions:
            head, sampler = self._tested.head(question.method), self._tested.sampler(question.shape)
            base = (self._base_split, base_source)
            counts = classify_generalized(evaluator, head, source, base, sampler, self.cfg.EVAL.EPISODES)
            yield self._answer(question, counts)

    def _answer(self, question: Question, counts: JointCounts) -> Answer:
        result = self._tested.describe(question)
        result |= {
            "base_fingerprint": self._base_split.fingerprint,
            "base_queries": question.shape.n_query,
            "n_base": len(self._base_split.classes),
            "base_holdout": self.cfg.DATASET.BASE_HOLDOUT,
            "figures": counts.figures(self.cfg.EVAL.CI),
            **self.origin(result["features_of"]),
        }
        files: dict[str, FileContent] = {"episodes.csv": counts.csv(), "generalized.json": result}
        return Answer(_line(result), folder_name("generalized", result, episodes_name(result)), files)


@dataclass(frozen=True)
class JointCounts:
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
        figures = {name: _measured(hits.mean(1), formula) for name, hits in columns.items()}
        figures["delta"] = _measured(delta, formula)
        return figures | {"hmean": _harmonic(novel_joint.mean(), base_joint.mean()), "ausuc": self.ausuc()}

    def ausuc(self) -> float:
        """P(a novel query is right in its own space, a base query too, and the former leads by more)."""
        leads = np.sort(self.novel_lead[self.novel_hit])
        least = self.base_lead[self.base_hit]
        above = len(leads) - (np.searchsorted(leads, least, "right") + np.searchsorted(leads, least, "left")) / 2
        return float(above.sum() / (self.novel_hit.size * self.base_hit.size))

    def csv(self) -> str:
        """One line an episode: right answers of each kind, for paired comparisons."""
        columns = [
            self.novel_hit.sum(1),
            self.base_hit.sum(1),
            (self.novel_hit & (self.novel_lead > 0)).sum(1),
            (self.base_hit & (self.base_lead <= 0)).sum(1),
        ]
        rows = [",".join(map(str, [i, *row])) + "\n" for i, row in enumerate(np.stack(columns, 1).tolist())]
        return "index,novel,base,novel_joint,base_joint\n" + "".join(rows)


@torch.no_grad()
def classify_generalized(
    evaluator: Evaluator,
    method: Method,
    source: FeatureSource,
    base: tuple[Split, FeatureSource],
    sampler: Sampler,
    episodes: int,
) -> JointCounts:
    """Classify the queries of episodes 0 .. `episodes` - 1, and as many images of base classes.

    Every query gets the scores of the episode's N classes (`forward`) and of the n_base ones (`base_logits`).

    Args:
        evaluator: of the novel classes.
        method: in eval mode.
        source: features of the novel images.
        base: base-class images that training has not seen, and their features.
        sampler: of the episodes.
        episodes: how many.
    """
    split, base_source = base
    queries = BaseQueries(split, sampler.shape.n_query)
    needs = {*method.needs, *(["base"] if method.base_from_means else [])}
    rows: list[list[np.ndarray]] = []
    done = 0
    for drawn, task in evaluator.tasks(source, episodes, sampler, tuple(needs)):
        ids, labels = queries.draw(drawn.seed)
        base_source.prepare(ids.unique())
        labels = labels.to(task.query_y.device)
        task = replace(task, base_query=base_source.gather(ids), base_query_y=labels).all_queries()
        scores = method.answer(task).float(), method.base_logits(task).float()
        for logits in scores:
            refuse_logits(logits, done)
        done += task.tasks
        rows.append([value.cpu().numpy() for value in _judge(*scores, task.query_y, labels)])
    return JointCounts(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _judge(novel: Tensor, base: Tensor, novel_y: Tensor, base_y: Tensor) -> list[Tensor]:
    """The fields of `JointCounts`, from scores [T, Q + Q_b, N] of novel and [T, Q + Q_b, n_base] of base classes."""
    n_query = novel_y.shape[1] - base_y.shape[1]
    (best_novel, novel_label), (best_base, base_label) = novel.max(-1), base.max(-1)
    lead = (best_novel - best_base).split([n_query, base_y.shape[1]], dim=1)
    return [novel_label[:, :n_query] == novel_y[:, :n_query], lead[0], base_label[:, n_query:] == base_y, lead[1]]


def _line(result: dict[str, Any]) -> str:
    """One line: both kinds of query alone, together, and what was derived."""
    r, f = result, result["figures"]
    parts = "  ".join(f"{name.replace('_', ' ')} {f[name]['mean']:.2f} ± {f[name]['ci95']:.2f}" for name in SHOWN)
    return (
        f"{answered_by(r)}  {r['dataset']} {r['split']}  {r['way']}-way {r['shot']}-shot + {r['n_base']} base classes  "
        f"{parts}  hmean {f['hmean']:.2f}  AUSUC {f['ausuc']:.3f}  ({r['episodes']} episodes, seed {r['seed']}, "
        f"{r['base_holdout']} images of each base class held out)" + data_notes(r)
    )


def _measured(share: np.ndarray, formula: str) -> dict[str, float]:
    """Mean of a share of queries over episodes, in percent, with its 95 % interval."""
    percent = interval(100 * share, formula)
    return {"mean": percent.mean, "ci95": percent.ci95}


def _harmonic(one: float, two: float) -> float:
    """Harmonic mean of two shares, in percent."""
    return float(200 * one * two / (one + two)) if one + two else 0.0
