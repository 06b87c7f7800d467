"""What all transductive heads share: every query counts, and none alone."""

from dataclasses import replace

import pytest
import torch

from core.episode import DataInfo
from core.errors import UserError
from core.methods.transductive import ByShot, TransductiveHead
from core.registry import METHODS
from tests.methods.small import UNEQUAL, conv4, drawn, task_of

from core.build.config import schemas  # isort: skip

INFO = DataInfo(n_base=6, image_size=16)
HEADS = [name for name in sorted(schemas().methods) if issubclass(METHODS[name], TransductiveHead)] + ["EPNet"]
each_head = pytest.mark.parametrize("name", HEADS)


def head(name):
    return METHODS[name](conv4(8), INFO).eval()


def nonnegative_task(**shape):
    """A task of features as a ReLU leaves them, in three clusters, with the mean of every base class."""
    task = task_of(8, **{"queries": 12, "way": 3, "shot": 2} | shape)
    centres = 2 * drawn(3, 8, seed=7).abs()
    support = (centres[task.support_y] + task.support["vector"]).relu()
    query = (centres[task.query_y] + task.query["vector"]).relu()
    return replace(
        task, support={"vector": support}, query={"vector": query}, base={"vector": drawn(6, 8, seed=2).abs()}
    )


def logits(name, task):
    with torch.no_grad():
        return head(name)(task)


@each_head
def test_card_16_permuting_queries_permutes_predictions(name):
    task, order = nonnegative_task(), torch.randperm(12, generator=torch.Generator().manual_seed(0))
    permuted = replace(task, query={"vector": task.query["vector"][:, order]}, query_y=task.query_y[:, order])
    torch.testing.assert_close(logits(name, permuted), logits(name, task)[:, order])


@each_head
def test_card_16_duplicating_one_query_changes_others(name):
    task = nonnegative_task()
    vectors = torch.cat([task.query["vector"], task.query["vector"][:, :1]], dim=1)
    doubled = replace(task, query={"vector": vectors}, query_y=torch.cat([task.query_y, task.query_y[:, :1]], dim=1))
    assert (logits(name, doubled)[:, 1:12] - logits(name, task)[:, 1:]).abs().max() > 1e-6


@each_head
def test_one_query_is_refused_in_a_sentence(name):
    with pytest.raises(UserError) as caught:
        logits(name, nonnegative_task(queries=1))
    assert str(caught.value) == (
        f"{name} classifies the queries of a task together, but this one has 1; give it 2 or more (in episodes "
        "TASK.TEST.QUERIES), or choose an inductive method."
    )


@each_head
def test_two_queries_and_unequal_shots_are_classified(name):
    assert logits(name, nonnegative_task(queries=2)).isfinite().all()
    assert logits(name, nonnegative_task(tasks=1, counts=UNEQUAL)).isfinite().all()


@each_head
def test_clusters_are_told_apart(name):
    task = nonnegative_task(tasks=20)
    assert (logits(name, task).argmax(-1) == task.query_y).double().mean() > 0.8


def test_a_value_holds_from_its_shot_on():
    values = ByShot([[2, 0.7], [5, 0.3]], "pull")
    of = {shot: values.of(replace(task_of(8, shot=2), shot=shot)) for shot in (1, 2, 4, 5, 20)}
    assert of == {1: 0.7, 2: 0.7, 4: 0.7, 5: 0.3, 20: 0.3}
    assert values.of(task_of(8, tasks=1, counts=UNEQUAL)) == 0.7


@pytest.mark.parametrize("pairs", [[], [[1, 0.7], [1, 0.3]], [[5, 0.3], [1, 0.7]], [0.7], [[1.5, 0.7]], [[1, "high"]]])
def test_pairs_of_no_shot_and_value_are_one_sentence(pairs):
    with pytest.raises(UserError, match=r"^METHOD\.ARGS\.pull is .*, which must be pairs of a number of shots and"):
        ByShot(pairs, "pull")
