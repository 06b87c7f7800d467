"""What every method inherits."""

import pytest
import torch

from core.engine.epoch_ensemble import EpochEnsemble
from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods.base import Method, load_matching
from core.methods.negmargin import NegMargin
from core.methods.protonet import ProtoNet
from core.objectives.loss import Loss
from tests.helpers import make_task
from tests.methods.small import conv4, vectors

INFO = DataInfo(n_base=6, image_size=16)


def test_a_scale_is_one_unless_a_method_sets_it_or_makes_it_a_property():
    assert Method(conv4(), INFO).scale == 1.0
    assert ProtoNet(conv4(), INFO, scale=0.25).scale == 0.25
    learned = ProtoNet(conv4(), INFO, learn_scale=True)
    assert dict(learned.named_parameters())["scale"] is learned.scale
    classifier = NegMargin(conv4(), INFO, scale=7.0, learn_scale=True)
    assert classifier.scale is classifier.classifier.scale


def test_the_objective_is_told_the_scale_and_the_progress_of_the_stage():
    calls = []

    class Told(torch.nn.Module):
        def forward(self, *arguments):
            calls.append(arguments)
            return Loss(torch.zeros(()))

    method = ProtoNet(conv4(), INFO, scale=0.25)
    method.objective = Told()
    task = make_task({"vector": vectors(1, 3, 6)}, {"vector": vectors(1, 3, 6)}, 3, 1)
    object.__setattr__(task, "progress", 0.75)
    method.loss(task)
    ((logits, y, scale, words, progress),) = calls
    assert logits.shape == (1, 3, 3)
    assert y is task.query_y
    assert (scale, words, progress) == (0.25, None, 0.75)


def test_a_batch_has_the_logits_of_base_classes():
    method = NegMargin(conv4(), INFO)
    batch = Batch({"vector": vectors(4, 6)}, torch.tensor([0, 1, 5, 2]))
    loss = method.loss(batch)
    assert torch.equal(loss.logits, method.batch_logits(batch))
    assert loss.y is batch.labels


class Flat(ProtoNet):
    """As a new method may be at first: its logits are those of all tasks in one."""

    def forward(self, task):
        return super().forward(task).flatten(0, 1)


class Bare(torch.nn.Module):
    """As a new objective may be at first."""

    def forward(self, logits, *_):
        return logits.mean()


def test_what_a_new_method_or_objective_must_return():
    task = make_task({"vector": vectors(2, 3, 6)}, {"vector": vectors(2, 4, 6)}, 3, 1)
    with pytest.raises(
        UserError, match=r"^The method Flat returns logits of shape \[8, 3\], but must return \[2, 4, 3\]\.$"
    ):
        Flat(conv4(), INFO).loss(task)
    classifier = NegMargin(conv4(), INFO)
    classifier.batch_logits = lambda batch: batch.labels[:3].float()
    with pytest.raises(UserError, match=r"logits of shape \[3\], but must return \[4, N\]\.$"):
        classifier.loss(Batch({"vector": vectors(4, 6)}, torch.tensor([0, 1, 5, 2])))
    method = ProtoNet(conv4(), INFO)
    method.objective = Bare()
    with pytest.raises(UserError, match=r"^The objective Bare returns a Tensor, but must return a Loss\.$"):
        method.loss(task)


ODD = {
    "one class too many": (lambda logits: torch.cat([logits, logits], -1)[..., :4], "logits of shape [2, 4, 4]"),
    "one class too few": (lambda logits: logits[..., :-1], "logits of shape [2, 4, 2]"),
    "turned": (lambda logits: logits.transpose(1, 2), "logits of shape [2, 3, 4]"),
    "of one task": (lambda logits: logits[:1], "logits of shape [1, 4, 3]"),
    "a tuple": (lambda logits: (logits, 1), "a tuple"),
    "integers": (lambda logits: logits.long(), "logits of type torch.int64"),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_logits_of_a_new_method_are_named_wherever_they_are_asked_for(odd):
    change, given = ODD[odd]

    class New(ProtoNet):
        def forward(self, task):
            return change(super().forward(task))

    task = make_task({"vector": vectors(2, 3, 6)}, {"vector": vectors(2, 4, 6)}, 3, 1)
    method = New(conv4(), INFO)
    expected = "[2, 4, 3]" if "shape" in given else "a tensor of floats, [2, 4, 3]"
    sentence = f"The method New returns {given}, but must return {expected}."
    for ask in (method.answer, method.loss, lambda task: EpochEnsemble([method, method], INFO)(task)):
        with pytest.raises(UserError) as caught:
            ask(task)
        assert str(caught.value) == sentence


def test_weights_that_fit_are_taken_and_counted():
    source, target = conv4(seed=1), conv4(seed=2)
    state = source.state_dict() | {"extra": torch.zeros(2)}
    state.pop("layers.0.0.weight")
    line = load_matching(target, state, "a file")
    entries = len(source.state_dict())
    assert line == f"a file: {entries - 1} matched, 1 missing, 1 unexpected"
    assert torch.equal(target.layers[0][0].bias, source.layers[0][0].bias)
    with pytest.raises(UserError, match=r"^a file does not fit this backbone \(0 matched"):
        load_matching(target, {"other": torch.zeros(2)}, "a file")
