"""What the evaluator hands to methods that ask for more than features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.backbones.conv4 import Conv4
from core.build.data import open_split
from core.data.episodes import EpisodeSampler, Shape
from core.data.pixels import Pixels
from core.engine.evaluator import Evaluator
from core.episode import DataInfo
from core.errors import UserError
from core.methods.protonet import ProtoNet


class Asks(ProtoNet):
    """Keeps the task it was given."""

    needs = ("vector", "semantics", "base")

    def forward(self, task):
        Asks.seen = task
        return super().forward(task)


def test_a_rehearsal_encodes_one_image_of_each_base_class(glyphs, monkeypatch):
    cpu = torch.device("cpu")
    train, val = (open_split(glyphs, "Glyphs", name) for name in ("train", "val"))
    base, words = (train, Pixels(train, cpu)), torch.from_numpy(val.vectors)
    encoded, gather = set(), Pixels.gather

    def noted(pixels, ids, *more, **options):
        encoded.update(ids.tolist() if pixels is base[1] else ())
        return gather(pixels, ids, *more, **options)

    monkeypatch.setattr(Pixels, "gather", noted)
    method = Asks(Conv4(32, "native", width=4), DataInfo(len(train.classes), 32)).eval()
    sampler = EpisodeSampler(val, Shape(5, 1, 2), 0)
    Evaluator(val, sampler, Pixels(val, cpu), base=lambda: base, words=lambda: words).rehearse(method)
    assert encoded == {int(np.flatnonzero(train.labels == c)[0]) for c in range(len(train.classes))}


def test_word_vectors_and_base_means_arrive(glyphs):
    cpu = torch.device("cpu")
    train, val = (open_split(glyphs, "Glyphs", name) for name in ("train", "val"))
    method = Asks(Conv4(32, "native", width=4), DataInfo(len(train.classes), 32)).eval()
    sampler = EpisodeSampler(val, Shape(5, 1, 2), 0)
    base, words = (train, Pixels(train, cpu)), torch.from_numpy(val.vectors)
    evaluator = Evaluator(
        val, sampler, Pixels(val, cpu), base=lambda: base, words=lambda: words, first_class=len(train.classes)
    )
    evaluator.run(method, 3)
    task = Asks.seen

    assert torch.equal(task.semantics, words[task.class_ids - len(train.classes)])
    with torch.no_grad():
        of_class_7 = method.encode({"image": base[1].gather(torch.from_numpy(np.flatnonzero(train.labels == 7)))})[
            "vector"
        ]
    torch.testing.assert_close(task.base["vector"][7], of_class_7.double().mean(0).float(), rtol=1e-4, atol=1e-5)
    assert len(task.base["vector"]) == len(train.classes)


def test_a_method_is_not_told_the_labels_of_queries(glyphs):
    """One that reads them would score 100 % on validation and at test."""
    val = open_split(glyphs, "Glyphs", "val")
    method = Asks(Conv4(32, "native", width=4), DataInfo(6, 32)).eval()
    method.needs = ("vector",)
    evaluator = Evaluator(val, EpisodeSampler(val, Shape(5, 1, 2), 0), Pixels(val, torch.device("cpu")))
    evaluation = evaluator.run(method, 3)
    assert Asks.seen.query_y.tolist() == [[-1] * 10] * 3
    assert evaluation.correct.sum() > 0


class OneTooMany(ProtoNet):
    def forward(self, task):
        logits = super().forward(task)
        return torch.cat([logits, logits[..., :1] - 1], dim=-1)


def test_logits_of_another_number_of_classes_are_refused(glyphs):
    val = open_split(glyphs, "Glyphs", "val")
    method = OneTooMany(Conv4(32, "native", width=4), DataInfo(6, 32))
    evaluator = Evaluator(val, EpisodeSampler(val, Shape(5, 1, 2), 0), Pixels(val, torch.device("cpu")))
    with pytest.raises(
        UserError, match=r"^The method OneTooMany returns logits of shape \[3, 10, 6\], but must return"
    ):
        evaluator.run(method, 3)
