"""Features: stored vectors pass as they are, or through a learned layer."""

import torch
import torch.nn.functional as F

from core.backbones.features import Features


def test_stored_features_pass_unchanged():
    vectors = torch.randn(4, 7)
    backbone = Features(7, "native").eval()
    assert backbone.vector_dim == 7
    assert torch.equal(backbone(vectors)["vector"], vectors)
    wide = Features(7, "native", width=3, dropout=0.5).eval()
    linear = wide.layers[1]
    assert wide.vector_dim == 3
    assert torch.equal(wide(vectors)["vector"], F.linear(vectors, linear.weight, linear.bias))
    assert not torch.equal(wide.train()(vectors)["vector"], wide.eval()(vectors)["vector"])
