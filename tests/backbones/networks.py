"""Images, and networks whose batch-norms have seen some."""

import torch
import torch.nn.functional as F
from torch import nn


def images(n, size, seed=0):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def trained(module, *shape, calls=3):
    """Random affine parameters, and running statistics from a few training calls."""
    torch.manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.3)
    module.train()
    with torch.no_grad():
        for _ in range(calls):
            module(torch.randn(*shape) * 2 + 1)
    return module.eval()


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def conv_bn(x, pair, padding, stride=1):
    """A convolution without bias and its batch-norm in evaluation, written out."""
    conv, norm = pair
    assert conv.bias is None
    x = F.conv2d(x, conv.weight, padding=padding, stride=stride)
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def check_features(backbone, size, channels, side, kind):
    """Shapes of map and vector, and that the vector is what its kind says: flatten, max or mean."""
    backbone = backbone.eval()
    with torch.no_grad():
        features = backbone(images(2, size))
    maps = features["map"]
    assert maps.shape == (2, channels, side, side)
    assert (backbone.channels, backbone.map_size) == (channels, side)
    vectors = {"flatten": maps.flatten(1), "mean": maps.mean((2, 3)), "max": maps.flatten(2).max(2).values}
    assert torch.equal(features["vector"], vectors[kind])
    assert features["vector"].shape == (2, backbone.vector_dim)
    assert backbone.vector_dim == (channels * side**2 if kind == "flatten" else channels)
