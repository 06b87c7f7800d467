"""AM3 against its equation, written as loops in float64."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.episode import DataInfo
from core.errors import UserError
from core.methods.am3 import AM3
from core.methods.protonet import ProtoNet
from core.objectives.margins import TaskRelevantMargin
from tests.helpers import make_task
from tests.methods.small import (
    WORDS,
    conv4,
    drawn,
    similarity,
    vector_task,
)

INFO = DataInfo(n_base=6, image_size=16, way=3, words=lambda: WORDS)


def am3(**options):
    torch.manual_seed(0)
    return AM3(conv4(7), INFO, **{"hidden": 5} | options).double().eval()


def layers(network, x):
    """A network of Linear, BatchNorm1d, ReLU and Dropout at test, for one row."""
    for layer in network:
        if isinstance(layer, nn.Linear):
            bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
            x = [
                math.fsum(w * v for w, v in zip(ws, x, strict=True)) + b
                for ws, b in zip(layer.weight.tolist(), bias, strict=True)
            ]
        elif isinstance(layer, nn.BatchNorm1d):
            scale = (layer.weight / (layer.running_var + 1e-3).sqrt()).tolist()
            shift = zip(x, layer.running_mean.tolist(), scale, layer.bias.tolist(), strict=True)
            x = [(v - m) * s + b for v, m, s, b in shift]
        elif isinstance(layer, nn.ReLU):
            x = [max(0.0, v) for v in x]
    return x


@pytest.mark.parametrize("inputs", ["word", "proto", "query", "word+proto", "query+word"])
@pytest.mark.parametrize("options", [{}, {"use_bn": True, "metric": "cosine"}, {"hidden": 0, "metric": "squared"}])
def test_am3(inputs, options):
    method = am3(inputs=inputs, scale=1.5, **options)
    for module in method.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    task = vector_task()
    prototypes = task.support["vector"].view(2, 3, 2, 7).mean(2).tolist()
    logits = method(task)
    for t in range(2):
        for i, q in enumerate(task.query["vector"][t].tolist()):
            for n in range(3):
                seen = {
                    "word": layers(method.transform, task.semantics[t, n].tolist()),
                    "proto": prototypes[t][n],
                    "query": q,
                }
                (h,) = layers(method.weigh, [v for name in inputs.split("+") for v in seen[name]])
                weight = 1 / (1 + math.exp(-h))
                mixed = [weight * p + (1 - weight) * g for p, g in zip(seen["proto"], seen["word"], strict=True)]
                expected = 1.5 * similarity(q, mixed, options.get("metric", "euclidean"))
                assert logits[t, i, n].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("inputs", ["word", "query+proto"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_am3_with_a_weight_of_one_is_protonet(inputs, metric):
    method, task = am3(inputs=inputs, metric=metric), vector_task()
    nn.init.zeros_(method.weigh[-1].weight)
    nn.init.constant_(method.weigh[-1].bias, 100.0)
    torch.testing.assert_close(method(task), ProtoNet(conv4(7), INFO, metric=metric)(task), rtol=0, atol=1e-12)


def test_am3_with_a_weight_of_zero_does_not_look_at_the_supports():
    method, task = am3(), vector_task()
    nn.init.zeros_(method.weigh[-1].weight)
    nn.init.constant_(method.weigh[-1].bias, -1000.0)
    other = make_task({"vector": drawn(2, 6, 7, seed=9)}, task.query, 3, 2)
    object.__setattr__(other, "semantics", task.semantics)
    assert torch.equal(method(task), method(other))


def test_am3_drops_hidden_units_in_training_only_and_shows_its_weight():
    method, task = am3(hidden=50), vector_task()
    assert torch.equal(method(task), method(task))
    method.train()
    assert not torch.equal(method(task), method(task))
    weight, over = method.loss(task).scalars["lambda"]
    assert 0 < weight < 1
    assert over == "last"
    assert isinstance(copy.deepcopy(method), AM3)


def test_am3_decays_its_word_networks_apart():
    method = AM3(conv4(7), INFO, word_decay=0.2, learn_scale=True)
    method.objective = TaskRelevantMargin(learn="joint")
    method.objective.prepare(3)
    rest, words, margins = method.param_groups(0.1)
    assert (words["weight_decay"], margins["weight_decay"], "weight_decay" in rest) == (0.2, 0.0, False)
    counted = [p for group in (rest, words, margins) for p in group["params"]]
    assert {id(p) for p in counted} == {id(p) for p in method.parameters()}
    assert len(counted) == len(list(method.parameters()))
    assert any(p is method.scale for p in rest["params"])


def test_am3_names_its_inputs():
    with pytest.raises(
        UserError, match=r"^METHOD\.ARGS\.inputs is 'word\+image'; join some of word, proto, query by \+"
    ):
        AM3(conv4(7), INFO, inputs="word+image")


def test_am3_scores_base_classes_by_their_means_and_words():
    method, task, base = am3(), vector_task(), drawn(6, 7, seed=5)
    object.__setattr__(task, "base", {"vector": base})
    of_base = make_task({"vector": base.expand(2, 6, 7)}, task.query, 6, 1)
    object.__setattr__(of_base, "semantics", WORDS.double().expand(2, 6, 9))
    torch.testing.assert_close(method.base_logits(task), method(of_base))
    assert "base_words" not in method.state_dict()


def test_am3_without_words_is_a_sentence():
    with pytest.raises(UserError, match=r"^AM3 reads word vectors, and the training classes have none; name a file"):
        AM3(conv4(7), DataInfo(n_base=6, image_size=16))


def test_am3_takes_the_objectives_of_classes():
    method, task = am3(), vector_task()
    method.objective = TaskRelevantMargin(beta=5.0).double()
    method.objective.prepare(3)
    method.double().train().objective.eval()
    plain = F.cross_entropy(am3().eval()(task).flatten(0, 1), task.query_y.flatten())
    method.transform.eval(), method.weigh.eval()
    assert method.loss(task).value > plain


@pytest.mark.parametrize("inputs", ["word", "query+word"])
def test_the_picture_is_the_weight_of_each_class(inputs):
    method, task = am3(inputs=inputs), vector_task(tasks=1)
    with torch.no_grad():
        (picture,) = method.pictures(task)
        _, weight = method.weighed_logits(task)
    assert picture.values == pytest.approx(weight.view(-1, 3).numpy().mean(0))
    assert picture.values.shape == (3,)
