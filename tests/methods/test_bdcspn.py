"""BD-CSPN against its equations, written as loops over one task in float64."""

import numpy as np
import pytest
import torch

from core.episode import DataInfo
from core.methods.bdcspn import BDCSPN
from tests.methods.small import conv4
from tests.methods.test_transductive import nonnegative_task
from tests.ops.test_rectify import rectified_naively


@pytest.mark.parametrize("classified", ["shifted", "plain"])
def test_card_16_bdcspn_is_the_nearest_rectified_prototype(classified):
    task = nonnegative_task()
    method = BDCSPN(conv4(8), DataInfo(n_base=6, image_size=16), classified=classified)
    logits = method(task)
    centre = task.base["vector"].mean(0)
    for t in range(2):
        support, query = (x["vector"][t] - centre for x in (task.support, task.query))
        support, query = ((x / x.norm(dim=1, keepdim=True)).numpy() for x in (support, query))
        moved = query + support.mean(0) - query.mean(0)
        means = np.stack([support[2 * n : 2 * n + 2].mean(0) for n in range(3)])
        prototypes = rectified_naively(np.concatenate([support, moved]), means, 10.0)
        judged = moved if classified == "shifted" else query
        expected = [[-float(((q - p) ** 2).sum()) for p in prototypes] for q in judged]
        torch.testing.assert_close(logits[t], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-6)
