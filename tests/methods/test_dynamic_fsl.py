"""Dynamic FSL against its paper's equations, written as loops in float64."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.blocks import Backbone
from core.backbones.conv4 import Conv4
from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods.dynamic_fsl import DynamicFSL
from core.methods.protonet import ProtoNet
from core.objectives.margins import TaskRelevantMargin
from tests.helpers import make_task

N_BASE, WIDTH, WAY = 7, 5, 3


class Vectors(Backbone):
    """Inputs are features already."""

    channels, map_size = WIDTH, 1

    def __init__(self):
        super().__init__("mean")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def method(generator="attention", words=None):
    """In float64, with parameters that are not at their initial values."""
    torch.manual_seed(1)
    info = DataInfo(N_BASE, 16, way=WAY, words=None if words is None else lambda: words)
    made = DynamicFSL(Vectors(), info, generator=generator).double()
    for p in made.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return made.eval()


def task_of(shots=(2, 2, 2), tasks=2, queries=6, class_ids=None):
    """Features with the given shots of each class; by default its classes are none of the base ones."""
    y = torch.arange(WAY).repeat_interleave(torch.tensor(shots)).expand(tasks, -1)
    support, query = {"vector": drawn(tasks, sum(shots), WIDTH)}, {"vector": drawn(tasks, queries, WIDTH, seed=2)}
    shot = shots[0] if len(set(shots)) == 1 else None
    task = make_task(support, query, WAY, shot, y)
    ids = torch.arange(N_BASE, N_BASE + WAY).expand(tasks, -1) if class_ids is None else torch.tensor(class_ids)
    return replace(task, class_ids=ids)


def training_task():
    """Classes of two tasks are base classes, and there are queries of others."""
    task = task_of(class_ids=[[4, 0, 5], [2, 6, 1]])
    others = {"vector": drawn(2, 4, WIDTH, seed=3)}
    return replace(task, base_query=others, base_query_y=torch.tensor([[1, 2, 3, 6], [0, 3, 4, 5]]))


def number(value):
    return float(value.detach())


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def attention(made, z, task_classes):
    """Eq. 8 over the base classes that are not in `task_classes`."""
    a = made.attention
    query = [sum(number(a.query.weight[i, j] * z[j]) for j in range(WIDTH)) for i in range(WIDTH)]
    query = torch.tensor(query, dtype=torch.float64) + a.query.bias.detach()
    seen = [b for b in range(N_BASE) if b not in task_classes]
    raised = {b: math.exp(number(a.gamma) * cosine(query, a.keys[b].detach())) for b in seen}
    return {b: raised[b] / sum(raised.values()) for b in seen}


def weights_of(made, supports, task_classes):
    """Eq. 7 for one class with features `supports` [k, D], not of length 1."""
    units = [z / z.norm() for z in supports]
    mean = sum(units) / len(units)
    if made.phi_avg is not None:
        mean = made.phi_avg.detach() * mean
    if made.attention is None:
        return mean
    looked = torch.zeros(WIDTH, dtype=torch.float64)
    for z in units:
        for b, share in attention(made, z, task_classes).items():
            looked += share * made.weight[b].detach() / made.weight[b].detach().norm() / len(units)
    return mean + made.attention.phi_att.detach() * looked


def expected_novel(made, task, query):
    """Logits [T, Q, N] one by one."""
    logits = torch.zeros(task.tasks, query.shape[1], WAY, dtype=torch.float64)
    for t in range(task.tasks):
        task_classes = set(task.class_ids[t].tolist())
        for n in range(WAY):
            w = weights_of(made, task.support["vector"][t][task.support_y[t] == n], task_classes)
            for q, z in enumerate(query[t]):
                logits[t, q, n] = number(made.scale) * cosine(z, w)
    return logits


@pytest.mark.parametrize("generator", ["none", "averaging", "attention"])
@pytest.mark.parametrize("shots", [(1, 1, 1), (3, 3, 3)])
def test_novel_logits(generator, shots):
    made, task = method(generator), task_of(shots)
    torch.testing.assert_close(made(task), expected_novel(made, task, task.query["vector"]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("generator", ["none", "averaging", "attention"])
def test_unequal_shots(generator):
    made, task = method(generator), task_of((1, 4, 2), tasks=1)
    torch.testing.assert_close(made(task), expected_novel(made, task, task.query["vector"]), rtol=1e-9, atol=1e-9)


def test_averaging_with_phi_one_is_the_normalised_mean():
    task, plain, averaging = task_of((3, 3, 3)), method("none"), method("averaging")
    nn.init.ones_(averaging.phi_avg)
    mean = F.normalize(task.support["vector"], dim=-1).unflatten(1, (WAY, 3)).mean(2)
    for made in (plain, averaging):
        torch.testing.assert_close(made.novel_weights(task), F.normalize(mean, dim=-1))


def test_base_logits_are_scaled_cosines():
    made, task = method(), task_of()
    query = task.query["vector"]
    logits = made.base_logits(task)
    expected = [[[number(made.scale) * cosine(z, w) for w in made.weight.detach()] for z in zs] for zs in query]
    torch.testing.assert_close(logits, torch.tensor(expected, dtype=torch.float64))
    batch = Batch({"vector": query[0]}, torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(made.batch_logits(batch), logits[0])


def test_attention_sums_to_one_and_leaves_the_tasks_own_classes_out():
    made, task = method(), training_task()
    support = F.normalize(task.support["vector"], dim=-1)
    shares = made.attention.attend(support, task)
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, 6, dtype=torch.float64))
    for t in range(2):
        task_classes = task.class_ids[t]
        assert (shares[t][:, task_classes] == 0).all()
        assert ((shares[t] == 0).sum(-1) == WAY).all()
    novel = made.attention.attend(support, replace(task, class_ids=torch.tensor([[7, 9, -1]]).expand(2, -1)))
    assert (novel > 0).all()


@pytest.mark.parametrize("generator", ["averaging", "attention"])
def test_joint_logits_and_their_loss(generator):
    made, task = method(generator), training_task()
    logits, y = made.joint(task)
    queries = torch.cat([task.query["vector"], task.base_query["vector"]], dim=1)
    novel = expected_novel(made, task, queries)
    total, count = 0.0, 0
    for t in range(2):
        task_classes = task.class_ids[t].tolist()
        others = [b for b in range(N_BASE) if b not in task_classes]
        for q, z in enumerate(queries[t]):
            scores = {b: number(made.scale) * cosine(z, made.weight[b].detach()) for b in others}
            scores |= {b: float(novel[t, q, n]) for n, b in enumerate(task_classes)}
            truth = task_classes[task.query_y[t, q]] if q < 6 else int(task.base_query_y[t, q - 6])
            assert int(y[t, q]) == truth
            row = torch.tensor([scores[b] for b in range(N_BASE)], dtype=torch.float64)
            torch.testing.assert_close(logits[t, q], row, rtol=1e-9, atol=1e-9)
            total -= math.log(math.exp(scores[truth]) / sum(map(math.exp, scores.values())))
            count += 1
    assert number(made.loss(task).value) == pytest.approx(total / count, rel=1e-9)


def test_margins_are_between_base_classes_whatever_their_place_in_the_task():
    words = drawn(N_BASE, 4, seed=5)
    objective = TaskRelevantMargin(hidden=8)
    objective.prepare(N_BASE)
    made, task = method(words=words), training_task()
    made.objective = objective.double().eval()
    logits, y = made.joint(task)
    unit = words / words.norm(dim=1, keepdim=True)
    total = 0.0
    for scores, truth in zip(logits.flatten(0, 1), y.flatten().tolist(), strict=True):
        rivals = [b for b in range(N_BASE) if b != truth]
        margins = objective.generator(torch.stack([unit[truth] @ unit[b] for b in rivals])[None])[0]
        wrong = sum((scores[b] + m).exp() for b, m in zip(rivals, margins, strict=True))
        total -= (scores[truth].exp() / (scores[truth].exp() + wrong)).log()
    assert number(made.loss(task).value) == pytest.approx(number(total) / y.numel(), rel=1e-9)
    order = torch.tensor([2, 0, 1])
    label = order.argsort()
    support = {"vector": task.support["vector"].unflatten(1, (WAY, 2))[:, order].flatten(1, 2)}
    turned = replace(task, support=support, class_ids=task.class_ids[:, order], query_y=label[task.query_y])
    assert number(made.loss(turned).value) == pytest.approx(number(made.loss(task).value), rel=1e-9)


def test_a_tasks_own_base_weights_and_keys_change_nothing():
    """They stand for classes that are novel: neither a logit nor a gradient may know them."""
    made, task = method(), training_task()
    first = replace(task, **{name: getattr(task, name)[:1] for name in ("support_y", "query_y", "class_ids", "seed")})
    first = replace(first, base_query_y=task.base_query_y[:1])
    for name in ("support", "query", "base_query"):
        first = replace(first, **{name: {"vector": getattr(task, name)["vector"][:1]}})
    before = made.loss(first).value
    before.backward()
    task_classes = first.class_ids[0]
    others = [b for b in range(N_BASE) if b not in task_classes.tolist()]
    for p in (made.weight, made.attention.keys):
        assert (p.grad[task_classes] == 0).all()
        assert (p.grad[others] != 0).any(1).all()
        p.data[task_classes] += 1
    assert torch.equal(made.loss(first).value, before)


def test_gradients():
    made, task = method(), training_task()
    names = [name for name, p in made.named_parameters() if p.requires_grad]

    def loss(*values):
        return torch.func.functional_call(
            _Loss(made), {f"made.{n}": v for n, v in zip(names, values, strict=True)}, task
        )

    values = [made.get_parameter(name).detach().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(loss, values)


class _Loss(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self, task):
        return self.made.loss(task).value


def test_initial_values():
    torch.manual_seed(0)
    made = DynamicFSL(Vectors(), DataInfo(4000, 16), gamma=30.0)
    assert number(made.weight.std()) == pytest.approx(math.sqrt(2 / WIDTH), rel=0.05)
    assert number(made.attention.keys.std()) == pytest.approx(math.sqrt(2 / WIDTH), rel=0.05)
    assert (number(made.scale), number(made.attention.gamma)) == (10, 30)
    assert (made.attention.query.weight - torch.eye(WIDTH)).abs().max() < 0.005
    assert all(bool((phi == 1).all()) for phi in (made.phi_avg, made.attention.phi_att))


INFO = DataInfo(6, 16, way=3)


def conv4():
    return Conv4(16, "native", width=4, last_relu=False)


def test_the_second_stage_takes_network_weights_and_scale():
    torch.manual_seed(0)
    first, second = DynamicFSL(conv4(), INFO, generator="none"), DynamicFSL(conv4(), INFO)
    first.scale.data += 1
    assert second.start_from(first).endswith("with its base weights and scale")
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)
    other = DynamicFSL(conv4(), INFO)
    kept = other.weight.clone()
    assert "weights" not in other.start_from(ProtoNet(conv4(), INFO))
    assert torch.equal(other.weight, kept)


def test_the_network_is_frozen_with_its_statistics_where_weights_are_generated():
    for generator, frozen in (("none", False), ("averaging", True), ("attention", True)):
        made = DynamicFSL(conv4(), INFO, generator=generator).train()
        assert made.frozen_backbone is frozen
        assert made.backbone.training is not frozen
        assert all(p.requires_grad is not frozen for p in made.backbone.parameters())
        before = {name: value.clone() for name, value in made.backbone.state_dict().items()}
        made.encode({"image": torch.randn(8, 3, 16, 16)})
        moved = any(not torch.equal(before[name], value) for name, value in made.backbone.state_dict().items())
        assert moved is not frozen


def test_what_cannot_be_is_said():
    with pytest.raises(UserError, match=r"^METHOD\.ARGS\.generator is 'mean', which is not one of: none, averaging, "):
        DynamicFSL(Vectors(), INFO, generator="mean")
    many = DynamicFSL(Vectors(), DataInfo(3, 16, way=3)).double()
    with pytest.raises(UserError, match=r"^TASK\.TRAIN\.WAY is 3, .* 3 base classes in all; lower it\.$"):
        many.loss(task_of(class_ids=[[0, 1, 2], [2, 1, 0]]))
