"""One checkpoint, many questions: what its features are worth in other tasks, and to other methods' heads."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .build.builder import Builder
from .config import Config
from .data.disjoint import DisjointSampler, count_tasks
from .data.episodes import EpisodeSampler, Shape
from .data.loaders import Pixels
from .data.store import Split
from .engine import device
from .engine.cache import Shelf
from .engine.evaluator import Evaluator
from .engine.features import CachedFeatures, Source
from .engine.generalized import classify_generalized
from .engine.heads import refuse_unfit
from .engine.tally import Evaluation
from .errors import UserError
from .make import task_shape
from .methods.base import Method
from .registry import METHODS
from .report import intervals
from .report.generalized import Joint
from .report.run import replace_file
from .report.stats import interval

OWN = "own"
FEATURES_VERSION = 1  # raise it when an encoding changes for a reason that no source file of the method shows


@dataclass(frozen=True)
class Question:
    """A shape of episodes, and the method that classifies them."""

    shape: Shape
    method: str  # a registered name


@dataclass(frozen=True)
class Answer:
    """What an evaluation found."""

    result: dict[str, Any]  # for result.json
    found: Evaluation
    disjoint: Evaluation | None  # on disjoint tasks, partition by partition


def questions(cfg: Config, shots: Sequence[int], ways: Sequence[int], methods: Sequence[str]) -> list[Question]:
    """Every combination of what the command line lists; what it does not list is the config's."""
    test, own = cfg.TASK.TEST, METHODS[cfg.METHOD.NAME].name
    for option, least, values in (("--shots", 1, shots), ("--ways", 2, ways)):
        if any(value < least for value in values):
            raise UserError(f"{option} lists {min(values)}; every number must be at least {least}.")
    names = [own if name.lower() == OWN else METHODS[name].name for name in methods] or [own]
    shapes = [_reshaped(task_shape(cfg, "test"), way, shot) for way in ways or [test.WAY] for shot in shots or [0]]
    return [Question(shape, name) for shape in dict.fromkeys(shapes) for name in dict.fromkeys(names)]


def _reshaped(shape: Shape, way: int, shot: int) -> Shape:
    """The config's shape at another way and, unless it is 0, another shot of every class."""
    if shot:
        return replace(shape, way=way, shot=shot, shots=())
    if shape.shots and way != shape.way:
        raise UserError(
            f"--ways lists {way}, but TASK.TEST.SHOTS gives {len(shape.shots)} classes their shots; add --shots."
        )
    return replace(shape, way=way)


class Examination:
    """One trained method on the test split; every image is encoded once for all questions.

    `held` identifies the weights in the cache of features; without it nothing is cached.
    """

    def __init__(self, builder: Builder, method: Method, held: dict[str, Any] | None = None) -> None:
        self._builder, self._cfg = builder, builder.cfg
        self._split = builder.split("test")
        self._evaluator: Evaluator = builder.evaluator("test")
        shelf = self._shelf(method, held) if held and self._cfg.EVAL.CACHE else None
        self._source = self._evaluator.source(method, show=True, shelf=shelf)
        self._heads = {METHODS[self._cfg.METHOD.NAME].name: self._source.method}

    def refuse_impossible(self, asked: Sequence[Question]) -> None:
        """Say what cannot be answered before the first answer is given."""
        for question in asked:
            sampler = self._sampler(question.shape)
            if question.method not in self._heads:
                head = self._builder.head(question.method).eval()
                refuse_unfit(head, self._source, lambda h=head, s=sampler: self._evaluator.example(h, self._source, s))
                self._heads[question.method] = head

    def answer(self, question: Question) -> Answer:
        """Evaluate one method on episodes of one shape."""
        cfg, shape = self._cfg, question.shape
        head = self._heads[question.method]
        found = self._evaluator.classify(head, self._source, self._sampler(shape), cfg.EVAL.EPISODES, show=True)
        disjoint = self._disjoint(head, shape)
        mean = interval(found.accuracy, cfg.EVAL.CI)
        about = self._about(question)
        published = cfg.REFERENCE.ACCURACY and shape == task_shape(cfg, "test") and not about["features_of"]
        result = about | {
            "queries": shape.n_query,
            "mean": mean.mean,
            "std": mean.std,
            "ci95": mean.ci95,
            "ci": cfg.EVAL.CI,
            "interval": intervals.LABELS[cfg.EVAL.CI],
            "intervals": self._intervals(found, disjoint, self._tasks(shape)),
            "top2": float(found.top2.mean() * 100 / found.queries),
            "ece": found.ece,
            "image_size": self._builder.image_size,
            "views": list(self._cfg.DATASET.VIEWS),
            "device": device.describe(self._builder.device),
            "threads": torch.get_num_threads(),
            "seconds": {name: round(value, 4) for name, value in found.seconds.items()},
            "reference": {key.lower(): value for key, value in cfg.REFERENCE.items()} if published else None,
        }
        return Answer(result, found, disjoint)

    def _about(self, question: Question) -> dict[str, Any]:
        """What every result says of its question."""
        cfg, shape, own = self._cfg, question.shape, METHODS[self._cfg.METHOD.NAME].name
        return {
            "method": question.method,
            "features_of": None if question.method == own else own,
            "dataset": self._split.dataset,
            "split": "test",
            "fingerprint": self._split.fingerprint,
            "way": shape.way,
            "shot": shape.shot_name,
            "query": shape.query_name,
            "episodes": cfg.EVAL.EPISODES,
            "seed": cfg.EVAL.SEED,
            "transductive": self._heads[question.method].transductive,
            "precision": self._source.precision,
            "deviation": self._builder.deviation(),
        }

    def generalized(
        self, asked: Sequence[Question], held: tuple[Split, Pixels]
    ) -> Iterator[tuple[dict[str, Any], Joint]]:
        """Each question among all base classes, of which `held` has new images: result and counts."""
        split, pixels = held
        source = self._evaluator.source(self._source.method, show=True, pixels=pixels)
        for question in asked:
            yield self._among_base_classes(question, split, source)

    def _among_base_classes(self, question: Question, held: Split, source: Source) -> tuple[dict[str, Any], Joint]:
        """Episodes of one shape, and as many held-out images of base classes."""
        cfg, shape, head = self._cfg, question.shape, self._heads[question.method]
        sampler, episodes = self._sampler(shape), cfg.EVAL.EPISODES
        joint = classify_generalized(self._evaluator, head, self._source, (held, source), sampler, episodes, show=True)
        result = self._about(question) | {
            "base_fingerprint": held.fingerprint,
            "base_queries": shape.n_query,
            "n_base": len(held.classes),
            "base_holdout": cfg.DATASET.BASE_HOLDOUT,
            "figures": joint.figures(cfg.EVAL.CI),
        }
        return result, joint

    def refuse_without_features(self) -> None:
        """Say that there will be no features to hand on."""
        if not isinstance(self._source, CachedFeatures):
            raise UserError(
                f"--save-features asks for features, but {self._source.method.name} encodes nothing ahead: its "
                "network adapts to each task; leave the option out."
            )

    def save_features(self, file: Path) -> None:
        """Hand on the features that were computed, as an npz without pickled objects."""
        split = self._split
        ids, features = self._source.held()
        arrays = {name: value.cpu().numpy() for name, value in features.items()}
        arrays |= {"image": ids.numpy(), "label": split.labels[ids.numpy()], "class": np.array(split.classes)}
        arrays |= {"name": np.array([split.names[i] for i in ids.tolist()])}
        replace_file(file, lambda opened: np.savez(opened, **arrays))

    def _sampler(self, shape: Shape) -> EpisodeSampler:
        return EpisodeSampler(self._split, shape, self._cfg.EVAL.SEED, "TASK.TEST")

    def _intervals(self, found: Evaluation, disjoint: Evaluation | None, tasks: int) -> dict[str, Any]:
        """Every interval that these episodes allow, by what it is over."""
        cfg, split = self._cfg.EVAL, self._split
        return {
            "episodes": intervals.of_episodes(found.accuracy, cfg.CI),
            "disjoint": disjoint and intervals.of_disjoint(disjoint.accuracy, tasks),
            "classes": intervals.of_classes(found.accuracy, found.classes, len(split.classes), cfg.SEED),
        }

    def _disjoint(self, head: Method, shape: Shape) -> Evaluation | None:
        """Disjoint tasks; their number is kept below a quarter of the episodes, or at one partition.

        None where a partition has more tasks than there are episodes, or fewer than two.
        """
        cfg = self._cfg.EVAL
        tasks = self._tasks(shape)
        partitions = min(cfg.PARTITIONS, max(1, cfg.EPISODES // (4 * tasks))) if 2 <= tasks <= cfg.EPISODES else 0
        if not partitions:
            return None
        sampler = DisjointSampler(self._split, shape, cfg.SEED, partitions)
        return self._evaluator.classify(head, self._source, sampler, len(sampler), show=True)

    def _tasks(self, shape: Shape) -> int:
        """Disjoint tasks that fit into the split; none of uneven ones."""
        return 0 if not shape.even else count_tasks(self._split.counts // (shape.shot + shape.query), shape.way)

    def _shelf(self, method: Method, held: dict[str, Any]) -> Shelf:
        """Where these features belong on disk: the key holds everything they depend on."""
        eval_cfg, manifest = self._cfg.EVAL, self._split.manifest
        key = held | {name: manifest.get(name) for name in ("pixels_sha256", "fingerprint", "mean", "std")}
        key |= {"image_size": self._split.size, "precision": eval_cfg.PRECISION, "batch": eval_cfg.BATCH}
        key |= {"device": device.describe(self._builder.device), "torch": torch.__version__}
        key |= self._builder.views_key("parts" in method.needs)
        key |= {"version": FEATURES_VERSION, "code": _code_of(method)}
        return Shelf(Path(self._cfg.DATASET.ROOT) / "features", key, eval_cfg.CACHE_MB)


def _code_of(method: Method) -> str:
    """Hash of the source files that define a method and its network: who changes them gets new features."""
    classes = {c for module in method.modules() for c in type(module).__mro__}
    modules = {c.__module__ for c in classes if not c.__module__.startswith(("torch.", "builtins"))}
    files = {getattr(sys.modules.get(name), "__file__", None) or "" for name in modules}
    digest = hashlib.sha256()
    for file in sorted(filter(os.path.isfile, files), key=os.path.basename):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()
