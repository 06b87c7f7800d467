"""Ordinary episodes: accuracy over N-way K-shot tasks, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from .. import ranks
from ..build.data import Data, task_shape
from ..build.evaluation import Network
from ..data.disjoint import DisjointSampler, count_tasks
from ..data.episodes import Shape
from ..engine import device
from ..engine.evaluator import EpisodesFrom
from ..engine.features import CachedFeatures
from ..errors import UserError
from ..report import intervals
from ..report.result import Drawn, episodes_name, folder_name, result_files, result_line
from ..report.stats import interval
from ..report.tally import Evaluation
from .base import METHODS, PROTOCOLS, SAVE_FEATURES, SHOTS, WAYS, Answer, Option, Protocol
from .pages import episodes_page
from .questions import Question, TestedNetwork, questions
from .shards import parse_range, read_shards, shard_name, write_shard


@PROTOCOLS.register("episodes")
class Episodes(Protocol):
    """Every combination of shots, ways and heads on EVAL.EPISODES test episodes, and on disjoint tasks.

    Args:
        data, network: see `Protocol`.
        shots, ways, methods: replace the config's, if they list any.
        save_features: .npz file that receives the features of all encoded images; "" = none.
        episodes: A:B, evaluate episodes A to B - 1 alone and keep their counts beside the result; "" = all.
        merge: join the counts that are kept so, instead of evaluating episodes.
    """

    options = {
        "shots": SHOTS,
        "ways": WAYS,
        "methods": METHODS,
        "save_features": SAVE_FEATURES,
        "episodes": Option("a shard: episodes A to B - 1 of EVAL.EPISODES", "A:B"),
        "merge": Option("join the shards that --episodes evaluated into the result", flag=True),
    }

    def __init__(
        self,
        data: Data,
        network: Network,
        *,
        shots: Sequence[int] = (),
        ways: Sequence[int] = (),
        methods: Sequence[str] = (),
        save_features: str = "",
        episodes: str = "",
        merge: bool = False,
    ) -> None:
        super().__init__(data, network)
        self._questions = questions(data.cfg, shots, ways, methods)
        self._save_features, self._merge = save_features, merge
        self._shard = parse_range(episodes, data.cfg.EVAL.EPISODES) if episodes else None
        self._tested = TestedNetwork(data, network)

    def refuse(self) -> None:
        source = self._tested.source
        if self._save_features and Path(self._save_features).suffix != ".npz":
            raise UserError(
                f"--save-features is {self._save_features}, but without --splits it names a file; end it in .npz, or "
                "give the splits whose features go to a folder with --splits."
            )
        if self._save_features and not isinstance(source, CachedFeatures):
            raise UserError(
                f"--save-features asks for features, but {source.method.name} encodes nothing ahead: its "
                "network adapts to each task; leave the option out."
            )
        if self._save_features and not ranks.current().alone:
            raise UserError(
                "--save-features writes what one process encodes, but torchrun started several; start run_evaluator.py "
                "without it."
            )
        if self._shard and self._merge:
            raise UserError("--episodes evaluates a shard and --merge joins all of them; leave one of them out.")
        if (self._shard or self._merge) and self.network.path is None:
            raise UserError(
                "--episodes and --merge keep shards beside a checkpoint; give one with -c, or leave them out."
            )
        self._tested.refuse(self._questions)

    def answers(self) -> Iterator[Answer]:
        for question in self._questions:
            yield self._shard_answer(question, self._shard) if self._shard else self._answer(question)
        if self._save_features:
            file = Path(self._save_features)
            yield Answer(f"features  {file}", files={str(file.absolute()): self._write_features})

    def _answer(self, question: Question) -> Answer:
        """Evaluate one method on episodes of one shape."""
        tested, cfg, shape = self._tested, self.cfg.EVAL, question.shape
        result = tested.describe(question)
        evaluation = self._merged(result) if self._merge else self._classify(question, range(cfg.EPISODES))
        disjoint = self._disjoint(question)
        mean = interval(evaluation.accuracy, cfg.CI)
        result |= {
            "queries": shape.n_query,
            "mean": mean.mean,
            "std": mean.std,
            "ci95": mean.ci95,
            "ci": cfg.CI,
            "interval": intervals.LABELS[cfg.CI],
            "intervals": self._intervals(evaluation, disjoint, self._count_disjoint(shape)),
            "top2": float(evaluation.top2.mean() * 100 / evaluation.queries),
            "ece": evaluation.ece,
            "image_size": self.data.image_size,
            "views": list(self.cfg.DATASET.VIEWS),
            "device": device.describe(self.data.device),
            "threads": torch.get_num_threads(),
            "seconds": {name: round(value, 4) for name, value in evaluation.seconds.items()},
            "reference": self._reference(shape, result["features_of"]),
            **self.origin(result["features_of"]),
            "training_seed": self.network.meta.get("seed"),
        }
        drawn = self._drawn(shape) if cfg.IMAGES else None
        files = result_files(result, evaluation, tested.split.classes, disjoint, drawn)
        sections = partial(episodes_page, tested, question, evaluation, files["result.json"])
        return Answer(result_line(result), folder_name("", result, episodes_name(result)), files, sections)

    def _drawn(self, shape: Shape) -> Drawn:
        """The images of all episodes: those that every method sees."""
        split = self._tested.split
        drawn = self._tested.sampler(shape).draw(torch.arange(self.cfg.EVAL.EPISODES))
        return Drawn(drawn.support.numpy(), drawn.query.numpy(), split.labels, split.names)

    def _classify(self, question: Question, numbers: range) -> Evaluation:
        """Classify the episodes of these numbers."""
        tested = self._tested
        sampler = EpisodesFrom(tested.sampler(question.shape), numbers.start)
        return tested.evaluator.classify(tested.source, len(numbers), sampler, tested.head(question.method))

    def _shard_answer(self, question: Question, numbers: range) -> Answer:
        """Evaluate some of the episodes and keep their counts."""
        evaluation = self._classify(question, numbers)
        identity, folder = self._identity(self._tested.describe(question))
        line = (
            f"{question.method}  episodes {numbers.start}:{numbers.stop} of {self.cfg.EVAL.EPISODES}  "
            f"{evaluation.accuracy.mean():.2f} %; --merge joins the shards once all are there"
        )
        write = partial(write_shard, evaluation=evaluation, identity=identity, numbers=numbers)
        return Answer(line, folder, {shard_name(numbers): write})

    def _merged(self, result: dict[str, Any]) -> Evaluation:
        """All episodes, from their shards."""
        identity, folder = self._identity(result)
        return read_shards(self.network.folder / folder, self.cfg.EVAL.EPISODES, identity)

    def _identity(self, result: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """What all shards of a result have in common, and the result's folder."""
        identity = result | self.origin(result["features_of"])
        return identity, folder_name("", identity, episodes_name(identity))

    def _reference(self, shape: Shape, features_of: str | None) -> dict[str, Any] | None:
        """The published number, where this network answers the published question as the published one did."""
        same_question = shape == task_shape(self.cfg, "test") and not features_of
        if not (self.cfg.REFERENCE.ACCURACY and same_question and self.trained_as_published()):
            return None
        return {key.lower(): value for key, value in self.cfg.REFERENCE.items() if key != "FIGURES"}

    def _intervals(self, evaluation: Evaluation, disjoint: Evaluation | None, tasks: int) -> dict[str, Any]:
        """Every interval that these episodes allow, by what it is over."""
        cfg, classes = self.cfg.EVAL, self._tested.split.classes
        return {
            "episodes": intervals.of_episodes(evaluation.accuracy, cfg.CI),
            "disjoint": disjoint and intervals.of_disjoint(disjoint.accuracy, tasks),
            "classes": intervals.of_classes(evaluation.accuracy, evaluation.classes, len(classes), cfg.SEED),
        }

    def _disjoint(self, question: Question) -> Evaluation | None:
        """Disjoint tasks; their number is kept below a quarter of the episodes, or at one partition.

        None where a partition has more tasks than there are episodes, or fewer than two.
        """
        tested, cfg, shape = self._tested, self.cfg.EVAL, question.shape
        tasks = self._count_disjoint(shape)
        partitions = min(cfg.PARTITIONS, max(1, cfg.EPISODES // (4 * tasks))) if 2 <= tasks <= cfg.EPISODES else 0
        if not partitions:
            return None
        sampler = DisjointSampler(tested.split, shape, cfg.SEED, partitions)
        return tested.evaluator.classify(tested.source, len(sampler), sampler, tested.head(question.method))

    def _count_disjoint(self, shape: Shape) -> int:
        """Disjoint tasks that fit into the split; none of uneven ones."""
        counts = self._tested.split.counts
        return count_tasks(counts // (shape.shot + shape.query), shape.way) if shape.even else 0

    def _write_features(self, file: BinaryIO) -> None:
        """Write the features that were computed as an npz without pickled objects."""
        split = self._tested.split
        ids, features = self._tested.source.encoded()
        arrays = {name: value.cpu().numpy() for name, value in features.items()}
        arrays |= {"image": ids.numpy(), "label": split.labels[ids.numpy()], "class": np.array(split.classes)}
        arrays |= {"name": np.array([split.names[i] for i in ids.tolist()])}
        np.savez(file, **arrays)
