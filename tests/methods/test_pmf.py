"""P>M>F against copies of the network that PyTorch's Adam tunes, one task at a time, in float64."""

import copy
import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.blocks import Backbone, ConvBN, fold
from core.episode import DataInfo
from core.errors import UserError
from core.methods.cosine_protonet import CosineProtoNet
from core.methods.pmf import PMF
from core.ops.diff_augment import diff_augment
from tests.helpers import make_task
from tests.methods.small import UNEQUAL, conv4, drawn, task_of

INFO = DataInfo(n_base=6, image_size=8, way=3)
WAY, STEPS = 3, 4


class Smooth(Backbone):
    """Small and differentiable everywhere, with a weight that no vector depends on."""

    channels, map_size = 4, 8

    def __init__(self):
        super().__init__("mean")
        self.layers = nn.Sequential(ConvBN(3, 4, 3, bias=True, norm="running"), nn.Tanh())
        self.unused = nn.Parameter(torch.ones(2))

    def maps(self, images):
        return self.layers(images)


def pmf(**options):
    torch.manual_seed(0)
    method = PMF(Smooth(), INFO, steps=STEPS, **options).double()
    method.train()
    with torch.no_grad():
        method.backbone(drawn(20, 3, 8, 8, seed=5))  # statistics that are not 0 and 1
    return method.eval()


def pixels(counts=(2, 2, 2), tasks=2, queries=5):
    labels = torch.arange(WAY).repeat_interleave(torch.tensor(counts))
    support, query = drawn(tasks, len(labels), 3, 8, 8), drawn(tasks, queries, 3, 8, 8, seed=1)
    equal = len(set(counts)) == 1
    labels = None if equal else labels.expand(tasks, -1)
    return make_task({"image": support}, {"image": query}, WAY, counts[0] if equal else None, labels)


def cosines(network, queries, images, labels):
    means = [network(images[labels == n])["vector"].mean(0) for n in range(WAY)]
    return 10 * torch.stack([F.cosine_similarity(network(queries)["vector"], mean, dim=1) for mean in means], 1)


def tuned(method, images, labels, seed, rate):
    """A copy of the backbone after PyTorch's Adam."""
    network = copy.deepcopy(method.backbone)
    adam = torch.optim.Adam(network.parameters(), rate)
    for step in range(STEPS):
        copies = diff_augment(images, seed, f"copies {step}", method.augment)
        loss = F.cross_entropy(cosines(network, copies, images, labels), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return network


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 2, 2), UNEQUAL])
def test_equals_copies_that_adam_tunes(counts):
    method, task = pmf(rates=[0.01]), pixels(counts, tasks=1 if counts == UNEQUAL else 2)
    with torch.no_grad():
        logits = method(task)
    plain = CosineProtoNet(method.backbone, INFO, scale=10.0).eval()(task.encoded(vector_of(method)))
    for t in range(task.tasks):
        images, labels = task.support["image"][t], task.support_y[t]
        network = tuned(method, images, labels, task.seed[t], 0.01)
        expected = cosines(network, task.query["image"][t], images, labels)
        torch.testing.assert_close(logits[t], expected, rtol=1e-8, atol=1e-8)
        assert (logits[t] - plain[t]).abs().max() > 1e-3


def vector_of(method):
    def encode(features):
        leading = features["image"].shape[:2]
        return {"vector": method.backbone(features["image"].flatten(0, 1))["vector"].unflatten(0, leading)}

    return encode


@pytest.mark.parametrize("counts", [(3, 3, 3), UNEQUAL])
def test_a_task_chooses_its_rate_by_the_supports_that_it_leaves_out(counts):
    rates, choices = [0.0, 0.003, 0.03, 0.3], set()
    for seed in range(3):
        task = pixels(counts, tasks=1)
        task = replace(task, seed=torch.tensor([seed]))
        images, labels = task.support["image"][0], task.support_y[0]
        first = torch.tensor([n == 0 or labels[n] != labels[n - 1] for n in range(len(labels))])
        method, right = pmf(rates=rates), []
        for rate in rates:
            network = tuned(method, images[first], labels[first], task.seed[0], rate)
            answers = cosines(network, images[~first], images[first], labels[first]).argmax(1)
            right.append(int((answers == labels[~first]).sum()))
        chosen = rates[right.index(max(right))]
        expected = pmf(rates=[chosen])(task)
        assert torch.equal(method(task), expected)
        choices.add(chosen)
    assert choices != {rates[0]}


def test_one_shot_of_several_rates_is_the_network_as_it_is():
    method, task = pmf(), pixels((1, 1, 1))
    plain = CosineProtoNet(method.backbone, INFO, scale=10.0).eval()(task.encoded(vector_of(method)))
    torch.testing.assert_close(method(task), plain)


def test_training_is_that_of_prototypes_by_cosine():
    torch.manual_seed(0)
    method, task = PMF(conv4(), INFO, learn_scale=True).train(), task_of(6)
    torch.testing.assert_close(method(task), CosineProtoNet(method.backbone, INFO, scale=10.0)(task))
    assert method.needed(training=True) == ("vector",)
    assert isinstance(method.scale, nn.Parameter)


def test_a_task_leaves_the_network_as_it_was():
    method = pmf(rates=[0.1])
    before = copy.deepcopy(method.state_dict())
    method(pixels())
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())


def test_one_tuned_network_is_kept_at_a_time(monkeypatch):
    kept, most, tuned = weakref.WeakSet(), [], PMF._tuned

    def noted(*arguments):
        most.append(len(kept))
        weights = tuned(*arguments)
        kept.add(weights["unused"])
        return weights

    monkeypatch.setattr(PMF, "_tuned", noted)
    pmf(rates=[0.1])(pixels(tasks=3))
    assert most == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": []}, r"METHOD.ARGS.rates is \[\]; give one learning rate or more"),
        ({"rates": [0.1, -0.1]}, r"METHOD.ARGS.rates is \[0.1, -0.1\], where -0.1 must be at least 0\."),
        ({"steps": -1}, r"^METHOD.ARGS.steps is -1; it must be at least 0\.$"),
        ({"augment": 1.5}, r"^METHOD.ARGS.augment is 1.5; it must be at least 0 and at most 1\.$"),
    ],
)
def test_arguments_that_mean_nothing(options, message):
    with pytest.raises(UserError, match=message):
        PMF(Smooth(), INFO, **options)


def test_batch_norm_of_the_batch_is_refused():
    with pytest.raises(UserError, match=r"set BACKBONE\.ARGS\.norm to running"):
        PMF(conv4(norm="batch"), INFO)


def test_the_network_is_tuned_as_it_was_trained_not_with_folded_batch_norms():
    """Adam goes another way from folded weights."""
    method, task = pmf(rates=[0.01]), pixels()
    torch.testing.assert_close(method.for_evaluation()(task), method(task), rtol=0, atol=1e-12)
    folded = fold(method)
    assert (folded(task) - method(task)).abs().max() > 1e-3
