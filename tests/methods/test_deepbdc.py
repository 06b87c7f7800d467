"""DeepBDC: what is compared, what is cached, memory, generations."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from core.backbones.conv4 import Conv4
from core.backbones.resnet12 import ResNet12
from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods import deepbdc
from core.methods.deepbdc import BDCPooling, MetaDeepBDC, STLDeepBDC
from core.ops.bdc import bdc_vectors
from core.ops.logistic import fit_logistic
from tests.helpers import make_task

INFO, WIDTH = DataInfo(5, 16), 6


def conv4(seed=0):
    torch.manual_seed(seed)
    return Conv4(16, "native", width=WIDTH, pools=3)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def task_of(shot, tasks=2, counts=None):
    n_support = sum(counts) if counts else 3 * shot
    support, query = drawn(tasks, n_support, WIDTH, 2, 2), drawn(tasks, 6, WIDTH, 2, 2, seed=1)
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts or [shot] * 3)).expand(tasks, -1)
    return make_task({"map": support}, {"map": query}, 3, None if counts else shot, labels)


def vectors(method, maps):
    return bdc_vectors(maps.flatten(0, 1), method.pooling.log_scale).unflatten(0, maps.shape[:2])


@pytest.mark.parametrize(("reduce", "width"), [(0, 205_120), (640, 205_120), (128, 8_256)])
def test_lengths_of_the_vectors(reduce, width):
    with torch.device("meta"):
        pooling = BDCPooling(ResNet12(84, "native", pools=3), reduce)
    assert pooling.width == width
    assert sum(p.numel() for p in pooling.parameters()) == (1 if reduce in (0, 640) else 640 * 128 + 2 * 128 + 1)


def test_the_scale_starts_at_one_by_two_hw():
    assert BDCPooling(conv4(), 0).log_scale.exp().item() == pytest.approx(1 / (2 * 4))


@pytest.mark.parametrize("kind", [STLDeepBDC, MetaDeepBDC])
def test_features_are_reduced_maps(kind):
    method, images = kind(conv4(), INFO, reduce=3).eval(), torch.randn(2, 4, 3, 16, 16)
    with torch.no_grad():
        features = method.encode({"image": images})
        conv, norm = method.pooling.reduction[0]
        maps = method.backbone(images.flatten(0, 1))["map"]
        expected = F.relu(norm(F.conv2d(maps, conv.weight)))
    assert features.keys() == {"map"}
    assert features["map"].shape == (2, 4, 3, 2, 2)
    torch.testing.assert_close(features["map"].flatten(0, 1), expected)


def test_meta_compares_by_inner_products_at_one_shot():
    method, task = MetaDeepBDC(conv4(), INFO).double().eval(), task_of(1)
    support, query = vectors(method, task.support["map"]), vectors(method, task.query["map"])
    expected = torch.stack([torch.stack([(q * s).sum(-1) for s in support.unbind(1)], -1) for q in query.unbind(1)], 1)
    assert torch.allclose(method(task), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("counts", [None, [1, 3, 2]])
def test_meta_compares_by_distances_at_more_shots(counts):
    method, task = MetaDeepBDC(conv4(), INFO).double().eval(), task_of(3, counts=counts)
    support, query = vectors(method, task.support["map"]), vectors(method, task.query["map"])
    means = torch.stack([support[:, task.support_y[0] == n].mean(1) for n in range(3)], 1)
    expected = -(query[:, :, None] - means[:, None]).square().sum(-1)
    assert torch.allclose(method(task), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shot", [1, 3])
def test_base_classes_are_scored_like_the_others(shot):
    task, means = task_of(shot), drawn(5, WIDTH, 2, 2, seed=2)
    meta = MetaDeepBDC(conv4(), INFO).double().eval()
    object.__setattr__(task, "base", {"map": means})
    query, rows = vectors(meta, task.query["map"]), vectors(meta, means[None])[0]
    expected = query @ rows.T if shot == 1 else -(query[:, :, None] - rows).square().sum(-1)
    assert torch.allclose(meta.base_logits(task), expected, rtol=0, atol=1e-11)
    stl = STLDeepBDC(conv4(), INFO).double().eval()
    expected = stl.classifier(vectors(stl, task.query["map"]))
    assert torch.allclose(stl.base_logits(task), expected, rtol=0, atol=1e-12)


def test_stl_regresses_on_normalised_vectors():
    method, task = STLDeepBDC(conv4(), INFO, inverse_penalty=2.0).double().eval(), task_of(2)
    support, query = (F.normalize(vectors(method, side["map"]), dim=-1) for side in (task.support, task.query))
    expected = fit_logistic(support, task.support_y, 3, 2.0).logits(query)
    assert torch.allclose(method(task), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [STLDeepBDC, MetaDeepBDC])
@pytest.mark.parametrize("shot", [1, 2])
def test_tasks_in_parts_give_the_same(kind, shot, monkeypatch):
    method, task = kind(conv4(), INFO).double().eval(), task_of(shot, tasks=5)
    expected = method(task)
    monkeypatch.setattr(deepbdc, "AT_ONCE", 2 * (3 * shot + 6) * method.pooling.width)
    seen = []
    real = method.pooling.forward
    monkeypatch.setattr(method.pooling, "forward", lambda maps: seen.append(len(maps)) or real(maps))
    assert torch.allclose(method(task), expected, rtol=0, atol=1e-12)
    assert max(seen) == 2


def test_dropout_is_before_the_classifier_in_training_only():
    method = STLDeepBDC(conv4(), INFO, dropout=0.9).double()
    batch = Batch({"map": drawn(4, WIDTH, 2, 2)}, torch.tensor([0, 1, 2, 3]))
    vector = bdc_vectors(batch.inputs["map"], method.pooling.log_scale)
    assert torch.equal(method.eval().batch_logits(batch), method.classifier(vector))
    assert not torch.allclose(method.train().batch_logits(batch), method.classifier(vector))
    assert not method.classifier.bias.any()


def test_the_scale_has_a_learning_rate_of_its_own():
    method = STLDeepBDC(conv4(), INFO, scale_factor=0.02)
    others, scale = method.param_groups(0.05)
    assert scale["params"] == [method.pooling.log_scale]
    assert scale["lr"] == pytest.approx(1e-3)
    assert len(others["params"]) + 1 == len(list(method.parameters()))


def test_a_generation_learns_from_the_one_before():
    first, second, third = (STLDeepBDC(conv4(seed), INFO, reduce=3, dropout=0.0) for seed in range(3))
    second.start_from(first)
    kept = copy.deepcopy(second.state_dict())
    third.start_from(second)
    (teacher,) = third._teacher
    assert all(torch.equal(value, kept[name]) for name, value in teacher.state_dict().items())
    assert teacher._teacher == []
    assert third.state_dict().keys() == first.state_dict().keys()
    images = torch.randn(4, 3, 16, 16)
    batch = Batch({"image": images}, torch.tensor([0, 1, 2, 3])).encoded(third.train().encode)
    logits = third.batch_logits(batch)
    with torch.no_grad():
        taught = teacher.batch_logits(Batch(teacher.encode({"image": images}), batch.labels))
    p, q = (x.div(4.0).softmax(1).double() for x in (taught, logits))
    expected = 0.5 * F.cross_entropy(logits, batch.labels) + 0.5 * 16 * (p * (p / q).log()).sum(1).mean()
    assert math.isclose(third.loss(batch).value.item(), expected.item(), abs_tol=1e-5)


def test_meta_takes_backbone_and_pooling_of_the_classifier():
    base, method = STLDeepBDC(conv4(1), INFO, reduce=3), MetaDeepBDC(conv4(2), INFO, reduce=3)
    base.pooling.log_scale.data.fill_(0.7)
    assert method.start_from(base).endswith("and its pooling")
    for name, value in method.state_dict().items():
        assert torch.equal(value, base.state_dict()[name])
    with pytest.raises(UserError, match=r"^METHOD\.ARGS\.reduce makes vectors of 10 numbers, but .* makes 6; "):
        MetaDeepBDC(conv4(), INFO, reduce=4).start_from(base)
