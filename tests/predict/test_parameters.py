"""What stands in for scikit-learn does what its base classes do."""

import numpy as np
import pytest

from core.predict.parameters import BaseEstimator, ClassifierMixin


class Constant(ClassifierMixin, BaseEstimator):
    def __init__(self, *, answer=1):
        self.answer = answer

    def predict(self, images):
        return np.full(len(images), self.answer)


def test_parameters_are_read_and_set():
    made = Constant(answer=2)
    assert made.get_params() == {"answer": 2}
    assert made.set_params(answer=3).answer == 3
    with pytest.raises(ValueError, match="other is no argument of Constant"):
        made.set_params(other=1)


def test_the_score_is_the_share_of_right_answers():
    assert Constant().score([0, 0, 0, 0], [1, 1, 1, 0]) == 0.75
