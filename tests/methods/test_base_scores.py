"""Scores of base classes stand beside those of a task's classes: where classes lie far apart, both are told apart."""

import pytest
import torch

from core.backbones.features import Features
from core.build.config import schemas
from core.episode import DataInfo, Task
from core.registry import METHODS

BASE, NOVEL, SIZE = 12, 5, 32
CENTRES = (torch.randn(BASE + NOVEL, SIZE, generator=torch.Generator().manual_seed(3)) * 2 + 3).clamp(min=0)


def images(classes, count, draw):
    """Features of so many images of each class, class by class."""
    noise = torch.randn(len(classes), count, SIZE, generator=draw)
    return (CENTRES[classes][:, None] + 0.7 * noise).clamp(min=0)


def task(shot, tasks=4, queries=6):
    """Tasks whose queries are images of novel, then of base classes, and the labels of all, novel ones first."""
    draw = torch.Generator().manual_seed(shot)
    novel, base = torch.arange(BASE, BASE + NOVEL), torch.arange(BASE)
    support = torch.stack([images(novel, shot, draw).flatten(0, 1) for _ in range(tasks)])
    query = torch.stack([images(torch.cat([novel, base]), queries, draw).flatten(0, 1) for _ in range(tasks)])
    labels = torch.arange(NOVEL).repeat_interleave(shot).expand(tasks, -1)
    joint = torch.arange(NOVEL + BASE).repeat_interleave(queries).expand(tasks, -1)
    means = {"vector": images(base, 50, draw).mean(1)}
    shape = {"way": NOVEL, "shot": shot, "class_ids": novel.expand(tasks, -1), "seed": torch.arange(tasks)}
    return Task({"vector": support}, labels, {"vector": query}, joint, base=means, **shape), joint


def test_heads_that_adapt_to_a_task_alone_do_not_claim_it():
    schemas()
    claims = {
        name: METHODS[name].scores_base
        for name in (
            *("SimpleShot", "RFS", "STLDeepBDC", "TipAdapter", "TIM", "PT-MAP"),
            *("R2D2", "LR-D2", "Ridge", "MetaOptNet-RR", "MetaOptNet-SVM"),
        )
    }
    assert [name for name, claim in claims.items() if claim] == ["SimpleShot"]


@pytest.mark.parametrize("name", ["SimpleShot", "ProtoNet", "CosineProtoNet", "MetaBaseline"])
@pytest.mark.parametrize("shot", [1, 5])
def test_base_and_novel_classes_are_told_apart_together(name, shot):
    schemas()
    info = DataInfo(BASE, 0, NOVEL, shot, 6, features=SIZE, base_counts=[50] * BASE)
    method = METHODS[name](Features(SIZE, "native"), info).eval()
    episode, labels = task(shot)
    with torch.no_grad():
        scores = torch.cat([method(episode), method.base_logits(episode)], dim=-1)
    right = scores.argmax(-1) == labels
    assert right[labels < NOVEL].float().mean() > 0.9
    assert right[labels >= NOVEL].float().mean() > 0.9
