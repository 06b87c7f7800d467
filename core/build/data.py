"""Splits, pixels and word vectors of the data sets that a configuration names."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from os.path import expanduser  # that of pathlib raises where there is no such user
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import Config
from ..data import views
from ..data.datasets import FEATURES, dataset
from ..data.episodes import EpisodeSampler, Shape
from ..data.holdout import hold_out
from ..data.pixels import ChannelStatistics, Pixels, Statistics
from ..data.store import Split, outline_of, prepared, read_outline, read_split, split_dir
from ..data.words import OWN_FILE, read_names, semantic_vectors
from ..errors import UserError
from ..paths import command
from ..registry import BACKBONES
from .config import image_size

log = logging.getLogger("fiveway")


class Data:
    """The data of a configuration; splits and pixels are opened once and shared.

    `remembered` is what a checkpoint says of itself (core/build/saved.py). Base and val classes that are not prepared
    here are then known by their names and counts, and only their images are missing.
    """

    def __init__(self, cfg: Config, device: torch.device, remembered: Mapping[str, Any] | None = None) -> None:
        self.cfg, self.device = cfg, device
        self._remembered = remembered or {}
        self.image_size = image_size(cfg)
        if cfg.DATASET.EVAL_CROP > 1:
            raise UserError(f"DATASET.EVAL_CROP is {cfg.DATASET.EVAL_CROP}, a share of each side; give 1 or less.")
        if cfg.DATASET.EVAL_CROP < 1 and not self.image_size:
            raise UserError(
                f"DATASET.EVAL_CROP is {cfg.DATASET.EVAL_CROP}, but DATASET.TRAIN.NAME {cfg.DATASET.TRAIN.NAME} holds "
                "features, which cannot be cropped; set it to 1."
            )
        self.views = views.parse_views(cfg.DATASET.VIEWS, cfg.DATASET.PATCH_RATIO)
        self._splits: dict[str, Split] = {}
        self._pixels: dict[str, Pixels] = {}
        self._words: dict[str, Tensor] = {}

    def split(self, name: str) -> Split:
        """The split "train", "val" or "test"; "train" without the images that DATASET.BASE_HOLDOUT keeps out."""
        if name not in self._splits:
            absent = self._absent(name)
            split = absent or self._whole(name)
            if name == "train" and self.cfg.DATASET.BASE_HOLDOUT and not absent:
                split, _ = hold_out(split, self.cfg.DATASET.BASE_HOLDOUT)
            if name != "train":
                self._refuse_mixture(name, split)
            self._splits[name] = split
        return self._splits[name]

    def outline(self, name: str) -> Split:
        """A split as its manifest tells, without images and names; training knows no more of the test split."""
        if name in self._splits or name == "train":
            return self.split(name)
        outline = self._absent(name) or read_outline(self._folder(name))
        self._refuse_mixture(name, outline)
        return outline

    def _refuse_mixture(self, name: str, split: Split) -> None:
        """Refuse images beside features, and features of several lengths."""
        train = self.split("train")
        if split.features != train.features:
            raise UserError(
                f"DATASET.{name.upper()}.NAME is {self.cfg.DATASET[name.upper()].NAME}, which holds "
                f"{_contents(split)}, but DATASET.TRAIN.NAME {train.dataset} holds {_contents(train)}; use images "
                "everywhere, or features of one network."
            )

    def pixels(self, name: str) -> Pixels:
        """The images of a split, on the device where they fit."""
        if name not in self._pixels:
            if self._absent(name):
                self._folder(name)  # which says how it is prepared
            self._pixels[name] = self.open_pixels(self.split(name))
        return self._pixels[name]

    def open_pixels(self, split: Split) -> Pixels:
        """The images of any split, normalised with `statistics`."""
        return Pixels(split, self.device, self.statistics)

    @property
    def statistics(self) -> Statistics:
        """Mean and deviation that images of every split are normalised with: an encoder's own, else the base images'.

        Those of a test split would tell a network of images beside the one it sees.
        """
        return BACKBONES[self.cfg.BACKBONE.NAME].preprocessing or ChannelStatistics.of(self.split("train").manifest)

    def words(self, name: str) -> Tensor:
        """Word vectors of a split's classes, [classes, D].

        They come from the file that DATASET.SEMANTICS names, else with the data set, else from data/class_vectors.tsv.

        Raises:
            UserError: where the file has no vector for a class.
        """
        if name not in self._words:
            split = self.split(name)
            if self._absent(name) and "words" in self._remembered:
                self._words[name] = torch.tensor(self._remembered["words"])
            else:
                from_file = self.reads_words_from_file(name)
                self._words[name] = torch.from_numpy(self._looked_up(split) if from_file else split.vectors)
        return self._words[name]

    def reads_words_from_file(self, name: str) -> bool:
        """Whether a split's word vectors come from a file, and not with the data set."""
        return bool(self.cfg.DATASET.SEMANTICS) or self.split(name).vectors is None

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
        _, split = hold_out(self._whole("train"), count)
        return split, self.open_pixels(split)

    def first_class(self, name: str) -> int:
        """The number of a split's first class among the classes of all splits."""
        earlier = {"train": (), "val": ("train",), "test": ("train", "val")}[name]
        return sum(len(self.outline(split).classes) for split in earlier)

    def deviation(self) -> str | None:
        """How the data differs from the published benchmarks, where `prepare_data.py --allow-deviation` let it."""
        splits = [self.outline(name) for name in ("train", "val", "test")]
        deviations = [f"{s.dataset}: {s.manifest['deviation']}" for s in splits if s.manifest.get("deviation")]
        return "; ".join(dict.fromkeys(deviations)) or None

    def _absent(self, name: str) -> Split | None:
        """The outline of a split that is not prepared here, where the checkpoint remembers it."""
        manifest = self._remembered.get("splits", {}).get(name)
        data, key = self.cfg.DATASET, f"DATASET.{name.upper()}.NAME"
        named = dataset(data[name.upper()].NAME, key)
        size = 0 if named.features else self.image_size
        if manifest is None or named.drawn or prepared([split_dir(data.ROOT, named.name, size, name)]):
            return None
        same = manifest["dataset"] == named.name and manifest.get("size", 0) == size
        return outline_of(manifest) if same else None

    def _whole(self, name: str) -> Split:
        """A split with all its images."""
        return read_split(self._folder(name))

    def _folder(self, name: str) -> Path:
        """Where a split lies."""
        data, key = self.cfg.DATASET, f"DATASET.{name.upper()}.NAME"
        return find_split(data.ROOT, data[name.upper()].NAME, name, self.image_size, key)

    def _looked_up(self, split: Split) -> np.ndarray:
        """Vectors of a split's class names in the file of DATASET.SEMANTICS, [classes, D] float32."""
        called = split.manifest.get("words", {})
        return class_words(self.cfg, [called.get(name, name) for name in split.classes], called)


def class_words(cfg: Config, names: list[str], called: Mapping[str, str] | None = None) -> np.ndarray:
    """Vectors of class names in the file of DATASET.SEMANTICS, [names, D] float32.

    `called` are words in place of the class ids that DATASET.SEMANTICS_NAMES may use.
    """
    data, called = cfg.DATASET, called or {}
    replacements = read_names(Path(expanduser(data.SEMANTICS_NAMES))) if data.SEMANTICS_NAMES else {}
    replacements = {called.get(name, name): words for name, words in replacements.items()} | replacements
    file = Path(expanduser(data.SEMANTICS)) if data.SEMANTICS else OWN_FILE
    return semantic_vectors(file, names, replacements)


def open_split(root: str | Path, name: str, split: str, size: int = 0, key: str = "DATASET.NAME") -> Split:
    """Open a split; see `find_split`."""
    return read_split(find_split(root, name, split, size, key))


def find_split(root: str | Path, name: str, split: str, size: int = 0, key: str = "DATASET.NAME") -> Path:
    """The folder of a split, which is drawn first where it is missing and FiveWay draws the data set.

    `size` 0 is the native size.

    Raises:
        UserError: where the split is not prepared.
    """
    named = dataset(name, key)
    native, size = not size or size == named.native_size, size or named.native_size
    if named.features and size:
        raise UserError(f"DATASET.SIZE is {size}, but {key} {name} holds features; leave it 0.")
    folder = split_dir(root, named.name, size, split)
    if not prepared([folder]):
        if named.features and name.lower().startswith(FEATURES) and named.path is None:
            export = f"{command('evaluate')} ... --save-features {root} --splits {split}"
            raise UserError(f"{key} is {name!r}, of which {root} holds no {split}: write it with `{export}`.")
        if not named.drawn:
            arguments = f"{name if named.path else f'{named.name} --from PATH'}{'' if native else f' --size {size}'}"
            if str(root) != "data":
                arguments += f" --root {shlex.quote(str(root))}"
            originals = f", from originals of {size} px or more" if size > named.native_size > 0 and not native else ""
            raise UserError(
                f"{key} is {name!r}, which is not prepared under {root}{f' at {size} px' if size else ''}: "
                f"run `{command('prepare')} {arguments}`{originals}."
            )
        from ..prepare.sources import source  # loaded for this alone: nothing else in a run prepares data

        log.info("drawing %s at %d px, once, to %s", named.name, size, folder.parent)
        source(name, key).make(Path(root), size)
    return folder


def training_shapes(cfg: Config) -> list[Shape]:
    """The shape of training episodes, one for each shot of a range."""
    task = cfg.TASK.TRAIN
    least, most = task.SHOT if isinstance(task.SHOT, list) else (task.SHOT, task.SHOT)
    shots = range(least, most + 1)
    return [Shape(task.WAY, shot, task.IMAGES - shot if task.IMAGES else task.QUERY) for shot in shots]


def task_shape(cfg: Config, name: str) -> Shape:
    """The shape of "val" or "test" episodes; only test episodes can be uneven."""
    task = cfg.TASK[name.upper()]
    shots, queries, alpha = tuple(task.get("SHOTS", ())), task.get("QUERIES", 0), task.get("QUERY_ALPHA", 0.0)
    return Shape(task.WAY, max(shots, default=task.SHOT), 0 if queries else task.QUERY, shots, queries, alpha)


def episode_sampler(data: Data, name: str, seed: int, stage: str = "") -> EpisodeSampler:
    """Episodes of "val" or "test", in the shape that TASK gives the split, or a stage's VAL."""
    key, shape = f"TASK.{name.upper()}", task_shape(data.cfg, name)
    val = data.cfg.STAGE[stage].VAL if stage else None
    if val and (stage_shape := Shape(val.WAY, val.SHOT, val.QUERY)) != shape:
        key, shape = f"STAGE.{stage}.VAL", stage_shape
    return EpisodeSampler(data.split(name), shape, seed, key)


def _contents(split: Split) -> str:
    """What a split holds, in words."""
    return f"features of length {split.features}" if split.features else "images"
