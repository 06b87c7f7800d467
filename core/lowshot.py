"""A trained method on ImageNet low-shot: novel classes from n shots, among the base classes of their group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from .backbones.blocks import fold
from .build.builder import Builder
from .data.datasets import benchmark
from .data.episodes import EpisodeSampler, Shape
from .data.loaders import Pixels, TaskBuilder
from .data.lowshot import GROUPS, QUERIES, open_group
from .engine.features import Encoder
from .engine.lowshot import Queries, classify_lowshot, encode_all
from .episode import Features, join
from .errors import UserError
from .methods.base import Method
from .report.lowshot import Trials

SHOTS = (1, 2, 5, 10, 20)


class LowShot:
    """One method and one group, "val" for choices or "test" for results; queries are encoded once for all n.

    Raises:
        UserError: where the data set has no such groups.
    """

    def __init__(self, builder: Builder, method: Method, group: str) -> None:
        data, cfg = builder.cfg.DATASET, builder.cfg.EVAL
        found = benchmark(data.TEST.NAME, "DATASET.TEST.NAME")
        if group not in GROUPS or group + QUERIES not in found.splits or data.TRAIN.NAME != data.TEST.NAME:
            raise UserError(
                f"--lowshot is {group!r} on DATASET.TRAIN.NAME {data.TRAIN.NAME} and DATASET.TEST.NAME "
                f"{data.TEST.NAME}; it evaluates group val or test of ImageNet-LowShot, trained on the same."
            )
        self._builder, self._group = builder, group
        opened = open_group(data.ROOT, found.name, group)
        self._shots = builder.split(group)
        self._encoder = Encoder(
            fold(method), builder.pixels(group), builder.image_size, cfg.BATCH, cfg.PRECISION == "bf16"
        )
        asked = [(split, Pixels(split, builder.device)) for split in (opened.novel, opened.base)]
        features = [encode_all(replace(self._encoder, pixels=p), torch.arange(len(p))) for _, p in asked]
        labels = [torch.from_numpy(split.labels).to(builder.device) for split, _ in asked]
        base_ids = torch.from_numpy(opened.base_ids).to(builder.device)
        self._queries = Queries(join(features), *labels, base_ids)
        self._fingerprints = [split.fingerprint for split in (self._shots, opened.novel, opened.base)]

    def refuse_impossible(self, shots: Sequence[int]) -> None:
        """Say where a class has too few images, before the first answer is given."""
        smallest, most = int(self._shots.counts.argmin()), max(shots)
        have, name = self._shots.counts[smallest], self._shots.classes[smallest]
        if most > have:
            raise UserError(
                f"--lowshot: a trial takes {most} images of each class, but {name!r} has {have}; give --shots."
            )

    def answer(self, shot: int) -> tuple[dict[str, Any], Trials]:
        """Trials with `shot` images of each novel class: result and shares."""
        builder, cfg, method = self._builder, self._builder.cfg.EVAL, self._encoder.method
        way, queries = len(self._shots.classes), self._queries
        sampler = EpisodeSampler(self._shots, Shape(way, shot, 0), cfg.SEED, "--shots")
        first = builder.first_class(self._group)
        tasks = TaskBuilder(self._shots, sampler, builder.device, first, "semantics" in method.needs)
        tasks.base = self._base_means() if method.base_from_means or "base" in method.needs else None
        trials = classify_lowshot(method, self._encoder, tasks, queries, cfg.TRIALS, cfg.PRIOR, show=True)
        result = {
            "method": method.name,
            "dataset": self._shots.dataset,
            "group": self._group,
            "fingerprints": self._fingerprints,
            "way": way,
            "shot": shot,
            "n_base": len(queries.base_ids),
            "queries": {"novel": len(queries.novel_y), "base": len(queries.base_y)},
            "trials": cfg.TRIALS,
            "seed": cfg.SEED,
            "prior": cfg.PRIOR,
            "figures": trials.figures(cfg.CI),
            "transductive": method.transductive,
            "precision": "bfloat16" if cfg.PRECISION == "bf16" else "float32",
            "deviation": builder.deviation(),
        }
        return result, trials

    def _base_means(self) -> Features:
        """Mean feature of each base class."""
        train = self._builder.split("train")
        encoder = replace(self._encoder, pixels=self._builder.pixels("train"))
        with torch.no_grad():
            return encoder.class_means(torch.from_numpy(train.labels))
