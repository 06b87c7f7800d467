"""Every network that a YAML describes is built, and takes a training step and an evaluation, on narrow backbones."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from core.build.data import training_shapes
from core.build.networks import make_method
from core.data.views import parse_views
from core.episode import Batch, Features, Task
from tests.configs.leaves import LENGTH, SIDE, distinct, info, leaves, loaded, narrowed
from tests.narrow import narrow_resnets


def test_every_network_is_built():
    configs = distinct({leaf: loaded(leaf).cfg for leaf in leaves()}, floats=True)
    assert len(configs) > 130
    errors = []
    for leaf, cfg in configs.items():
        with noted(errors, leaf):
            for stage in cfg.STAGES or [""]:
                with torch.device("meta"):
                    method = make_method(cfg, stage, info(cfg))
                assert sum(p.numel() for p in method.parameters()) > 0
    report(errors)


@pytest.mark.timeout(600)
def test_one_step_of_every_network_runs(monkeypatch):
    narrow_resnets(monkeypatch)
    configs = distinct({leaf: narrowed(loaded(leaf).cfg) for leaf in leaves()}, floats=False)
    assert len(configs) > 80
    errors = []
    for leaf, cfg in configs.items():
        with noted(errors, leaf):
            train_and_evaluate(cfg)
    report(errors)


@contextmanager
def noted(errors, leaf):
    """Keep an error and the leaf it belongs to, so that the others are tried too."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in configs/{leaf}")
        errors.append(error)


def report(errors):
    if errors:
        raise ExceptionGroup(f"{len(errors)} networks fail", errors)


def train_and_evaluate(cfg):
    """One training step of every stage and the logits of one episode."""
    task = task_of(cfg)
    batch = Batch(pixels(cfg, 4), torch.tensor([0, 3, 5, 7]), semantics=torch.eye(8)[:, :6] + 1)
    for stage in cfg.STAGES:
        method = make_method(cfg, stage, info(cfg, way=2))
        items = {"episodes": [task], "batches": [batch], "both": [task, batch]}[cfg.STAGE[stage].STREAM]
        loss = sum(method.loss(item.encoded(method.encode)).value for item in items)
        loss.backward()
        assert loss.isfinite()
        with torch.no_grad():
            method.eval()
            encoded = replace(task.encoded(method.encode), base=method.encode(pixels(cfg, 8)))
            assert method(encoded).shape == (1, 2, 2)


def pixels(cfg, *leading: int) -> Features:
    """Random images, or features, and two crops of each image where the configuration asks for crops."""
    views = parse_views(cfg.DATASET.VIEWS, cfg.DATASET.PATCH_RATIO)
    image = [LENGTH] if cfg.BACKBONE.NAME == "Features" else [3, SIDE, SIDE]
    inputs = {"image": torch.randn(*leading, *image)}
    return inputs | ({"crops": torch.randn(*leading, 2, *image)} if views else {})


def task_of(cfg) -> Task:
    shot, labels = training_shapes(cfg)[0].shot, torch.arange(2)
    return Task(
        support=pixels(cfg, 1, 2 * shot),
        support_y=labels.repeat_interleave(shot)[None],
        query=pixels(cfg, 1, 2),
        query_y=labels[None],
        way=2,
        shot=shot,
        class_ids=labels[None],
        seed=torch.zeros(1, dtype=torch.long),
        semantics=torch.eye(2, 6)[None] + 1,
    )
