"""Card 17 of the specifications: answers averaged over a grid of hyper-parameters."""

import copy

import pytest
import torch

from core.backbones.blocks import fold
from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods.dense_classification import DC
from core.methods.ensemble import Ensemble
from core.methods.negmargin import NegMargin
from core.methods.protonet import ProtoNet
from core.methods.rfs import RFS
from core.methods.ridge import Ridge
from core.objectives.negmargin import NegMarginLoss
from tests.methods.small import conv4, drawn, task_of

INFO = DataInfo(n_base=5, image_size=16)
GRID = [["inverse_penalty", 0.1, 1.0, 10.0]]


def test_card_17_a_grid_of_one_point_is_the_method():
    task = task_of(6)
    ensemble = Ensemble(conv4(), INFO, of="RFS", grid=[["inverse_penalty", 3.0]])
    expected = RFS(conv4(), INFO, inverse_penalty=3.0)(task).log_softmax(-1)
    torch.testing.assert_close(ensemble(task), expected)


def test_all_combinations_are_averaged():
    task, backbone = task_of(6), conv4()
    grid = [["penalties", []], ["penalty", 0.1, 1.0], ["scale", 1.0, 5.0]]
    pairs = [(p, s) for p in (0.1, 1.0) for s in (1.0, 5.0)]
    members = [Ridge(backbone, INFO, penalties=[], penalty=p, scale=s)(task).softmax(-1) for p, s in pairs]
    logits = Ensemble(backbone, INFO, of="Ridge", grid=grid)(task)
    torch.testing.assert_close(logits, torch.stack(members).mean(0).log())


@pytest.mark.parametrize("vote", ["probability", "log", "majority"])
def test_votes(vote):
    task, backbone = task_of(6), conv4()
    members = torch.stack([RFS(backbone, INFO, inverse_penalty=c)(task).softmax(-1) for c in GRID[0][1:]])
    logits = Ensemble(backbone, INFO, grid=GRID, vote=vote)(task)
    if vote == "majority":
        for t, q in torch.cartesian_prod(torch.arange(2), torch.arange(4)).tolist():
            answers = members[:, t, q].argmax(-1).tolist()
            expected = [answers.count(n) / 3 for n in range(3)]
            torch.testing.assert_close(logits[t, q], torch.tensor(expected).double())
    else:
        expected = members.mean(0).log() if vote == "probability" else members.log().mean(0)
        torch.testing.assert_close(logits, expected)


def test_members_share_what_is_learned_also_in_a_copy():
    ensemble = Ensemble(conv4(), INFO, grid=GRID)
    copied = copy.deepcopy(ensemble)
    with torch.no_grad():
        copied.head.classifier.weight.zero_()
    assert all(member.classifier is copied.head.classifier for member in copied._members)
    assert ensemble.head.classifier.weight.any()
    assert ensemble._members[0].classifier is ensemble.head.classifier
    names = [name for name in ensemble.state_dict() if "classifier" in name]
    assert names == ["head.classifier.weight", "head.classifier.bias"]
    folded = fold(ensemble)
    torch.testing.assert_close(folded(task_of(6)), ensemble(task_of(6)))


def test_it_reads_what_any_member_reads():
    ensemble = Ensemble(conv4(), INFO, of="RFS", grid=[["augmented", False, True]])
    assert ensemble.needs == ("vector", "parts")
    assert ensemble.needed(training=True) == ("vector",)
    task = task_of(6)
    task.support["parts"] = drawn(2, 6, 3, 6)
    expected = torch.stack([member(task).softmax(-1) for member in ensemble._members]).mean(0).log()
    torch.testing.assert_close(ensemble(task), expected)


def test_it_starts_from_a_stage_of_the_method_itself():
    previous, ensemble = RFS(conv4(seed=3), INFO), Ensemble(conv4(), INFO, grid=GRID)
    ensemble.start_from(previous)
    assert torch.equal(ensemble.head.classifier.weight, previous.classifier.weight)
    assert torch.equal(ensemble.backbone.layers[0][0].weight, previous.backbone.layers[0][0].weight)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"of": "RSF"}, "METHOD.NAME is 'RSF', which is not one of"),
        ({"of": "Ensemble"}, "an ensemble of ensembles"),
        ({"of": ProtoNet.name, "grid": [["scale", 1.0]]}, "ProtoNet, which has no argument that may change at test"),
        ({"grid": [["inverse_penality", 1.0]]}, r"is 'inverse_penality', which is not one of: .*\(did you mean inv"),
        ({"grid": [["inverse_penalty"]]}, "an entry is an argument and its values"),
        ({"grid": ["inverse_penalty"]}, "an entry is an argument and its values"),
        ({"grid": [["inverse_penalty", "x"]]}, "gives inverse_penalty the value 'x', which is not a number"),
        ({"grid": [["augmented", 0.5]]}, "gives augmented the value 0.5, which is not true or false"),
        (
            {"of": "LaplacianShot", "grid": [["neighbours", 1.5]]},
            "gives neighbours the value 1.5, which is not an integer",
        ),
        ({"vote": "mean"}, "METHOD.ARGS.vote is 'mean'"),
    ],
)
def test_what_cannot_be_is_refused(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        Ensemble(conv4(), INFO, **arguments)


def batch_of(*tail, classes=5, images=6):
    labels = torch.arange(images) % classes
    return Batch({name: drawn(images, *shape).float() for name, shape in tail}, labels)


def test_it_is_trained_by_the_loss_of_the_method():
    """DC's loss is the mean over the positions of a map, not that of the mean logits."""
    batch = batch_of(("map", (6, 3, 3)))
    ensemble = Ensemble(conv4(), INFO, of="DC", grid=[["test", "dense", "pooled"]])
    alone = DC(conv4(), INFO)
    alone.load_state_dict({n.removeprefix("head."): v for n, v in ensemble.state_dict().items() if "head." in n})
    assert ensemble.loss(batch).value == alone.loss(batch).value
    assert ensemble.loss(batch).value != ensemble.judge(ensemble.batch_logits(batch), batch.labels, batch).value


def test_margins_are_in_the_units_of_the_method():
    batch, grid = batch_of(("vector", (6,))), [["head_lr", 0.01, 0.1]]
    ensemble = Ensemble(conv4(), INFO, of=NegMargin.name, grid=grid)
    ensemble.objective = NegMarginLoss(margin=-0.3)
    logits = ensemble.batch_logits(batch)
    assert ensemble.scale == 10.0
    assert ensemble.cosine_logits
    assert ensemble.loss(batch).value == NegMarginLoss(margin=-0.3)(logits, batch.labels, 10.0).value
    assert not [name for name in ensemble.state_dict() if "objective" in name]
