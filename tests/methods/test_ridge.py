"""Ridge: penalties that are refused, and one episode beside others."""

import pytest
import torch

from core.episode import DataInfo
from core.errors import UserError
from core.methods.ridge import Ridge
from tests.methods.small import conv4, task_of

INFO = DataInfo(n_base=5, image_size=16)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"penalties": [1.0, 0.0]}, r"^METHOD\.ARGS\.penalties is \[1\.0, 0\.0\], where 0\.0 must be above 0\.$"),
        ({"penalties": ["x"]}, r"^METHOD\.ARGS\.penalties is \['x'\], where 'x' must be above 0\.$"),
        ({"penalty": -1.0}, r"^METHOD\.ARGS\.penalty is -1\.0; it must be above 0\.$"),
    ],
)
def test_a_penalty_that_is_not_positive_is_refused(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        Ridge(conv4(), INFO, **arguments)


def test_the_scale_of_features_does_not_matter_and_that_of_logits_is_the_argument():
    task, larger = (task_of(6), task_of(6))
    for part in (larger.support, larger.query):
        part["vector"] = part["vector"] * 7
    method = Ridge(conv4(), INFO, scale=3.0).double()
    torch.testing.assert_close(method(task), method(larger))
    torch.testing.assert_close(method(task) / 3, Ridge(conv4(), INFO, scale=1.0).double()(task))
