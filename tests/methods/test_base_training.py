"""The head that is fine-tuned on the supports of an episode, whichever method fits it."""

import pytest
import torch

from core.episode import DataInfo
from core.errors import UserError
from core.methods.negmargin import NegMargin
from core.registry import METHODS
from tests.helpers import make_task
from tests.methods.small import conv4, vectors

INFO = DataInfo(n_base=6, image_size=16)


def test_an_argument_of_the_shared_head_reaches_every_fine_tuned_method():
    for name in ("Baseline", "Baseline++", "NegMargin"):
        assert METHODS.arguments(name).defaults["head_passes"] == 100
        assert METHODS[name](conv4(8), INFO, head_steps=[[1, 7]]).steps == {1: 7}


@pytest.mark.parametrize("name", ["Baseline", "Baseline++", "NegMargin"])
def test_the_steps_of_the_head_are_those_of_the_shot(name):
    by_shot = METHODS[name](conv4(8), INFO, head_steps=[[1, 3], [2, 9]])
    for shot, steps in ((1, 3), (2, 9)):
        task = make_task({"vector": vectors(2, 5 * shot, 8)}, {"vector": vectors(2, 10, 8, seed=1)}, 5, shot)
        alone = METHODS[name](conv4(8), INFO, head_steps=[[shot, steps]])
        longer = METHODS[name](conv4(8), INFO, head_steps=[[shot, steps + 1]])
        assert torch.equal(by_shot(task), alone(task))
        assert not torch.equal(by_shot(task), longer(task))


def test_a_shot_that_the_recipe_has_no_steps_for_is_refused():
    method = NegMargin(conv4(8), INFO, head_steps=[[1, 3], [5, 9]])
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
        ({"head_passes": 0}, "METHOD.ARGS.head_passes is 0; it must be at least 1."),
        (
            {"head_steps": [[1, 0]]},
            "METHOD.ARGS.head_steps is [[1, 0]], which must be pairs of a shot and a ",
        ),
        ({"head_steps": [150]}, "METHOD.ARGS.head_steps is [150], which must be pairs of a shot and a number of steps"),
        ({"head_steps": [[1, 9], [1, 8]]}, "METHOD.ARGS.head_steps is [[1, 9], [1, 8]], which names a shot twice; "),
        ({"head_batch": 0}, "METHOD.ARGS.head_batch is 0; it must be at least 1."),
    ],
)
def test_a_head_that_cannot_learn_is_refused(head, sentence):
    with pytest.raises(UserError) as caught:
        NegMargin(conv4(8), INFO, **head)
    assert str(caught.value).startswith(sentence)
