"""ResNet-12: its sizes and its blocks; DropBlock against a loop over seeds, and its bookkeeping."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.resnet12 import DropBlock, Residual, ResNet12
from core.errors import UserError
from tests.backbones.networks import check_features, conv_bn, images, parameters, trained


def test_parameter_count():
    assert parameters(ResNet12(84, "native")) == 12_424_320
    assert ResNet12(84, "native").channels == 640


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("size", "side"), [(32, 2), (84, 5)])
@pytest.mark.parametrize("vector", ["flatten", "max", "mean", "native"])
def test_feature_sizes(size, side, vector):
    check_features(ResNet12(size, vector), size, 40, side, "mean" if vector == "native" else vector)


@pytest.mark.usefixtures("narrow")
def test_fewer_pools_leave_larger_maps():
    backbone = ResNet12(32, "native", pools=3).eval()
    with torch.no_grad():
        assert backbone(images(2, 32))["map"].shape == (2, 40, 4, 4)
    assert backbone.map_size == 4
    with pytest.raises(UserError, match=r"^BACKBONE\.ARGS\.pools is 5, which is not one of: 0, 1, 2, 3, 4\.$"):
        ResNet12(32, "native", pools=5)


def test_too_small_an_image_is_one_sentence():
    with pytest.raises(UserError) as caught:
        ResNet12(15, "native")
    assert str(caught.value) == (
        "DATASET.SIZE is 15, but BACKBONE.NAME ResNet12 halves the image 4 times and needs 16 pixels or more."
    )


@pytest.mark.usefixtures("narrow")
def test_without_the_last_pool_is_the_same_network_before_it():
    whole, larger = trained(ResNet12(32, "native"), 4, 3, 32, 32), ResNet12(32, "native", pools=3).eval()
    larger.load_state_dict(whole.state_dict())
    with torch.no_grad():
        pooled = F.max_pool2d(larger(images(2, 32))["map"], 2)
        torch.testing.assert_close(pooled, whole(images(2, 32))["map"], rtol=1e-5, atol=1e-5)


def test_residual_equals_the_papers_order_of_layers():
    block = trained(Residual(3, 6, nn.Identity(), "running"), 8, 3, 9, 9)
    x = images(4, 9)
    out = F.leaky_relu(conv_bn(x, block.body[0], 1), 0.1)
    out = F.leaky_relu(conv_bn(out, block.body[2], 1), 0.1)
    out = conv_bn(out, block.body[4], 1) + conv_bn(x, block.shortcut, 0)
    expected = F.max_pool2d(F.leaky_relu(out, 0.1), 2)
    assert torch.allclose(block(x), expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("narrow")
def test_drops_elements_then_squares():
    drops = [block.tail[2] for block in ResNet12(32, "native", drop_rate=0.1, drop_size=2, drop_ramp=7).blocks]
    assert [type(drop).__name__ for drop in drops] == ["Dropout", "Dropout", "DropBlock", "DropBlock"]
    assert [drop.p for drop in drops[:2]] == [0.1, 0.1]
    assert [(drop.p, drop.size, drop.ramp) for drop in drops[2:]] == [(0.1, 2, 7)] * 2


def gamma(rate, size, side):
    return rate / size**2 * side**2 / (side - size + 1) ** 2


def ramped(rate, size, ramp=1):
    """At full rate from the first call."""
    return DropBlock(rate, size, ramp).train()


def naive(x, rate, size):
    """Every seed of the interior switches off the square whose upper left corner it is."""
    n, channels, side, _ = x.shape
    interior = side - size + 1
    draws = torch.rand(n, channels, interior, interior)
    kept = torch.ones_like(x)
    for i, c, row, column in itertools.product(range(n), range(channels), range(interior), range(interior)):
        if draws[i, c, row, column] < gamma(rate, size, side):
            kept[i, c, row : row + size, column : column + size] = 0
    return x * kept * kept.numel() / kept.sum()


@pytest.mark.parametrize(("size", "side"), [(1, 4), (2, 4), (2, 2), (5, 10), (5, 5), (3, 7)])
def test_equals_the_loop(size, side):
    x = torch.randn(4, 6, side, side, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    output = ramped(0.3, size)(x)
    torch.manual_seed(3)
    assert torch.allclose(output, naive(x, 0.3, size), rtol=0, atol=1e-6)
    assert (output == 0).any()


def covering(row, size, side):
    """Seeds along one axis whose squares cover a row."""
    return sum(seed <= row < seed + size for seed in range(side - size + 1))


@pytest.mark.parametrize(("size", "side", "expected"), [(5, 5, 0.1), (2, 2, 0.1), (2, 4, None), (5, 10, None)])
def test_share_of_kept_elements_at_full_rate(size, side, expected):
    torch.manual_seed(0)
    output = ramped(0.1, size)(torch.ones(500, 64, side, side))
    dropped = (output == 0).double().mean().item()
    if expected is None:
        g = gamma(0.1, size, side)
        cells = itertools.product(range(side), repeat=2)
        kept = sum((1 - g) ** (covering(r, size, side) * covering(c, size, side)) for r, c in cells) / side**2
        expected = 1 - kept
        assert 0.05 < expected < 0.1
    assert dropped == pytest.approx(expected, abs=0.01)
    assert output.mean().item() == pytest.approx(1, abs=1e-4)


def test_gamma_of_the_papers_maps():
    assert gamma(0.1, 2, 4) == pytest.approx(0.0444, abs=5e-5)
    assert gamma(0.1, 2, 2) == pytest.approx(0.1)
    assert gamma(0.1, 5, 5) == pytest.approx(0.1)


def test_channels_and_images_drop_for_themselves():
    torch.manual_seed(0)
    output = ramped(0.5, 2)(torch.ones(20, 20, 2, 2))
    dropped = (output == 0).flatten(2)
    assert torch.equal(dropped.any(2), dropped.all(2))
    assert 120 < dropped.any(2).sum() < 280
    assert (dropped.any(2).sum(0) > 0).all()
    assert (dropped.any(2).sum(1) > 0).all()


def test_rate_rises_linearly_with_training_calls():
    layer, x = DropBlock(0.4, 1, 4).train(), torch.ones(100, 100, 3, 3)
    torch.manual_seed(0)
    dropped = [(layer(x) == 0).double().mean().item() for _ in range(6)]
    assert dropped == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4], abs=0.01)


def test_counter_is_saved_and_counts_training_calls_only():
    layer, x = DropBlock(0.1, 2, 10), torch.ones(1, 1, 4, 4)
    for _ in range(3):
        layer.train()(x)
        layer.eval()(x)
    assert layer.state_dict()["calls"] == 3
    restored = DropBlock(0.1, 2, 10)
    restored.load_state_dict(layer.state_dict())
    assert restored.calls == 3
    names = ResNet12(32, "native", drop_rate=0.1).state_dict().keys()
    assert sum(name.endswith(".calls") for name in names) == 2


def test_counter_does_not_depend_on_the_number_of_images():
    layer = DropBlock(0.1, 2, 10).train()
    layer(torch.ones(50, 1, 4, 4))
    assert layer.calls == 1


def test_evaluation_is_the_identity():
    layer, x = ramped(0.9, 2).eval(), torch.randn(3, 2, 4, 4)
    assert layer(x) is x


@pytest.mark.parametrize("rate", [0.002, 0.1])
def test_bfloat16_is_rescaled_in_float32(rate):
    x = torch.randn(64, 64, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    torch.manual_seed(3)
    output = ramped(rate, 2)(x)
    torch.manual_seed(3)
    assert torch.equal(output, ramped(rate, 2)(x.float()).bfloat16())
    assert not torch.equal(output, torch.where(output == 0, output, x))


def test_rate_0_is_the_identity_without_random_numbers():
    layer, x = ramped(0.0, 2), torch.randn(3, 2, 4, 4)
    state = torch.get_rng_state()
    assert layer(x) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_square_larger_than_the_map_acts_as_the_map():
    x = torch.ones(200, 10, 2, 2)
    torch.manual_seed(0)
    larger = ramped(0.3, 5)(x)
    torch.manual_seed(0)
    assert torch.equal(larger, ramped(0.3, 2)(x))
    dropped = (larger == 0).flatten(2)
    assert torch.equal(dropped.any(2), dropped.all(2))


def test_everything_dropped_is_zero_not_nan():
    assert torch.equal(ramped(1.0, 2)(torch.ones(1, 1, 2, 2)), torch.zeros(1, 1, 2, 2))
