"""What methods with an inner loop refuse, and what they take from the objective."""

import re
import weakref
from dataclasses import replace

import pytest
import torch

from core.errors import UserError
from core.methods.anil import ANIL
from core.methods.boil import BOIL
from core.methods.caml import CAML
from core.methods.imaml import IMAML
from core.methods.inner_loop import AdaptedHead, AdaptedNetwork, LearnedHead
from core.methods.maml import MAML
from core.methods.mamlpp import MAMLPlusPlus
from core.methods.meta_sgd import MetaSGD
from core.registry import METHODS, OBJECTIVES, import_all
from tests.helpers import make_task
from tests.methods.inner import INFO, build, pixels
from tests.methods.small import conv4, drawn

import_all("core.methods")
import_all("core.objectives")
WHOLE = [MAML, BOIL, MetaSGD]


def learned_heads():
    """Every registered method with a learned head."""
    return [METHODS[name] for name in METHODS if issubclass(METHODS[name], LearnedHead)]


@pytest.mark.parametrize("kind", learned_heads(), ids=lambda kind: kind.name)
def test_a_learned_head_refuses_another_way(kind):
    task = make_task({"image": drawn(1, 4, 3, 16, 16)}, {"image": drawn(1, 4, 3, 16, 16)}, 4, 1)
    method = kind(conv4(4, norm="running" if issubclass(kind, AdaptedHead) else "batch"), INFO).double().eval()
    sentence = rf"^TASK\.TEST\.WAY is 4, but this {kind.name} was trained with a head of 3 classes; ".replace(
        "+", r"\+"
    )
    with pytest.raises(UserError, match=sentence):
        method(task.encoded(method.encode))


@pytest.mark.parametrize("kind", learned_heads(), ids=lambda kind: kind.name)
def test_batch_norm_must_be_what_the_method_needs(kind):
    wrong, right = ("batch", "running") if issubclass(kind, AdaptedHead) else ("running", "batch")
    with pytest.raises(UserError, match=rf"^METHOD\.NAME is .* set BACKBONE\.ARGS\.norm to {right}\.$"):
        kind(conv4(4, norm=wrong), INFO)
    assert kind.transductive == issubclass(kind, AdaptedNetwork)


@pytest.mark.parametrize("kind", learned_heads(), ids=lambda kind: kind.name)
def test_a_head_that_no_episode_trains_is_refused(kind):
    with pytest.raises(UserError, match=rf"^METHOD\.NAME is {re.escape(kind.name)}, whose initial head is trained for"):
        kind(conv4(4, norm="running" if issubclass(kind, AdaptedHead) else "batch"), replace(INFO, way=0))


@pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.name)
def test_adapting_leaves_the_weights_and_needs_no_graph(kind):
    method, task = build(kind, test_steps=3).eval(), pixels()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    expected = method(task)
    with torch.no_grad():
        logits = method(task)
    assert not logits.requires_grad
    torch.testing.assert_close(logits, expected.detach(), rtol=0, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


@pytest.mark.parametrize("kind", [*WHOLE, MAMLPlusPlus, CAML, IMAML], ids=lambda kind: kind.name)
def test_without_learning_one_graph_is_kept_at_a_time(kind):
    method = build(kind, conv4(4, norm="batch")).eval()
    assert most_saved(method, pixels(tasks=4, size=16)) == most_saved(method, pixels(tasks=1, size=16)) > 0


def most_saved(method, task):
    """The most bytes that graphs hold at any time while a method answers without learning."""
    kept, most = weakref.WeakSet(), 0

    class Saved:
        def __init__(self, tensor):
            nonlocal most
            self.tensor = tensor.detach()  # a saved output would keep its own graph
            kept.add(self)
            most = max(most, sum(saved.tensor.nbytes for saved in kept))

    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        method(task)
    return most


@pytest.mark.parametrize("kind", [ANIL, *WHOLE], ids=lambda kind: kind.name)
def test_a_margin_needs_no_code_of_the_method(kind):
    torch.manual_seed(0)
    method = kind(conv4(4, norm="running" if kind is ANIL else "batch"), INFO).double().train()
    task = pixels(size=16).encoded(method.encode)
    plain = method.loss(task).value
    method.objective = OBJECTIVES["naml"](margin=0.2)
    loss = method.loss(task).value
    assert loss > plain
    loss.backward()
    assert method.head.weight.grad.abs().sum() > 0
