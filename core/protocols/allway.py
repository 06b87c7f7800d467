"""All classes of the test split at once, from k shots of each: how encoders are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import progress
from ..build.data import Data
from ..build.evaluation import Network
from ..data.allway import AllWaySampler
from ..engine.finite import refuse_logits
from ..episode import Features, Task
from ..errors import UserError
from ..files import FileContent
from ..methods.base import Method
from ..report.result import answered_by, data_notes, folder_name
from ..report.stats import interval
from .base import METHODS, PROTOCOLS, Answer, Option, Protocol
from .questions import TestedNetwork, questions

DEFAULT_SHOTS = (1, 2, 4, 8, 16)


@PROTOCOLS.register("allway")
class AllWay(Protocol):
    """k-shot classification of all classes of the test split.

    A trial draws k supports of each class and asks about its other images, up to EVAL.ALLWAY_QUERIES a class;
    EVAL.TRIALS trials give the interval, which is over draws of the supports and queries. Where classes have unequal
    numbers of queries, the macro accuracy weighs the classes equally.

    Args:
        data, network: see `Protocol`.
        shots: k, by default 1, 2, 4, 8 and 16.
        methods: whose heads classify the features; by default the network's own.
    """

    options = {"shots": Option("supports of each class (default: 1 2 4 8 16)", "K", int, many=True), "methods": METHODS}

    def __init__(self, data: Data, network: Network, *, shots: Sequence[int] = (), methods: Sequence[str] = ()) -> None:
        super().__init__(data, network)
        self._tested = TestedNetwork(data, network)
        way = len(self._tested.split.classes)
        self._questions = questions(data.cfg, shots or DEFAULT_SHOTS, [way], methods)

    def refuse(self) -> None:
        split, most = self._tested.split, max(question.shape.shot for question in self._questions)
        smallest = int(split.counts.argmin())
        if most >= split.counts[smallest]:
            raise UserError(
                f"--protocol allway: a trial takes {most} images of each class and asks about others, but class "
                f"{split.classes[smallest]!r} has {split.counts[smallest]}; give smaller --shots."
            )
        self._tested.refuse(
            [replace(q, shape=replace(q.shape, query=1, queries=0, alpha=0.0)) for q in self._questions]
        )

    def answers(self) -> Iterator[Answer]:
        for question in self._questions:
            head, cfg = self._tested.head(question.method), self.cfg.EVAL
            sampler = AllWaySampler(self._tested.split, question.shape.shot, cfg.ALLWAY_QUERIES, cfg.SEED)
            rows = self._run_trials(head, sampler)
            described = self._tested.describe(question)
            kept = ("method", "features_of", "dataset", "split", "fingerprint", "way", "shot", "seed", "transductive")
            result = {name: described[name] for name in (*kept, "precision", "deviation")}
            result |= {
                "queries_a_class": cfg.ALLWAY_QUERIES,
                "trials": cfg.TRIALS,
                "figures": {name: _mean(rows[:, i], cfg.CI) for i, name in enumerate(("accuracy", "macro"))},
                **self.origin(result["features_of"]),
            }
            shape = f"test_{question.shape.shot}s_q{cfg.ALLWAY_QUERIES}_seed{cfg.SEED}_{cfg.TRIALS}"
            lines = [f"{trial},{accuracy:.4f},{macro:.4f}\n" for trial, (accuracy, macro) in enumerate(rows.tolist())]
            files: dict[str, FileContent] = {
                "trials.csv": "trial,accuracy,macro\n" + "".join(lines),
                "allway.json": result,
            }
            yield Answer(_line(result), folder_name("allway", result, shape), files)

    @torch.no_grad()
    def _run_trials(self, head: Method, sampler: AllWaySampler) -> np.ndarray:
        """Accuracy and macro accuracy of each trial in percent, [trials, 2]."""
        rows = []
        with progress.bar(self.cfg.EVAL.TRIALS, "trials") as bar:
            for number in range(self.cfg.EVAL.TRIALS):
                rows.append(self._run_trial(head, sampler, number))
                bar.update()
        return np.array(rows)

    def _run_trial(self, head: Method, sampler: AllWaySampler, number: int) -> tuple[float, float]:
        """Accuracy over all queries of a trial, and the mean of the classes' accuracies, in percent."""
        task = self._tested.evaluator.task(self._tested.source, sampler.draw(number), sampler, head)
        hit = self._predicted(head, task, number) == task.query_y[0]
        y = task.query_y[0]
        per_class = torch.zeros(task.way, dtype=torch.float64, device=y.device).index_add_(0, y, hit.double())
        return 100 * float(hit.double().mean()), 100 * float((per_class / y.bincount(minlength=task.way)).mean())

    def _predicted(self, head: Method, task: Task, number: int) -> Tensor:
        """The likeliest class of each query of a trial, [Q]; queries are classified in parts that fit EVAL.MEMORY_MB.

        A transductive head sees all queries together, since its answers depend on them.
        """
        size = sum(value[0, 0].nbytes for value in task.query.values())
        at_once = max(1, self.cfg.EVAL.MEMORY_MB * 2**20 // (4 * size * (1 + task.way)))
        count = task.query_y.shape[1]
        parts = [slice(0, count)] if head.transductive else [slice(i, i + at_once) for i in range(0, count, at_once)]
        labels = []
        for part in parts:
            logits = head.answer(_with_queries(task, part))
            refuse_logits(logits, number)
            labels.append(logits[0].argmax(-1))
        return torch.cat(labels)


def _with_queries(task: Task, part: slice) -> Task:
    """The task with some of its queries."""
    query: Features = {name: value[:, part] for name, value in task.query.items()}
    return replace(task, query=query, query_y=task.query_y[:, part])


def _mean(values: np.ndarray, formula: str) -> dict[str, float]:
    """Mean over trials with its 95 % interval."""
    mean = interval(values, formula)
    return {"mean": mean.mean, "ci95": mean.ci95}


def _line(result: dict[str, Any]) -> str:
    """One line: accuracy with its interval over draws, and macro accuracy."""
    r, accuracy, macro = result, result["figures"]["accuracy"], result["figures"]["macro"]
    kind = "transductive" if r["transductive"] else "inductive"
    line = (
        f"{answered_by(r)}  {r['dataset']} {r['split']}  all {r['way']} classes, {r['shot']}-shot  "
        f"{accuracy['mean']:.2f} ± {accuracy['ci95']:.2f} %  macro {macro['mean']:.2f} ± {macro['ci95']:.2f} %  "
        f"({r['trials']} draws, up to {r['queries_a_class']} queries a class, seed {r['seed']}, {kind})"
    )
    return line + data_notes(r)
