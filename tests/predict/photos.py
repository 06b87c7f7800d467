"""Photographs drawn for tests, and networks that encode them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from core.build.config import last_stage, load_config
from core.build.networks import make_method
from core.episode import DataInfo
from core.predict.network import PhotoNetwork
from core.predict.photos import Photo, photos_from
from core.predict.supports import make_supports

SIDE = 32
WORDS = 100  # length of the word vectors of the project's own file


def pattern(kind, number=0, side=48):
    """A picture [side, side, 3] whose coarse pattern is its kind's, under noise of its own."""
    base = np.random.default_rng(kind).uniform(30, 225, (4, 4, 3)).repeat(side // 4, 0).repeat(side // 4, 1)
    noise = np.random.default_rng((kind, number, 1)).normal(0, 25, (side, side, 3))
    return (base + noise).clip(0, 255).astype(np.uint8)


def write_photo(path, kind, number=0, **options):
    """Write a picture as the kind of file that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pattern(kind, number)).save(path, **options)
    return path


def write_classes(folder, counts, first=0):
    """A folder of class folders: `counts` is {class name: photographs}."""
    for kind, (name, count) in enumerate(counts.items()):
        for number in range(count):
            write_photo(folder / name / f"{number:02d}.png", kind, first + number)
    return folder


def network(method="ProtoNet", **arguments):
    """An untrained network of 32 px images: the method of its config for Glyphs on a narrow Conv4."""
    overrides = [f"METHOD.ARGS.{name}={value}" for name, value in arguments.items()]
    loaded = load_config(f"configs/Glyphs/{method}_N5K1_C4.yaml", ["BACKBONE.ARGS.width=8", *overrides])
    facts = {"n_base": 8, "image_size": SIDE, "way": 5, "shot": 1, "query": 5, "base_counts": [20] * 8}
    words = torch.randn(8, WORDS, generator=torch.Generator().manual_seed(0))
    made = make_method(loaded.cfg, last_stage(loaded.cfg), DataInfo(**facts, words=lambda: words)).eval()
    encoder = PhotoNetwork(
        cfg=loaded.cfg,
        text=loaded.full(),
        method=made,
        facts=facts,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        image_size=SIDE,
        origin={"checkpoint": "none", "sha256": method},
        device=torch.device("cpu"),
        words=words if "semantics" in made.needs else None,
    )
    if "base" in made.needs:
        features = encoder.encode(drawn(range(100, 108), [0]), encoder.store(None)).features
        encoder = replace(encoder, base=features)
    return encoder


CLASSES = ["apple", "bear", "chair", "dolphin", "elephant", "forest"]  # they have word vectors


def drawn(kinds, numbers):
    """Photographs in memory: one for each kind and number, labelled by the kind."""
    arrays = [pattern(kind, number) for kind in kinds for number in numbers]
    return photos_from(arrays, [CLASSES[kind % len(CLASSES)] for kind in kinds for _ in numbers])


def supports_of(encoder, counts):
    """Encoded supports: `counts` photographs of kind 0, 1, ..."""
    photos: list[Photo] = []
    for kind, count in enumerate(counts):
        photos += drawn([kind], range(count))
    return make_supports(encoder.encode(photos, encoder.store(None)), encoder)
