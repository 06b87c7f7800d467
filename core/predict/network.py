"""A method with all that turns photographs into its features, and nothing of the data set it was trained on."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import progress
from ..build.identity import encoding_key, frozen_key
from ..config import Config
from ..data.pixels import Pixels
from ..data.store import Split
from ..data.views import parse_views
from ..engine.features import ImageEncoder
from ..episode import Features
from ..methods.base import Method
from ..ops import random
from ..prepare.images import Decoding, decode_all
from .looks import looks
from .photos import Photo
from .store import FeatureStore, stacked

log = logging.getLogger("fiveway")

AT_ONCE = 256  # photographs that are stored together
DECODED = 16  # photographs that are decoded together, while others are encoded
LOOK = "look"  # name of the looks among stored features
BASE = "base means"  # begins the name under which a store keeps them
WORTH_A_LINE = 3.0  # seconds of encoding that are announced


@dataclass(frozen=True)
class Encoded:
    """Photographs with their features; what cannot be decoded is left out."""

    photos: list[Photo]
    features: Features  # [n, ...]
    looks: np.ndarray  # [n, 32] uint8
    bad: dict[str, str]  # {name: reason} of photographs that do not decode


@dataclass(frozen=True)
class PhotoNetwork:
    """A method that encodes photographs.

    Args:
        cfg: the configuration it was built from.
        text: the same as YAML.
        method: with its weights, in eval mode.
        facts: what the method was told of its data (DataInfo), without the word vectors.
        mean, std: of each channel, with which pixels are normalised.
        image_size: side in pixels.
        origin: where the weights come from, for people: `checkpoint`, `sha256` and what else is known.
        base: mean feature of each base class, where the method reads it.
        words: word vectors of the base classes, where the method reads them.
    """

    cfg: Config
    text: str
    method: Method
    facts: dict[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    origin: dict[str, Any]
    device: torch.device
    base: Features | None = None
    words: Tensor | None = None
    folded: Method = field(init=False, repr=False)  # `Method.for_evaluation`

    def __post_init__(self) -> None:
        object.__setattr__(self, "folded", self.method.for_evaluation())

    @property
    def name(self) -> str:
        """The method and its backbone, for people."""
        return f"{self.method.name} on {self.cfg.BACKBONE.NAME}"

    @property
    def live(self) -> bool:
        """Whether the method reads pixels, which are not worth storing."""
        return "image" in self.method.needs

    @property
    def decoding(self) -> Decoding:
        """How files become pixels."""
        return Decoding(self.image_size)

    def key(self) -> dict[str, Any]:
        """Everything that a photograph's features depend on beside the photograph.

        Methods on one encoder, which is not trained, share it where they read the same of it.
        """
        frozen = frozen_key(self.cfg, self.method, self.device) if not self.cfg.STAGES else None
        key = frozen or encoding_key(self.cfg, self.method, self.origin["sha256"], self.device)
        return key | {"mean": self.mean, "std": self.std, "decoding": self.decoding.describe()}

    def store(self, folder: Path | None) -> FeatureStore:
        """Its features in a folder of features."""
        return FeatureStore(None if self.live else folder, self.key())

    def encoder(self, pixels: Pixels, seeds: Tensor | None = None) -> ImageEncoder:
        """What encodes pixels; `seeds` [n] are those of random crops."""
        cfg = self.cfg
        views = parse_views(cfg.DATASET.VIEWS, cfg.DATASET.PATCH_RATIO) if "parts" in self.method.needs else None
        more = (cfg.EVAL.BATCH, cfg.EVAL.PRECISION == "bf16", views, cfg.DATASET.EVAL_CROP)
        if seeds is None:
            return ImageEncoder(self.folded, pixels, self.image_size, *more)
        return _SeededEncoder(self.folded, pixels, self.image_size, *more, seeds=seeds)

    @torch.no_grad()
    def encode(self, photos: Sequence[Photo], store: FeatureStore) -> Encoded:
        """The features of readable photographs; those that the store knows are not encoded again."""
        absent = {photo.sha256: photo for photo in photos if store.get(photo.sha256) is None}
        bad = self._encode_all(list(absent.values()), store)
        rows = [(photo, store.get(photo.sha256)) for photo in photos]
        good = [photo for photo, row in rows if row is not None]
        table = stacked([row for _, row in rows if row is not None]) if good else {}
        seen = table.pop(LOOK, torch.zeros(0, 32, dtype=torch.uint8)).numpy()
        features = {name: value.to(self.device) for name, value in table.items()}
        return Encoded(good, features, seen, {p.name: bad[p.sha256] for p, row in rows if row is None})

    @torch.no_grad()
    def encode_pixels(self, pixels: np.ndarray, names: Sequence[str], store: FeatureStore) -> Features:
        """Features [n, ...] of images [n, H, W, 3] uint8; a store may know them under their names."""
        absent = [place for place, name in enumerate(names) if store.get(name) is None]
        with progress.bar(len(absent), "images", name="encoding the reference") as bar:
            for start in range(0, len(absent), AT_ONCE):
                chunk = absent[start : start + AT_ONCE]
                chosen = [names[place] for place in chunk]
                store.add(chosen, self._features(pixels[chunk], chosen, _Estimate(0), bar))
        rows = [store.get(name) for name in names]
        return {name: value.to(self.device) for name, value in stacked([row for row in rows if row]).items()}

    def _encode_all(self, photos: list[Photo], store: FeatureStore) -> dict[str, str]:
        """Encode photographs into a store; returns {SHA-256: reason} of those that do not decode."""
        bad: dict[str, str] = {}
        clock, parts = _Estimate(len(photos)), []
        chunks = [photos[start : start + DECODED] for start in range(0, len(photos), DECODED)]
        with progress.bar(len(photos), "photos", name="encoding") as bar, ThreadPoolExecutor(1) as ahead:
            coming = [ahead.submit(self._decoded, chunk) for chunk in chunks[:1]]
            for number in range(len(chunks)):
                names, pixels, seen, failed = coming.pop().result()
                if number + 1 < len(chunks):  # decoded while this one is encoded
                    coming.append(ahead.submit(self._decoded, chunks[number + 1]))
                bad |= failed
                bar.update(len(failed))
                if names:
                    parts.append((names, self._features(pixels, names, clock, bar) | {LOOK: seen}))
                if sum(len(part) for part, _ in parts) >= AT_ONCE:
                    _keep(parts, store)
            _keep(parts, store)
        return bad

    def _decoded(self, photos: list[Photo]) -> tuple[list[str], np.ndarray, Tensor, dict[str, str]]:
        """SHA-256, pixels and looks of the photographs that decode, and {SHA-256: reason} of the others."""
        decoded = decode_all([photo.source for photo in photos], self.decoding)
        bad = {photos[place].sha256: reason for place, reason in decoded.bad.items()}
        good = [place for place in range(len(photos)) if place not in decoded.bad]
        pixels = decoded.pixels[good]
        return [photos[place].sha256 for place in good], pixels, torch.from_numpy(looks(pixels)), bad

    def _features(self, pixels: np.ndarray, names: list[str], clock: _Estimate, bar: Any) -> Features:
        """Features [n, ...] of pixels [n, S, S, 3] uint8 of photographs with these SHA-256."""
        seeds = torch.tensor([random.key("photo", name) for name in names], device=self.device)
        encoder = self.encoder(Pixels(self.as_split(pixels), self.device), seeds)
        parts: list[Features] = []
        with progress.hidden():
            for ids, features in encoder.blocks(torch.arange(len(pixels))):
                parts.append({name: value.cpu() for name, value in features.items()})
                clock.note(len(ids))
                bar.update(len(ids))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def as_split(self, pixels: np.ndarray) -> Split:
        """Pixels [n, S, S, 3] as images of a data set, normalised as this network expects."""
        manifest = {"mean": list(self.mean), "std": list(self.std), "fingerprint": ""}
        labels = np.zeros(len(pixels), np.int64)
        return Split("photos", "test", pixels, labels, ["photo"], [str(i) for i in range(len(pixels))], manifest)

    @torch.no_grad()
    def places(self, features: Features) -> Tensor:
        """One vector [n, D] of length 1 for each photograph, on which nearness is judged."""
        if "vector" in features:
            vectors = features["vector"].flatten(1)
        elif "map" in features:
            vectors = features["map"].mean((2, 3))
        elif "parts" in features:
            vectors = features["parts"].mean(1)
        else:
            blocks = features["image"].split(AT_ONCE)
            vectors = torch.cat([self.folded.backbone(block)["vector"] for block in blocks])
        return torch.nn.functional.normalize(vectors, dim=1)


def _keep(parts: list[tuple[list[str], Features]], store: FeatureStore) -> None:
    """Store what was encoded in parts, and empty the list."""
    if parts:
        names = [name for part, _ in parts for name in part]
        store.add(names, {key: torch.cat([features[key] for _, features in parts]) for key in parts[0][1]})
        parts.clear()


@dataclass(frozen=True)
class _SeededEncoder(ImageEncoder):
    """Its crops follow the content of a photograph, not its number."""

    seeds: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))

    def view_seeds(self, ids: Tensor) -> Tensor:
        """Seeds [n] of the crops of images `ids` [n]."""
        return self.seeds[ids.to(self.seeds.device)]


class _Estimate:
    """Says once how long encoding will take, from its second block: the first one warms up."""

    def __init__(self, photos: int) -> None:
        self._photos, self._blocks, self._start = photos, 0, 0.0

    def note(self, n: int) -> None:
        """A block of n photographs is done."""
        self._blocks += 1
        if self._blocks == 2:
            each = (time.perf_counter() - self._start) / n
            if each * self._photos >= WORTH_A_LINE:
                log.info(
                    "encoding %s photos x %.0f ms = %s",
                    f"{self._photos:,}",
                    1000 * each,
                    progress.duration(each * self._photos),
                )
        self._start = time.perf_counter()
