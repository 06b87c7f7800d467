"""CovaMNet against loops over local descriptors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.episode import DataInfo
from core.errors import UserError
from core.methods.covamnet import CovaMNet
from tests.methods.small import conv4, descriptors_of, shapes, task_of

INFO = DataInfo(n_base=6, image_size=16)


@shapes()
def test_covamnet(counts):
    method = CovaMNet(conv4(pools=2), INFO).double().eval()
    nn.init.normal_(method.weight)
    task = task_of(6, 4, 4, counts=counts, tasks=1 if counts else 2, name="map")
    logits = method(task)
    for t, q, n in np.ndindex(*logits.shape):
        mine = task.support["map"][t, task.support_y[t] == n]
        pool = np.array([y.numpy() for image in mine for y in descriptors_of(image)])
        covariance = torch.from_numpy(np.cov(pool, rowvar=False))
        image = task.query["map"][t, q]
        image = image / image.square().sum((1, 2), keepdim=True).sqrt()
        metric = torch.stack([x @ covariance @ x for x in descriptors_of(image)])
        assert torch.allclose(logits[t, q, n], (F.leaky_relu(metric, 0.2) * method.weight).sum(), atol=1e-10)


def test_covamnet_drops_positions_in_training_only():
    task = task_of(6, 4, 4, name="map")
    method = CovaMNet(conv4(pools=2), INFO, dropout=0.5).double()
    assert torch.equal(method.eval()(task), method(task))
    assert not torch.equal(method.train()(task), method(task))


def test_covamnet_refuses_a_map_of_one_position():
    with pytest.raises(UserError, match=r"^METHOD\.NAME is CovaMNet, but the backbone's map has a single position"):
        CovaMNet(conv4(), INFO)
