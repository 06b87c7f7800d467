"""Card 11, CAML: an inner loop on a network that a metric network conditions."""

import pytest
import torch
import torch.nn.functional as F

from core.backbones.resnet12 import ResNet12
from core.errors import UserError
from core.methods.baseline import Baseline
from core.methods.caml import CAML
from core.methods.maml import MAML
from tests.methods.inner import INFO, build, pixels, slope
from tests.methods.small import conv4, drawn


def caml(**options):
    return build(CAML, conv4(4, norm="batch"), inner_lr=0.25, **options).train()


def randomised(**options):
    method = caml(**options)
    with torch.no_grad():
        for number, p in enumerate(method.condition.parameters()):
            p.copy_(0.2 * drawn(*p.shape, seed=number))
    return method


def test_card_11_without_a_condition_it_is_maml():
    task = pixels(size=16)
    method, expected = caml(steps=2), build(MAML, conv4(4, norm="batch"), inner_lr=0.25, steps=2).train()
    expected.load_state_dict({n: v for n, v in method.state_dict().items() if n.startswith(("backbone", "head"))})
    torch.testing.assert_close(method(task), expected(task), rtol=0, atol=1e-12)
    method.loss(task).value.backward()
    expected.loss(task).value.backward()
    for name, p in expected.named_parameters():
        torch.testing.assert_close(method.get_parameter(name).grad, p.grad, rtol=0, atol=1e-12)
    assert method.condition[0].weight.grad.abs().sum() > 0


def test_every_image_conditions_its_own_maps():
    method, images = randomised(), drawn(5, 3, 16, 16)
    place = method.metric(images)["vector"]
    x = images
    for block, layer in zip(range(0, 12, 3), method.condition, strict=True):
        gain, offset = (place @ layer.weight.T + layer.bias)[..., None, None].chunk(2, dim=1)
        x = method.backbone.layers[block](x)
        x = F.relu(F.max_pool2d((1 + gain) * x + offset, 2))
    expected = method.head(x.mean((2, 3)))
    torch.testing.assert_close(method.run(method.network(), images), expected, rtol=0, atol=1e-12)


def test_the_gradient_of_the_condition_is_second_order():
    method, task = randomised(steps=2), pixels(size=16)
    method.loss(task).value.backward()
    for number, p in enumerate(method.condition.parameters()):
        direction = drawn(*p.shape, seed=number + 5)
        expected = slope(method, lambda: method.loss(task).value, p, direction, epsilon=1e-6)
        assert float((p.grad * direction).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_the_metric_network_comes_from_the_stage_before_and_stays():
    torch.manual_seed(5)
    base, method = Baseline(conv4(4, seed=5, norm="batch"), INFO).double(), caml()
    weight = method.backbone.layers[0][0].weight.clone()
    assert "as metric network: 16 matched, 0 missing" in method.start_from(base)
    images = drawn(3, 3, 16, 16)
    assert torch.equal(method.metric(images)["vector"], base.backbone(images)["vector"])
    assert torch.equal(method.backbone.layers[0][0].weight, weight)
    method.loss(pixels(size=16)).value.backward()
    assert not any(p.requires_grad for p in method.metric.parameters())
    assert not any(name.startswith("metric") for name in method.network())


def test_a_backbone_must_take_conditions():
    with pytest.raises(
        UserError,
        match=r"^METHOD\.NAME is CAML, which changes .* ResNet12 has no place for that; choose ResNet12T or Conv4\.$",
    ):
        CAML(ResNet12(16, "native", norm="batch"), INFO)
