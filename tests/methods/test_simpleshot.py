"""SimpleShot against its transforms, written as a loop."""

import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.methods.protonet import ProtoNet
from core.methods.simpleshot import SimpleShot
from tests.helpers import make_task
from tests.methods.small import conv4, vectors

INFO = DataInfo(n_base=6, image_size=16)


def test_simpleshot_centres_on_the_base_classes_and_normalises():
    support, query, base = vectors(1, 6, 8), vectors(1, 3, 8, seed=1), vectors(6, 8, seed=2)
    task = make_task({"vector": support}, {"vector": query}, 3, 2)
    object.__setattr__(task, "base", {"vector": base})
    found = SimpleShot(conv4(8), INFO, norm="CL2N")(task)[0]
    for q in range(3):
        for n in range(3):
            shots = [F.normalize(support[0, i] - base.mean(0), dim=0) for i in (2 * n, 2 * n + 1)]
            distance = (F.normalize(query[0, q] - base.mean(0), dim=0) - (shots[0] + shots[1]) / 2).square().sum()
            torch.testing.assert_close(found[q, n], -distance)
    plain = SimpleShot(conv4(8), INFO, norm="UN")
    torch.testing.assert_close(plain(task), ProtoNet(conv4(8), INFO)(task))
    assert "base" not in plain.needs
