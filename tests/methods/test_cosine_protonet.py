"""Cosine to the class mean, with a fixed and with a learned scale."""

import numpy as np
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.methods.cosine_protonet import CosineProtoNet
from core.methods.meta_baseline import MetaBaseline
from tests.methods.small import conv4, task_of

INFO = DataInfo(n_base=6, image_size=16)


def test_cosine_protonet():
    task = task_of(6)
    logits = CosineProtoNet(conv4(), INFO)(task)
    for t, q, n in np.ndindex(*logits.shape):
        mean = task.support["vector"][t, 2 * n : 2 * n + 2].mean(0)
        expected = 32 * F.cosine_similarity(task.query["vector"][t, q], mean, dim=0)
        assert torch.allclose(logits[t, q, n], expected)
    learned = MetaBaseline(conv4(), INFO, scale=32.0)
    assert torch.allclose(learned(task), logits)
    assert dict(learned.named_parameters())["scale"] is learned.scale
    assert not any(name == "scale" for name, _ in CosineProtoNet(conv4(), INFO).named_parameters())
