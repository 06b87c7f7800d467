"""Conv4: sizes from the papers, and its layers in the order of the papers, conditioned or not."""

import pytest
import torch
import torch.nn.functional as F

from core.backbones.conv4 import Conv4
from core.errors import UserError
from tests.backbones.networks import check_features, images, parameters, trained


@pytest.mark.parametrize(
    ("size", "arguments", "count"), [(84, {}, 113_088), (32, {"width": 32}, 28_896), (84, {"widen": 2}, 260_928)]
)
def test_parameter_count(size, arguments, count):
    assert parameters(Conv4(size, "native", **arguments)) == count


@pytest.mark.parametrize(("size", "side"), [(32, 2), (84, 5)])
@pytest.mark.parametrize("vector", ["flatten", "max", "mean", "native"])
def test_feature_sizes(size, side, vector):
    check_features(Conv4(size, vector), size, 64, side, "flatten" if vector == "native" else vector)


def test_widened_and_without_its_last_relu():
    signed = Conv4(84, "native", width=4, widen=3, last_relu=False).eval()
    assert (signed.channels, signed.map_size, signed.vector_dim) == (12, 5, 300)
    plain = Conv4(84, "native", width=4, widen=3).eval()
    plain.load_state_dict(signed.state_dict())
    maps, cut_maps = signed(images(2, 84))["map"], plain(images(2, 84))["map"]
    assert (maps < 0).any()
    assert torch.equal(maps.relu(), cut_maps)


def test_fewer_pools_leave_larger_maps():
    backbone = Conv4(32, "native", pools=3).eval()
    with torch.no_grad():
        assert backbone(images(2, 32))["map"].shape == (2, 64, 4, 4)
    assert backbone.map_size == 4
    with pytest.raises(UserError, match=r"^BACKBONE\.ARGS\.pools is 5, which is not one of: 0, 1, 2, 3, 4\.$"):
        Conv4(32, "native", pools=5)


def test_the_network_of_relationnet():
    """Two unpadded convolutions and two pools: 84 -> 82 -> 41 -> 39 -> 19 -> 19 -> 19."""
    backbone = Conv4(84, "native", width=4, pools=2, unpadded=2).eval()
    with torch.no_grad():
        assert backbone(images(2, 84))["map"].shape == (2, 4, 19, 19)
    assert backbone.map_size == 19
    with pytest.raises(UserError, match="leaves no pixel of it"):
        Conv4(16, "native", unpadded=4)


def test_too_small_an_image_is_one_sentence():
    with pytest.raises(UserError) as caught:
        Conv4(15, "native")
    assert str(caught.value) == (
        "DATASET.SIZE is 15, but BACKBONE.NAME Conv4 halves the image 4 times and needs 16 pixels or more."
    )


def test_norm_batch_keeps_no_statistics():
    backbone = Conv4(16, "native", width=4, norm="batch")
    assert not list(backbone.buffers())
    one, two = images(6, 16), images(6, 16, seed=1)
    with torch.no_grad():
        before = backbone.eval()(one)["vector"]
        backbone.train()(two)
        assert torch.equal(backbone.train()(one)["vector"], before)
        assert torch.equal(backbone.eval()(one)["vector"], before)
        assert not torch.allclose(backbone(torch.cat([one, two]))["vector"][:6], before, atol=1e-3)


@pytest.mark.parametrize("size", [32, 42])
def test_equals_the_papers_order_of_layers(size):
    backbone = trained(Conv4(size, "native", width=8), 8, 3, size, size)
    x = images(3, size)
    for block in backbone.layers[::3]:
        conv, norm = block
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        x = F.max_pool2d(F.relu(x), 2)
    assert torch.allclose(backbone(images(3, size))["map"], x, rtol=0, atol=1e-5)


def test_film_acts_between_batch_norm_and_pooling():
    backbone = trained(Conv4(16, "native", width=4), 8, 3, 16, 16)
    x = images(3, 16)
    film = [(torch.randn(3, 4), torch.randn(3, 4)) for _ in range(4)]
    expected = x
    for (conv, norm), (gain, offset) in zip(backbone.layers[::3], film, strict=True):
        expected = norm(conv(expected)) * gain[..., None, None] + offset[..., None, None]
        expected = F.max_pool2d(F.relu(expected), 2)
    torch.testing.assert_close(backbone(x, film)["map"], expected, rtol=1e-4, atol=1e-5)
