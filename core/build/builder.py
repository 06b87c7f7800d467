"""From a configuration to objects: with `core.make` the only file that sees both.

Everything below `core.build` takes plain arguments, so it can be used, and tested, without a configuration.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..config import Config
from ..data import augment, views
from ..data.base_queries import BaseQueries
from ..data.datasets import benchmark
from ..data.episodes import EpisodeSampler, Shape
from ..data.holdout import hold_out
from ..data.loaders import Augmentation, BatchStream, EpisodeStream, Pixels, TaskBuilder, class_vectors
from ..data.store import Split
from ..data.views import WHOLE
from ..data.words import OWN_FILE, read_names, semantic_vectors
from ..engine.evaluator import Evaluator
from ..engine.optim import Recipe
from ..engine.trainer import Stage, Trainer
from ..engine.weights import take_weights
from ..episode import DataInfo
from ..errors import UserError
from ..make import make_backbone, make_method, task_shape
from ..methods.base import Method
from ..ops import random
from ..registry import METHODS
from ..report.run import RunFolder
from .data import open_split


class Builder:
    """Builds what a configuration describes; splits and pixels are opened once and shared."""

    def __init__(self, cfg: Config, device: torch.device) -> None:
        self.cfg, self.device = cfg, device
        self.image_size = cfg.DATASET.SIZE or benchmark(cfg.DATASET.TRAIN.NAME, "DATASET.TRAIN.NAME").native_size
        self.views = views.parse(cfg.DATASET.VIEWS, cfg.DATASET.PATCH_RATIO)
        self._splits: dict[str, Split] = {}
        self._pixels: dict[str, Pixels] = {}

    def split(self, name: str) -> Split:
        """The split "train", "val" or "test"."""
        if name not in self._splits:
            key = f"DATASET.{name.upper()}"
            dataset = self.cfg.DATASET[name.upper()].NAME
            split = open_split(self.cfg.DATASET.ROOT, dataset, name, self.image_size, f"{key}.NAME")
            if name == "train" and self.cfg.DATASET.BASE_HOLDOUT:
                split, _ = hold_out(split, self.cfg.DATASET.BASE_HOLDOUT)
            train = split if name == "train" else self.split("train")
            if split.features != train.features:
                raise UserError(
                    f"{key}.NAME is {dataset}, which holds {_held(split)}, but DATASET.TRAIN.NAME {train.dataset} "
                    f"holds {_held(train)}; use images everywhere, or features of one network."
                )
            self._splits[name] = self._with_words(split)
        return self._splits[name]

    def _with_words(self, split: Split) -> Split:
        """The split with the word vectors that DATASET.SEMANTICS names, where a stage asks for them."""
        data = self.cfg.DATASET
        asked = data.SEMANTICS or any(asks[split.name == "train"] for asks in self._ask_for_words(split.features))
        if not asked or (split.vectors is not None and not data.SEMANTICS):
            return split
        instead = read_names(Path(data.SEMANTICS_NAMES).expanduser()) if data.SEMANTICS_NAMES else {}
        called = split.manifest.get("words", {})
        instead = {called.get(name, name): words for name, words in instead.items()} | instead
        file = Path(data.SEMANTICS).expanduser() if data.SEMANTICS else OWN_FILE
        vectors = semantic_vectors(file, [called.get(name, name) for name in split.classes], instead)
        return replace(split, vectors=vectors, words_from=str(file))

    def _ask_for_words(self, features: int) -> list[tuple[bool, bool]]:
        """Whether each stage's method wants word vectors, and whether it or its objective does, in training.

        They are built to be asked, as either may depend on arguments; without memory, around made-up data.
        """
        task = self.cfg.TASK.TRAIN
        info = DataInfo(2, self.image_size, task.WAY, task.SHOT, task.QUERY, torch.zeros(2, 1), features)
        with torch.device("meta"):
            methods = [make_method(self.cfg, stage, info) for stage in self.cfg.STAGES]
        return [("semantics" in method.needs, _trains_on_words(method)) for method in methods]

    def pixels(self, name: str) -> Pixels:
        """The images of a split, on the device where they fit."""
        if name not in self._pixels:
            self._pixels[name] = Pixels(self.split(name), self.device)
        return self._pixels[name]

    def held_out(self) -> tuple[Split, Pixels]:
        """The images of base classes that DATASET.BASE_HOLDOUT keeps out of training.

        Raises:
            UserError: where it keeps none.
        """
        count = self.cfg.DATASET.BASE_HOLDOUT
        if not count:
            raise UserError(
                "DATASET.BASE_HOLDOUT is 0, but --generalized asks for base-class images that training has not seen; "
                "train and evaluate with a number such as DATASET.BASE_HOLDOUT=100."
            )
        data = self.cfg.DATASET
        whole = open_split(data.ROOT, data.TRAIN.NAME, "train", self.image_size, "DATASET.TRAIN.NAME")
        held = hold_out(whole, count)[1]
        return held, Pixels(held, self.device)

    def sampler(self, name: str, seed: int, stage: str | None = None) -> EpisodeSampler:
        """Episodes of a split, in the shape that TASK gives it, or a stage's VAL."""
        key, shape = f"TASK.{name.upper()}", task_shape(self.cfg, name)
        val = self.cfg.STAGE[stage].VAL if stage else None
        if val and (own := Shape(val.WAY, val.SHOT, val.QUERY)) != shape:
            key, shape = f"STAGE.{stage}.VAL", own
        return EpisodeSampler(self.split(name), shape, seed, key)

    def evaluator(self, name: str, stage: str | None = None) -> Evaluator:
        """An evaluator of the val or the test split, on the episodes of TASK or of a stage's VAL."""
        sampler = self.sampler(name, self.cfg.EVAL.SEED, stage)
        return self.evaluator_on(self.split(name), self.pixels(name), sampler, self.first_class(name))

    def evaluator_on(self, split: Split, pixels: Pixels, sampler: EpisodeSampler, first_class: int = 0) -> Evaluator:
        """An evaluator of any images; `first_class` is the global id of the split's first class."""
        return Evaluator(
            split,
            sampler,
            pixels,
            base=lambda: (self.split("train"), self.pixels("train")),
            first_class=first_class,
            memory_mb=self.cfg.EVAL.MEMORY_MB,
            batch=self.cfg.EVAL.BATCH,
            bf16=self.cfg.EVAL.PRECISION == "bf16",
            views=self.views,
        )

    def first_class(self, name: str) -> int:
        """The number of a split's first class among those of all splits."""
        before = {"train": (), "val": ("train",), "test": ("train", "val")}[name]
        return sum(len(self.split(other).classes) for other in before)

    def deviation(self) -> str | None:
        """How the data differs from the published benchmarks, where `prepare_data.py --allow-deviation` let it."""
        splits = [self.split(name) for name in ("train", "val", "test")]
        found = [f"{s.dataset}: {s.manifest['deviation']}" for s in splits if s.manifest.get("deviation")]
        return "; ".join(dict.fromkeys(found)) or None

    def method(self, stage: str | None = None) -> Method:
        """A freshly initialised method: that of a stage, or of the last one."""
        stage = stage or self.cfg.STAGES[-1]
        made = make_method(self.cfg, stage, self._info(stage))
        self._refuse_views(made, final=stage == self.cfg.STAGES[-1])
        return made.to(self.device).to(memory_format=torch.channels_last)

    def _refuse_views(self, method: Method, final: bool) -> None:
        """Say where DATASET.VIEWS and what a method looks at do not fit."""
        named, crops = self.cfg.DATASET.VIEWS, self.views is not None
        if "parts" in method.needs and not crops:
            raise UserError(f"DATASET.VIEWS is {named}, but {method.name} compares crops; add some, such as grid-3.")
        if final and crops and "parts" not in method.needs:
            raise UserError(f"DATASET.VIEWS is {named}, but {method.name} looks at no crops; set it to [{WHOLE}].")
        if WHOLE not in named and {"image", "vector", "map"} & set(method.needs):
            raise UserError(f"DATASET.VIEWS is {named}, but {method.name} looks at the whole image too; add {WHOLE}.")

    def head(self, name: str) -> Method:
        """Another registered method around this backbone, with its default arguments, untrained."""
        info = self._info(self.cfg.STAGES[-1])
        return METHODS[name](make_backbone(self.cfg, info, name), info).to(self.device)

    def trainer(self, run: RunFolder, stem: str, pretrained: Path) -> Trainer:
        """A trainer of all stages; the earlier ones are shared through the folder `pretrained`."""
        stages = [self._stage(name, run, stem, pretrained) for name in self.cfg.STAGES]
        return Trainer(stages, run, self.device)

    def streams(self, stage: str, method: Method) -> list[EpisodeStream | BatchStream]:
        """What a step of a stage sees; a batch stream comes last."""
        node = self.cfg.STAGE[stage]
        asked = ["episodes", "batches"] if node.STREAM == "both" else [node.STREAM]
        refused = [stream for stream in asked if stream not in method.streams]
        if refused:
            raise UserError(
                f"STAGE.{stage}.STREAM is {node.STREAM}, but {method.name} does not learn from {refused[0]}; "
                f"set it to {method.streams[0]}."
            )
        transforms = augment.parse(node.AUGMENT, f"STAGE.{stage}.AUGMENT")
        if transforms and self.split("train").features:
            raise UserError(f"STAGE.{stage}.AUGMENT is {node.AUGMENT}, but features cannot be augmented; set it to [].")
        crops = self.views if "parts" in method.needed(training=True) else None
        augmentation = Augmentation(transforms, random.key(self.cfg.SEED, stage), crops)
        pixels, words, streams = self.pixels("train"), _trains_on_words(method), []
        if "episodes" in asked:
            sampler = self.sampler("train", random.key("training", self.cfg.SEED, stage))
            builder = TaskBuilder(self.split("train"), sampler, self.device, 0, words)
            count = self.cfg.TASK.TRAIN.BASE_QUERY
            base_queries = BaseQueries(self.split("train"), count) if count else None
            streams.append(EpisodeStream(pixels, builder, node.TASKS, augmentation, base_queries))
        if "batches" in asked:
            streams.append(BatchStream(pixels, self.split("train"), node.BATCH, augmentation, words))
        return streams

    def _stage(self, name: str, run: RunFolder, stem: str, pretrained: Path) -> Stage:
        cfg, node, method = self.cfg, self.cfg.STAGE[name], self.method(name)
        if not any(p.requires_grad for p in method.parameters()):
            raise UserError(
                f"STAGE.{name}.METHOD is {node.METHOD}, which has nothing to learn on BACKBONE.NAME "
                f"{cfg.BACKBONE.NAME}; set BACKBONE.ARGS.width, or evaluate it with run_evaluator.py --untrained."
            )
        streams = self.streams(name, method)
        final = name == cfg.STAGES[-1]
        test = cfg.TASK.TEST
        return Stage(
            name=name,
            method=method,
            streams=streams,
            recipe=Recipe(**{key.lower(): value for key, value in node.OPTIM.items()}),
            epochs=node.EPOCHS,
            steps=node.STEPS or len(streams[-1]),
            evaluator=self.evaluator("val", name),
            val_episodes=node.VAL.EPISODES,
            val_every=node.VAL.EVERY,
            select=node.SELECT,
            frozen_bn=node.BN == "frozen",
            dropout=node.DROPOUT,
            seed=cfg.SEED,
            best=run.best(test.WAY, test.SHOT) if final else run.path / f"best_{name}.pth",
            shared=None if final else pretrained / f"{self.split('train').dataset}_{node.METHOD}_{self._key(name)}.pth",
            meta=self.meta(name) | {"stem": stem, "run": run.path.name},
            init=take_weights(method.backbone, Path(node.INIT)) if node.INIT else "",
        )

    def meta(self, stage: str) -> dict[str, Any]:
        """What a checkpoint says about the network in it."""
        node = self.cfg.STAGE[stage]
        return {
            "stage": stage,
            "final": stage == self.cfg.STAGES[-1],
            "dataset": self.split("train").dataset,
            "seed": self.cfg.SEED,
            "image_size": self.image_size,
            "base_holdout": self.cfg.DATASET.BASE_HOLDOUT,
            "method": {"NAME": node.METHOD, "ARGS": _plain(node.ARGS)},
            "backbone": _plain(self.cfg.BACKBONE),
        }

    def _info(self, stage: str) -> DataInfo:
        train, task = self.split("train"), self.cfg.TASK.TRAIN
        vectors = None if train.vectors is None else class_vectors(train)
        shape = (task.WAY, task.SHOT, task.QUERY) if self._draws_episodes(stage) else (0, 0, 0)
        return DataInfo(len(train.classes), self.image_size, *shape, vectors, train.features)

    def _draws_episodes(self, stage: str) -> bool:
        return self.cfg.STAGE[stage].STREAM != "batches"

    def _key(self, stage: str) -> str:
        """Hash of everything that shapes a stage: data, network, recipe, selection, seed, and the stages before it."""
        cfg = self.cfg
        earlier = cfg.STAGES[: cfg.STAGES.index(stage) + 1]
        shaped_by = {
            "stages": [[name, _plain(cfg.STAGE[name])] for name in earlier],
            "backbone": _plain(cfg.BACKBONE),
            "task": _plain(cfg.TASK.TRAIN) if any(map(self._draws_episodes, earlier)) else {},
            "data": [
                self.split(name).manifest[key] for name in ("train", "val") for key in ("pixels_sha256", "fingerprint")
            ],
            "seeds": [cfg.SEED, cfg.EVAL.SEED],
            "precision": cfg.EVAL.PRECISION,
            **self._words_key(),
            **self.views_key(any("parts" in make_method(cfg, name, self._info(name)).needs for name in earlier)),
            "init": [
                hashlib.sha256(Path(cfg.STAGE[n].INIT).read_bytes()).hexdigest() for n in earlier if cfg.STAGE[n].INIT
            ],
        }
        return hashlib.sha256(json.dumps(shaped_by, sort_keys=True).encode()).hexdigest()[:12]

    def views_key(self, used: bool) -> dict[str, Any]:
        """What crops add to the key of what was computed from them."""
        return {"views": list(self.cfg.DATASET.VIEWS), "ratio": self.cfg.DATASET.PATCH_RATIO} if used else {}

    def _words_key(self) -> dict[str, str]:
        """What word vectors add to a stage's key."""
        vectors = [self.split(name).vectors for name in ("train", "val") if self.split(name).words_from]
        return {"words": hashlib.sha256(b"".join(v.tobytes() for v in vectors)).hexdigest()} if vectors else {}


def _held(split: Split) -> str:
    """What the store of a split holds."""
    return f"features of length {split.features}" if split.features else "images"


def _trains_on_words(method: Method) -> bool:
    """Whether a training step needs the classes' word vectors."""
    return "semantics" in method.needs or method.objective.needs_semantics


def _plain(node: Any) -> Any:
    """A configuration node as plain values."""
    return {key: _plain(value) for key, value in node.items()} if isinstance(node, dict) else node
