"""SimpleShot against its transforms, written as a loop."""

import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.methods.protonet import ProtoNet
from core.methods.simpleshot import SimpleShot
from tests.helpers import make_task
from tests.methods.small import conv4, vectors

COUNTS = [1, 2, 3, 4, 5, 25]
INFO = DataInfo(n_base=6, image_size=16)


@pytest.mark.parametrize("counts", [[7] * 6, COUNTS])
def test_simpleshot_centres_on_all_base_images_and_normalises(counts):
    support, query, base = vectors(1, 6, 8), vectors(1, 3, 8, seed=1), vectors(6, 8, seed=2)
    task = make_task({"vector": support}, {"vector": query}, 3, 2)
    object.__setattr__(task, "base", {"vector": base})
    info = DataInfo(n_base=6, image_size=16, base_counts=counts)
    logits = SimpleShot(conv4(8), info, norm="CL2N")(task)[0]
    images = [mean for mean, count in zip(base, counts, strict=True) for _ in range(count)]
    centre = sum(images) / len(images)
    for q in range(3):
        for n in range(3):
            shots = [F.normalize(support[0, i] - centre, dim=0) for i in (2 * n, 2 * n + 1)]
            distance = (F.normalize(query[0, q] - centre, dim=0) - (shots[0] + shots[1]) / 2).square().sum()
            torch.testing.assert_close(logits[q, n], -distance)
    plain = SimpleShot(conv4(8), INFO, norm="UN")
    torch.testing.assert_close(plain(task), ProtoNet(conv4(8), INFO)(task))
    assert "base" not in plain.needs


def test_the_centre_of_unbalanced_base_classes_is_another():
    task = make_task({"vector": vectors(1, 6, 8)}, {"vector": vectors(1, 3, 8, seed=1)}, 3, 2)
    object.__setattr__(task, "base", {"vector": vectors(6, 8, seed=2)})
    balanced, unbalanced = (
        SimpleShot(conv4(8), DataInfo(n_base=6, image_size=16, base_counts=counts))(task)
        for counts in ([3] * 6, COUNTS)
    )
    torch.testing.assert_close(balanced, SimpleShot(conv4(8), INFO)(task))
    assert (balanced - unbalanced).abs().max() > 0.01
