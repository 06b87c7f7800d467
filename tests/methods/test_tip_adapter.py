"""Card 17 of the specifications: the cache of supports without text, and its limits."""

import math

import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.methods.tip_adapter import TipAdapter
from tests.methods.small import conv4, drawn, shapes, task_of

INFO = DataInfo(n_base=5, image_size=16)


def cosines(task):
    q, s = (F.normalize(part["vector"], dim=-1) for part in (task.query, task.support))
    return q @ s.transpose(1, 2)


@shapes()
def test_card_17_a_large_beta_is_the_nearest_support_and_a_small_one_the_mean_cosine(counts):
    task = task_of(6, counts=counts, tasks=1 if counts else 2)
    of_classes = cosines(task).split(counts or [2, 2, 2], dim=2)
    nearest = torch.stack([c.amax(2) for c in of_classes], 2)
    sharp = TipAdapter(conv4(), INFO, beta=1e4)(task)
    torch.testing.assert_close(sharp / 1e4 + 1, nearest, rtol=0, atol=1e-3)
    average = torch.stack([c.mean(2) for c in of_classes], 2)
    flat = TipAdapter(conv4(), INFO, beta=1e-4)(task)
    slope = (flat - math.log(max(counts or [2]))) / 1e-4 + 1
    torch.testing.assert_close(slope, average, rtol=0, atol=1e-3)


def test_keys_are_means_of_augmented_copies():
    task = task_of(6)
    copies = drawn(2, 6, 4, 6, seed=5)
    task.support["parts"] = copies
    method = TipAdapter(conv4(), INFO, augmented=True)
    assert (method.needs, method.train_needs) == (("vector", "parts"), ("vector",))
    plain = task_of(6)
    plain.support["vector"] = copies.mean(2)
    torch.testing.assert_close(method(task), TipAdapter(conv4(), INFO)(plain))
