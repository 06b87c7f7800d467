"""Every registered method, built from its Glyphs config, small enough to test in seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from core.build.config import load_config
from core.build.data import Data, episode_sampler
from core.data.loaders import Augmentation, EpisodeStream, TaskBuilder
from core.data.views import Views
from core.engine.features import ImageEncoder
from core.episode import Task
from core.methods.base import Method

SMALL = ["BACKBONE.ARGS.width=16", "TASK.TRAIN.WAY=5", "TASK.TRAIN.QUERY=4", "TASK.TEST.QUERY=4"]


@pytest.fixture(scope="session")
def built(glyphs):
    """The data of a method's own config for Glyphs, with overrides."""

    def build(config: str, *overrides: str) -> Data:
        cfg = load_config(config, [f"DATASET.ROOT={glyphs}", *SMALL, *overrides]).cfg
        return Data(cfg, torch.device("cpu"))

    return build


def crops_for(builder: Data, method: Method) -> Views | None:
    """The crops a method asks for."""
    return builder.views if "parts" in method.needs else None


@pytest.fixture(scope="session")
def task_of():
    """T encoded val tasks of a builder, as the evaluator makes them."""

    def make(builder: Data, method: Method, tasks: int = 3) -> Task:
        sampler = episode_sampler(builder, "val", seed=5)
        words, base = builder.words("val") if "semantics" in method.needs else None, None
        if "base" in method.needs:
            labels = torch.from_numpy(builder.split("train").labels)
            encoder = ImageEncoder(
                method.eval(), builder.pixels("train"), builder.image_size, views=crops_for(builder, method)
            )
            with torch.no_grad():
                base = encoder.class_means(labels)
        task_builder = TaskBuilder(sampler.shape, builder.device, words=words, base=base)
        augmentation = Augmentation([], 0, crops_for(builder, method))
        stream = EpisodeStream(builder.pixels("val"), sampler, task_builder, tasks, augmentation)
        method.eval()
        with torch.no_grad():
            return replace(stream.at(0, 1.0), progress=1.0).encoded(method.encode)

    return make
