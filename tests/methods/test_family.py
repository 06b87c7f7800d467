"""What is particular to the methods that train a classifier over the base classes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.backbones.conv4 import Conv4
from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods.baseline import Baseline, BaselinePlusPlus
from core.methods.meta_baseline import MetaBaseline
from core.methods.negmargin import NegMargin
from core.methods.protonet import ProtoNet
from core.methods.rfs import RFS
from core.methods.simpleshot import SimpleShot
from core.objectives.negmargin import NegMarginLoss
from core.registry import METHODS
from tests.helpers import make_task
from tests.ops.test_logistic import by_scipy
from tests.workspace import TWO_STAGES, Workspace, best

INFO = DataInfo(n_base=6, image_size=16)


def conv4(seed=0):
    torch.manual_seed(seed)
    return Conv4(16, "native", width=8)


@pytest.fixture
def space(tmp_path, tiny_root, monkeypatch, capsys):
    return Workspace(tmp_path, tiny_root, monkeypatch, capsys)


def vectors(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_an_argument_of_the_shared_head_reaches_every_fine_tuned_method():
    for name in ("Baseline", "Baseline++", "NegMargin"):
        assert METHODS.arguments(name)["head_passes"] == 100
        assert METHODS[name](conv4(), INFO, head_steps=[[1, 7]]).steps == {1: 7}


@pytest.mark.parametrize("name", ["Baseline", "Baseline++", "NegMargin"])
def test_the_steps_of_the_head_are_those_of_the_shot(name):
    by_shot = METHODS[name](conv4(), INFO, head_steps=[[1, 3], [2, 9]])
    for shot, steps in ((1, 3), (2, 9)):
        task = make_task({"vector": vectors(2, 5 * shot, 8)}, {"vector": vectors(2, 10, 8, seed=1)}, 5, shot)
        alone = METHODS[name](conv4(), INFO, head_steps=[[shot, steps]])
        longer = METHODS[name](conv4(), INFO, head_steps=[[shot, steps + 1]])
        assert torch.equal(by_shot(task), alone(task))
        assert not torch.equal(by_shot(task), longer(task))


def test_a_shot_that_the_recipe_has_no_steps_for_is_refused():
    method = NegMargin(conv4(), INFO, head_steps=[[1, 3], [5, 9]])
    task = make_task({"vector": vectors(1, 6, 8)}, {"vector": vectors(1, 3, 8)}, 3, 2)
    with pytest.raises(UserError) as caught:
        method(task)
    assert str(caught.value) == (
        "METHOD.ARGS.head_steps has no steps for 2 shots, only for 1, 5; add a pair of shot and steps, or empty it to "
        "train for METHOD.ARGS.head_passes."
    )
    labels = torch.tensor([[0, 1, 1, 2, 2, 2]])
    with pytest.raises(UserError, match="has no steps for unequal shots"):
        method(make_task({"vector": vectors(1, 6, 8)}, {"vector": vectors(1, 3, 8)}, 3, None, labels))


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ({"head_passes": 0}, "METHOD.ARGS.head_passes is 0, which leaves the head untrained; give 1 or more."),
        (
            {"head_steps": [[1, 0]]},
            "METHOD.ARGS.head_steps is [[1, 0]], which must be pairs of a shot and a ",
        ),
        ({"head_steps": [150]}, "METHOD.ARGS.head_steps is [150], which must be pairs of a shot and a number of steps"),
        ({"head_steps": [[1, 9], [1, 8]]}, "METHOD.ARGS.head_steps is [[1, 9], [1, 8]], which names a shot twice; "),
        ({"head_batch": 0}, "METHOD.ARGS.head_batch is 0; a mini-batch has 1 support or more."),
    ],
)
def test_a_head_that_cannot_learn_is_refused(head, sentence):
    with pytest.raises(UserError) as caught:
        NegMargin(conv4(), INFO, **head)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("method", [Baseline, BaselinePlusPlus, NegMargin])
def test_at_learning_rate_0_the_head_is_the_initial_one(method):
    made = method(conv4(), INFO, head_lr=0.0)
    task = make_task({"vector": vectors(2, 5, 8)}, {"vector": vectors(2, 10, 8, seed=1)}, 5, 1)
    start = made.uniform(task, "head", (5, 8), task.support["vector"])
    assert start.abs().max() <= 1 / math.sqrt(8)
    query = task.query["vector"]
    expected = {
        Baseline: query @ start.transpose(1, 2) + made.uniform(task, "bias", (5,), query)[:, None],
        BaselinePlusPlus: 2 * F.normalize(query, dim=2) @ start.transpose(1, 2),
        NegMargin: 5 * F.normalize(query, dim=2) @ F.normalize(start, dim=2).transpose(1, 2),
    }[method]
    torch.testing.assert_close(made(task), expected)


def test_the_softmax_form_of_negmargin_is_an_inner_product_without_bias():
    method = NegMargin(conv4(), INFO, metric="softmax", scale=5.0)
    z = vectors(4, 8)
    torch.testing.assert_close(
        method.batch_logits(Batch({"vector": z}, torch.zeros(4))), 5 * z @ method.classifier.weight.T
    )
    assert not method.cosine_logits
    with pytest.raises(UserError, match=r"METHOD\.ARGS\.metric is 'l2', which is not one of: cosine, softmax"):
        NegMargin(conv4(), INFO, metric="l2")


@pytest.mark.parametrize("metric", ["cosine", "softmax"])
def test_the_scale_can_be_learned(metric):
    fixed = NegMargin(conv4(), INFO, metric=metric, scale=7.0)
    method = NegMargin(conv4(), INFO, metric=metric, scale=7.0, learn_scale=True)
    fixed.objective = method.objective = NegMarginLoss(margin=-0.3)
    batch = Batch({"vector": vectors(6, 8)}, torch.arange(6))
    torch.testing.assert_close(method.loss(batch), fixed.loss(batch))
    assert not any(p.shape == () for p in fixed.parameters())
    method.loss(batch).backward()
    similarity = method.batch_logits(batch).detach() / 7
    moved = similarity + 0.3 * torch.eye(6)
    expected = ((7 * moved).softmax(1) * moved).sum(1).mean() - moved.diagonal().mean()  # of the loss by the scale
    torch.testing.assert_close(method.classifier.scale.grad, expected)


def test_simpleshot_centres_on_the_base_classes_and_normalises():
    support, query, base = vectors(1, 6, 8), vectors(1, 3, 8, seed=1), vectors(6, 8, seed=2)
    task = make_task({"vector": support}, {"vector": query}, 3, 2)
    object.__setattr__(task, "base", {"vector": base})
    found = SimpleShot(conv4(), INFO, norm="CL2N")(task)[0]
    for q in range(3):
        for n in range(3):
            shots = [F.normalize(support[0, i] - base.mean(0), dim=0) for i in (2 * n, 2 * n + 1)]
            distance = (F.normalize(query[0, q] - base.mean(0), dim=0) - (shots[0] + shots[1]) / 2).square().sum()
            torch.testing.assert_close(found[q, n], -distance)
    plain = SimpleShot(conv4(), INFO, norm="UN")
    torch.testing.assert_close(plain(task), ProtoNet(conv4(), INFO)(task))
    assert "base" not in plain.needs


def test_meta_baseline_learns_its_temperature():
    method = MetaBaseline(conv4(), INFO, tau=10.0)
    task = make_task({"vector": vectors(1, 4, 8)}, {"vector": vectors(1, 4, 8, seed=1)}, 2, 2)
    means = task.support["vector"].view(2, 2, 8).mean(1)
    expected = 10 * F.cosine_similarity(task.query["vector"][0][:, None], means[None], dim=2)
    torch.testing.assert_close(method(task)[0], expected)
    method.loss(task).backward()
    assert method.tau.grad.abs() > 0


def test_distillation_mixes_the_labels_with_the_teacher():
    teacher, student = RFS(conv4(1), INFO), RFS(conv4(2), INFO, distill=0.3, temperature=4.0)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    assert "teacher" in student.start_from(teacher)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    student.train()
    images, labels = vectors(4, 3, 16, 16), torch.tensor([0, 1, 5, 2])
    batch = Batch({"image": images}, labels).encoded(student.encode)
    found = student.loss(batch)

    logits = student.classifier(batch.inputs["vector"])
    with torch.no_grad():
        taught = teacher.eval().classifier(teacher.backbone(images)["vector"])
    p, log_q = (taught / 4).softmax(1), (logits / 4).log_softmax(1)
    divergence = (p * (p.log() - log_q)).sum(1).mean()
    torch.testing.assert_close(found, 0.7 * F.cross_entropy(logits, labels) + 0.3 * 16 * divergence)
    found.backward()
    assert all(p.grad is None for p in student._teacher[0].parameters())


def test_rfs_on_augmented_supports_is_logistic_regression_on_their_copies():
    method = RFS(conv4(), INFO, augmented=True)
    copies, query = vectors(2, 6, 4, 8), vectors(2, 3, 8, seed=1)
    task = make_task({"vector": vectors(2, 6, 8, seed=2), "parts": copies}, {"vector": query}, 3, 2)
    z = F.normalize(copies.flatten(1, 2), dim=-1).double().numpy()
    labels = np.repeat(np.repeat(np.arange(3), 2), 4)
    for t in range(2):
        weight, bias = by_scipy(z[t], labels, 3, 1.0)
        expected = F.normalize(query[t], dim=-1).double().numpy() @ weight.T + bias
        found = method(task)[t].softmax(-1).double()
        torch.testing.assert_close(found, torch.from_numpy(expected).softmax(-1), rtol=0, atol=2e-5)
    assert RFS(conv4(), INFO).needs == ("vector",)


def test_rfs_looks_at_copies_in_evaluation_alone(space, monkeypatch):
    seen = []
    encode = RFS.encode

    def watched(self, pixels):
        seen.append((self.training, "crops" in pixels))
        return encode(self, pixels)

    monkeypatch.setattr(RFS, "encode", watched)
    base = TWO_STAGES["STAGE"]["base"]
    stage = {key: base[key] for key in ("STREAM", "EPOCHS", "STEPS", "VAL", "OPTIM")}
    method = {"NAME": "RFS", "ARGS": {"augmented": True}}
    tree = TWO_STAGES | {"METHOD": method, "STAGES": ["base", "distil"], "STAGE": {"base": stage, "distil": stage}}
    cfg = space.config(tree, name="RFS.yaml")
    run = space.train(cfg, "DATASET.VIEWS=[whole, aug-3]")
    assert set(seen) == {(True, False), (False, True), (False, False)}  # the last one is the teacher
    three, one = (
        (space.evaluate(cfg, best(run), f"DATASET.VIEWS=[whole, aug-{n}]") / "episodes.csv").read_text() for n in (3, 1)
    )
    assert three != one
    with pytest.raises(UserError, match=r"DATASET\.VIEWS is \['whole'\], but RFS compares crops; add some"):
        space.evaluate(cfg, best(run))


def test_rfs_distils_from_a_config(space):
    base = TWO_STAGES["STAGE"]["base"]
    stage = {key: base[key] for key in ("STREAM", "EPOCHS", "STEPS", "VAL", "OPTIM")}
    tree = TWO_STAGES | {
        "METHOD": {"NAME": "RFS"},
        "STAGES": ["base", "distil"],
        "STAGE": {"base": stage, "distil": stage},
    }
    run = space.train(space.config(tree, name="RFS.yaml"))
    assert "with the previous stage as its teacher" in (run / "train.log").read_text()
