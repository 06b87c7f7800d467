"""alpha-TIM beside TIM, which it is at alpha 1."""

import torch

from core.episode import DataInfo
from core.methods.alpha_tim import AlphaTIM
from core.methods.tim import TIM
from tests.methods.small import conv4
from tests.methods.test_transductive import nonnegative_task

INFO = DataInfo(n_base=6, image_size=16)


def test_card_16_alpha_tim_at_1_is_tim():
    task = nonnegative_task()
    tim = TIM(conv4(8), INFO, solver="gd", steps=200, weights=[1.0, 1.0, 1.0])(task)
    torch.testing.assert_close(AlphaTIM(conv4(8), INFO, alpha=[[1, 1.0]], steps=200)(task), tim)
    torch.testing.assert_close(AlphaTIM(conv4(8), INFO, alpha=[[1, 1.0 + 1e-7]], steps=200)(task), tim)
    assert (AlphaTIM(conv4(8), INFO, alpha=[[1, 3.0]], steps=200)(task) - tim).abs().max() > 1e-3


def test_the_published_alpha_follows_the_shot():
    for shot, alpha in ((1, 2.0), (5, 7.0)):
        task = nonnegative_task(shot=shot)
        given = AlphaTIM(conv4(8), INFO, alpha=[[1, alpha]], steps=50)(task)
        torch.testing.assert_close(AlphaTIM(conv4(8), INFO, steps=50)(task), given)


def test_unbalanced_queries_stay_unbalanced_where_tim_evens_them_out():
    """Eleven queries of class 0 and one of class 1: the larger alpha, the less the mean label is made even."""
    task = nonnegative_task(tasks=10)
    vectors = task.support["vector"][:, [0] * 11 + [2]] + 0.3 * task.query["vector"]
    object.__setattr__(task, "query", {"vector": vectors})
    of_class_0 = [
        (method(task).argmax(-1) == 0).double().mean()
        for method in (TIM(conv4(8), INFO, solver="gd", weights=[1.0, 10.0, 1.0]), AlphaTIM(conv4(8), INFO))
    ]
    assert of_class_0[1] >= of_class_0[0]
