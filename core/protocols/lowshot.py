"""ImageNet low-shot: all novel classes of a group from n shots, among the base classes; one trial is one draw of shots.

Hariharan and Girshick, ICCV 2017; Wang et al., CVPR 2018, for the groups and the prior.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import progress
from ..build.data import Data
from ..build.evaluation import Network
from ..data.class_lists import QUERIES
from ..data.datasets import dataset
from ..data.episodes import EpisodeSampler, Shape
from ..data.loaders import TaskBuilder
from ..data.lowshot import GROUPS, FixedShots, open_group, read_draws
from ..data.store import SPLITS
from ..engine.features import ImageEncoder
from ..engine.finite import refuse_logits
from ..episode import Features, Task, join
from ..errors import UserError
from ..files import FileContent, sha256
from ..methods.base import Method
from ..report.result import answered_by, data_notes, folder_name
from ..report.trials import FIGURES, TOPS, Trials
from . import joint_regression
from .base import PROTOCOLS, Answer, Option, Protocol, refuse_base_classes
from .joint_regression import JointRegression

DEFAULT_SHOTS = (1, 2, 5, 10, 20)
Classify = Callable[[Task], tuple[Tensor, Tensor]]


@PROTOCOLS.register("lowshot")
class LowShot(Protocol):
    """Trials of one group: "val" is for choices, "test" for results. Queries are encoded once for all n.

    Args:
        data, network: see `Protocol`.
        group: val or test.
        shots: images of each novel class; by default 1, 2, 5, 10 and 20.
        classifier: "logistic" for core/protocols/joint_regression.py in place of the network's own method.
        draws: files of fixed shots, one for each trial (core/data/lowshot.py); by default EVAL.TRIALS random ones.

    Raises:
        UserError: where the data set has no such groups.
    """

    ensembles = False
    options = {
        "group": Option("group of classes: val or test (default)", "GROUP"),
        "shots": Option("supports of each novel class (default: 1 2 5 10 20)", "K", int, many=True),
        "classifier": Option("logistic: a regression on base images and shots, in place of the method", "logistic"),
        "draws": Option(
            "files of fixed shots, one for each trial: splitfile_1.json ..., in place of EVAL.TRIALS", "FILE", many=True
        ),
    }

    def __init__(
        self,
        data: Data,
        network: Network,
        *,
        group: str = "test",
        shots: Sequence[int] = (),
        draws: Sequence[str] = (),
        classifier: str = "",
    ) -> None:
        super().__init__(data, network)
        names, cfg = data.cfg.DATASET, data.cfg.EVAL
        test_set = dataset(names.TEST.NAME, "DATASET.TEST.NAME")
        if group not in GROUPS or group + QUERIES not in test_set.splits or names.TRAIN.NAME != names.TEST.NAME:
            raise UserError(
                f"--lowshot is {group!r} on DATASET.TRAIN.NAME {names.TRAIN.NAME} and DATASET.TEST.NAME "
                f"{names.TEST.NAME}; it evaluates group val or test of ImageNet-LowShot, trained on the same."
            )
        self._joint = classifier == "logistic"
        if classifier and (not self._joint or "vector" not in network.method.needs):
            raise UserError(
                f"--classifier is {classifier!r} on {network.method.name}; it is logistic, for methods on vectors."
            )
        self._group, self._shots = group, list(dict.fromkeys(shots or DEFAULT_SHOTS))
        self._split = data.split(group)
        splits = [data.split(name) for name in SPLITS]
        self._draws = read_draws(draws, splits, group) if draws else None
        self._trials = len(draws) or cfg.TRIALS
        self._drawn = "".join(sha256(Path(file)) for file in draws)
        self._encoder = ImageEncoder(
            network.method.for_evaluation(),
            data.pixels(group),
            data.image_size,
            cfg.BATCH,
            cfg.PRECISION == "bf16",
            eval_crop=names.EVAL_CROP,
        )
        opened = open_group(names.ROOT, test_set.name, group, data.image_size)
        self._queries = self._encode_queries([opened.novel, opened.base], opened.base_ids)
        self._fingerprints = [split.fingerprint for split in (self._split, opened.novel, opened.base)]

    def refuse(self) -> None:
        if not self._joint:
            refuse_base_classes(self.network.method, self.network)
        if min(self._shots) < 1:
            raise UserError(f"--shots lists {min(self._shots)}; a novel class has 1 support or more.")
        smallest, most = int(self._split.counts.argmin()), max(self._shots)
        count, name = self._split.counts[smallest], self._split.classes[smallest]
        if self._draws is not None and most > self._draws.shape[2]:
            raise UserError(f"--shots lists {most}, but the files of --draws hold {self._draws.shape[2]} of a class.")
        if self._trials < 2:
            raise UserError("--draws names one file, whose trial has no interval; name two or more.")
        if most > count:
            raise UserError(
                f"--lowshot: a trial takes {most} images of each class, but {name!r} has {count}; give --shots."
            )

    def answers(self) -> Iterator[Answer]:
        for shot in self._shots:
            yield self._answer(shot, self._run_trials(shot))

    def _encode_queries(self, splits: Sequence, base_ids: np.ndarray) -> Queries:
        """All images of the group's novel classes and of its base classes."""
        pixels = [self.data.open_pixels(split) for split in splits]
        features = [encode_all(replace(self._encoder, pixels=p), torch.arange(len(p))) for p in pixels]
        novel, base = (torch.from_numpy(split.labels).to(self.data.device) for split in splits)
        return Queries(join(features), novel, base, torch.from_numpy(base_ids).to(self.data.device))

    def _run_trials(self, shot: int) -> Trials:
        """Trials with `shot` images of each novel class."""
        data, cfg, method = self.data, self.cfg.EVAL, self._encoder.method
        sampler = EpisodeSampler(self._split, Shape(len(self._split.classes), shot, 0), cfg.SEED, "--shots")
        shots = sampler if self._draws is None else FixedShots(sampler, self._draws)
        words = data.words(self._group) if "semantics" in method.needs else None
        reads_base = not self._joint and (method.base_from_means or "base" in method.needs)
        base = self._base_means if reads_base else None
        builder = TaskBuilder(sampler.shape, data.device, data.first_class(self._group), words, base)
        classify = self._joint_regression if self._joint else novel_and_base(method)
        return classify_lowshot(classify, self._encoder, shots, builder, self._queries, self._trials, cfg.PRIOR)

    def _answer(self, shot: int, trials: Trials) -> Answer:
        cfg, queries = self.cfg.EVAL, self._queries
        result_of = self.network.method.name if self._joint else None
        result = {
            "method": joint_regression.NAME if self._joint else self.network.method.name,
            **({"features_of": self.network.method.name} if self._joint else {}),
            "dataset": self._split.dataset,
            "group": self._group,
            "fingerprints": self._fingerprints,
            "way": len(self._split.classes),
            "shot": shot,
            "n_base": len(queries.base_ids),
            "queries": {"novel": len(queries.novel_y), "base": len(queries.base_y)},
            "trials": self._trials,
            "seed": cfg.SEED,
            "prior": cfg.PRIOR,
            "figures": trials.figures(cfg.CI),
            "transductive": not self._joint and self.network.method.transductive,
            "precision": "bfloat16" if cfg.PRECISION == "bf16" else "float32",
            "deviation": self.data.deviation(),
            **({"draws": self._drawn_hash()} if self._drawn else {}),
            **({"reference": reference} if (reference := self._reference(shot)) else {}),
            **self.origin(result_of),
        }
        name = f"{self._group}_{shot}shots_seed{cfg.SEED}_{self._trials}"
        name += f"_draws={result['draws']}" if self._drawn else ""
        files: dict[str, FileContent] = {"trials.csv": trials.csv(), "lowshot.json": result}
        return Answer(_line(result), folder_name("lowshot", result, name), files)

    @cached_property
    def _joint_regression(self) -> JointRegression:
        """A classifier for the features of all training images of the group's base classes."""
        train, base_ids = self.data.split("train"), self._queries.base_ids
        place = torch.full((len(train.classes),), -1)
        place[base_ids.cpu()] = torch.arange(len(base_ids))
        labels = place[torch.from_numpy(train.labels)]
        ids = (labels >= 0).nonzero()[:, 0]
        with torch.no_grad():
            encoder = replace(self._encoder, pixels=self.data.pixels("train"))
            vectors = encode_all(encoder, ids)["vector"][0]
        return JointRegression(vectors, labels[ids].to(vectors.device), base_ids, len(train.classes))

    def _drawn_hash(self) -> str:
        """A short name for the content of the files of fixed shots."""
        return hashlib.sha256(self._drawn.encode()).hexdigest()[:8]

    def _reference(self, shot: int) -> dict[str, Any] | None:
        """The published top-5 numbers for this n of the final group, by figure, of a network of their recipe."""
        published = self.cfg.REFERENCE
        numbers = {figure: number for figure, n, number in published.FIGURES if n == shot}
        same_question = self._group == "test" and not self._joint  # another classifier answers another question
        if not (numbers and same_question and self.trained_as_published()):
            return None
        return {"top5": numbers, "source": published.SOURCE, "status": published.STATUS}

    @cached_property
    def _base_means(self) -> Features:
        """Mean feature of each base class."""
        train = self.data.split("train")
        encoder = replace(self._encoder, pixels=self.data.pixels("train"))
        with torch.no_grad():
            return encoder.class_means(torch.from_numpy(train.labels), self.cfg.EVAL.BASE_IMAGES)


@dataclass(frozen=True)
class Queries:
    """Every query, encoded: images of novel classes, then images of base classes."""

    features: Features  # [1, Q_n + Q_b, ...]
    novel_y: Tensor  # [Q_n] classes of the split from which shots are drawn
    base_y: Tensor  # [Q_b] in 0..B-1
    base_ids: Tensor  # [B] which of all base classes are in the label space


def encode_all(encoder: ImageEncoder, ids: Tensor) -> Features:
    """Features of images `ids` [n], as [1, n, ...]."""
    return join([{name: value[None] for name, value in block.items()} for _, block in encoder.blocks(ids)])


def novel_and_base(method: Method) -> Classify:
    """A method in eval mode as `classify_lowshot` takes it."""
    return lambda task: (method.answer(task), method.base_logits(task))


@torch.no_grad()
def classify_lowshot(
    classify: Classify,
    shots: ImageEncoder,
    sampler: EpisodeSampler | FixedShots,
    builder: TaskBuilder,
    queries: Queries,
    trials: int,
    prior: float,
) -> Trials:
    """Trials 0 .. `trials` - 1.

    Args:
        classify: a single task's logits, [1, Q, N] of its novel classes and [1, Q, n_base] of base classes.
        shots: encodes the images that the sampler draws.
        sampler: draws the supports of all classes in every episode.
        builder: of tasks, with the base classes' means where the method reads them.
        queries: the same in every trial.
        trials: how many.
        prior: mu, the weight of the novel classes in the figure `prior`.
    """
    rows = []
    with progress.bar(trials, "trials") as bar:
        for trial in range(trials):
            drawn = sampler.draw(torch.tensor([trial]))
            label = drawn.classes[0].argsort().to(queries.novel_y.device)[queries.novel_y]
            query_y = torch.cat([label, torch.full_like(queries.base_y, -1)])[None]
            support = encode_all(shots, drawn.support[0])
            task = builder.build(replace(drawn, query_y=query_y), support, queries.features, 1.0)
            novel, base = (logits.float() for logits in classify(task))
            for logits in (novel, base):
                refuse_logits(logits, trial)
            rows.append(shares(novel[0], base[0][:, queries.base_ids], label, queries.base_y, prior))
            bar.update()
    return Trials(np.stack(rows))


def shares(novel: Tensor, base: Tensor, novel_y: Tensor, base_y: Tensor, prior: float) -> np.ndarray:
    """One trial of `Trials`, [6, 2], from scores [Q_n + Q_b, N] and [Q_n + Q_b, B]. Base labels come first."""
    n_novel, n_base = len(novel_y), base.shape[1]
    truth = torch.cat([n_base + novel_y, base_y])
    joint = torch.cat([base, novel], dim=1)
    weighed = torch.cat([base.log_softmax(1) + math.log1p(-prior), novel.log_softmax(1) + math.log(prior)], dim=1)
    among_all, among_weighed = classes_ahead(joint, truth), classes_ahead(weighed, truth)
    alone = [classes_ahead(novel[:n_novel], novel_y), classes_ahead(base[n_novel:], base_y)]
    ranks = [*alone, among_all[:n_novel], among_all[n_novel:], among_all, among_weighed]
    return np.array([[100 * float((rank < top).double().mean()) for top in TOPS] for rank in ranks])


def classes_ahead(scores: Tensor, truth: Tensor) -> Tensor:
    """How many classes come before the true one, [Q]; among equals the lower label comes first."""
    true_score = scores.gather(1, truth[:, None])
    lower = torch.arange(scores.shape[1], device=scores.device) < truth[:, None]
    return ((scores > true_score) | ((scores == true_score) & lower)).sum(1)


def _line(result: dict[str, Any]) -> str:
    """One line: top-5 of every figure, and top-1 of the joint one."""
    r, f = result, result["figures"]
    parts = "  ".join(f"{name.replace('_', ' ')} {_with_interval(f[name]['top5'])}" for name in FIGURES)
    drawn = "fixed draws" if "draws" in r else f"trials, seed {r['seed']}"
    published = r.get("reference", {"top5": {}})
    numbers = "".join(f"  {figure} {number:g}" for figure, number in published["top5"].items())
    numbers = f"  {published['status']}:{numbers[1:]}" if numbers else ""
    return (
        f"{answered_by(r)}  {r['dataset']} group {r['group']}  n = {r['shot']}  top-5  {parts}  top-1 all "
        f"{_with_interval(f['all']['top1'])}  ({r['trials']} {drawn}, {r['way']} novel and "
        f"{r['n_base']} base classes, {sum(r['queries'].values())} images, prior {r['prior']})"
        f"{numbers}{data_notes(r)}"
    )


def _with_interval(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.2f} ± {figure['ci95']:.2f}"
