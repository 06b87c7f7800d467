"""RFS: logistic regression on copies of the supports, and generations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.errors import UserError
from core.methods.rfs import RFS
from tests.helpers import make_task
from tests.methods.small import conv4, vectors
from tests.ops.test_logistic import by_scipy
from tests.workspace import TWO_STAGES, Workspace, best

INFO = DataInfo(n_base=6, image_size=16)


@pytest.fixture
def space(tmp_path, tiny_root, monkeypatch, capsys):
    return Workspace(tmp_path, tiny_root, monkeypatch, capsys)


def test_rfs_on_augmented_supports_is_logistic_regression_on_their_copies():
    method = RFS(conv4(8), INFO, augmented=True)
    copies, query = vectors(2, 6, 4, 8), vectors(2, 3, 8, seed=1)
    task = make_task({"vector": vectors(2, 6, 8, seed=2), "parts": copies}, {"vector": query}, 3, 2)
    z = F.normalize(copies.flatten(1, 2), dim=-1).double().numpy()
    labels = np.repeat(np.repeat(np.arange(3), 2), 4)
    for t in range(2):
        weight, bias = by_scipy(z[t], labels, 3, 1.0)
        expected = F.normalize(query[t], dim=-1).double().numpy() @ weight.T + bias
        probabilities = method(task)[t].softmax(-1).double()
        torch.testing.assert_close(probabilities, torch.from_numpy(expected).softmax(-1), rtol=0, atol=2e-5)
    assert RFS(conv4(8), INFO).needs == ("vector",)


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
