"""Every registered method, built from its Glyphs config, small enough to test in seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from core.build.builder import Builder
from core.data.loaders import Augmentation, EpisodeStream, TaskBuilder
from core.data.views import Views
from core.engine.features import Encoder
from core.episode import Task
from core.make import load_config
from core.methods.base import Method

SMALL = ["BACKBONE.ARGS.width=16", "TASK.TRAIN.WAY=5", "TASK.TRAIN.QUERY=4", "TASK.TEST.QUERY=4"]


@pytest.fixture(scope="session")
def built(glyphs):
    """Builders of methods by name and overrides; the config is the method's own for Glyphs."""

    def build(name: str, *overrides: str) -> Builder:
        config = f"configs/Glyphs/{name}_N5K1_C4.yaml"
        cfg = load_config(config, [f"DATASET.ROOT={glyphs}", *SMALL, *overrides]).cfg
        return Builder(cfg, torch.device("cpu"))

    return build


def crops_for(builder: Builder, method: Method) -> Views | None:
    """The crops a method asks for."""
    return builder.views if "parts" in method.needs else None


@pytest.fixture
def task_of():
    """T encoded val tasks of a builder, as the evaluator makes them."""

    def make(builder: Builder, method: Method, tasks: int = 3) -> Task:
        sampler = builder.sampler("val", seed=5)
        task_builder = TaskBuilder(builder.split("val"), sampler, builder.device, 0, "semantics" in method.needs)
        if "base" in method.needs:
            train = builder.split("train")
            labels = torch.from_numpy(train.labels)
            encoder = Encoder(
                method.eval(), builder.pixels("train"), builder.image_size, views=crops_for(builder, method)
            )
            with torch.no_grad():
                task_builder.base = encoder.class_means(labels)
        stream = EpisodeStream(
            builder.pixels("val"), task_builder, tasks, Augmentation([], 0, crops_for(builder, method))
        )
        method.eval()
        with torch.no_grad():
            return replace(stream.at(0, 1.0), progress=1.0).encoded(method.encode)

    return make
