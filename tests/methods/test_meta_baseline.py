"""Meta-Baseline against its equation, and its learned scale."""

import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.methods.meta_baseline import MetaBaseline
from tests.helpers import make_task
from tests.methods.small import conv4, vectors

INFO = DataInfo(n_base=6, image_size=16)


def test_meta_baseline_learns_its_temperature():
    method = MetaBaseline(conv4(8), INFO, scale=10.0)
    task = make_task({"vector": vectors(1, 4, 8)}, {"vector": vectors(1, 4, 8, seed=1)}, 2, 2)
    means = task.support["vector"].view(2, 2, 8).mean(1)
    expected = 10 * F.cosine_similarity(task.query["vector"][0][:, None], means[None], dim=2)
    torch.testing.assert_close(method(task)[0], expected)
    method.loss(task).value.backward()
    assert method.scale.grad.abs() > 0
