"""Methods on local descriptors compare the patch tokens of a vision transformer as they compare a CNN's map."""

from dataclasses import replace

import pytest
import torch

from core.build.encoders import make_encoder
from core.episode import DataInfo
from core.methods.deepemd import DeepEMD
from core.methods.dn4 import DN4
from core.methods.frn import FRN
from tests.helpers import make_task

pytest.importorskip("timm")
SIDE, WAY, SHOT = 64, 3, 2
METHODS = {"DN4": (DN4, {}), "DeepEMD": (DeepEMD, {"variant": "fcn"}), "FRN": (FRN, {})}


@pytest.fixture(scope="module")
def vit():
    return make_encoder("timm:test_vit", size=SIDE)[0]


def images(*leading, seed):
    return torch.randn(*leading, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def tasks():
    return make_task({"image": images(2, WAY * SHOT, seed=0)}, {"image": images(2, 5, seed=1)}, WAY, SHOT)


@pytest.fixture(params=METHODS)
def method(request, vit):
    kind, arguments = METHODS[request.param]
    torch.manual_seed(0)
    return kind(vit, DataInfo(n_base=4, image_size=SIDE, way=WAY, shot=SHOT, query=5), **arguments).eval()


@torch.no_grad()
def test_patches_are_compared_at_once_as_alone(method, vit):
    task = tasks().encoded(method.encode)
    assert task.support["map"].shape == (2, WAY * SHOT, vit.channels, 4, 4)
    together = method(task)
    assert together.shape == (2, 5, WAY)
    for t in range(2):
        pick = slice(t, t + 1)
        parts = [{name: value[pick] for name, value in part.items()} for part in (task.support, task.query)]
        labels = {name: getattr(task, name)[pick] for name in ("support_y", "query_y", "class_ids", "seed")}
        alone = method(replace(task, support=parts[0], query=parts[1], **labels))
        torch.testing.assert_close(together[pick], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_image_alone_gives_the_patches_that_it_gives_among_others(vit):
    batch = images(3, seed=2)
    for i in range(3):
        torch.testing.assert_close(vit(batch[i : i + 1])["map"][0], vit(batch)["map"][i], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_patches_of_an_image_find_themselves(vit):
    """Queries that are the supports themselves are answered right by DN4, whose nearest patch is then the same one."""
    method = DN4(vit, DataInfo(n_base=4, image_size=SIDE), k=1).eval()
    pixels = images(1, WAY, seed=3)
    task = make_task({"image": pixels}, {"image": pixels}, WAY, 1).encoded(method.encode)
    assert method(task).argmax(-1).tolist() == [[0, 1, 2]]
