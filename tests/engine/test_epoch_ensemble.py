"""Networks that answer together: the mean of what each says by itself, with features that are encoded once."""

import pytest
import torch

from core.engine.epoch_ensemble import EpochEnsemble
from core.episode import DataInfo
from core.methods.covamnet import CovaMNet
from core.methods.maml import MAML
from core.methods.protonet import ProtoNet
from core.methods.simpleshot import SimpleShot
from tests.methods.small import conv4, task_of

SIDE = 32
INFO = DataInfo(n_base=4, image_size=SIDE, way=3, shot=2)


def members(kind, count=3, **norm):
    return [kind(conv4(size=SIDE, seed=seed, **norm), INFO).eval() for seed in range(count)]


@pytest.mark.parametrize("kind", [ProtoNet, CovaMNet])
def test_each_member_classifies_its_own_features(kind):
    networks, pixels = members(kind), task_of(3, SIDE, SIDE, name="image")
    pixels = pixels.encoded(lambda features: {"image": features["image"].float()})
    joint = EpochEnsemble(networks, INFO).eval()
    logits = torch.stack([member(pixels.encoded(member.encode)) for member in networks])
    torch.testing.assert_close(joint(pixels.encoded(joint.encode)), logits.mean(0))
    assert (joint.name, joint.needs, joint.transductive) == (kind.name, networks[0].needs, networks[0].transductive)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_networks_that_adapt_are_averaged_too():
    networks, pixels = members(MAML, 2, norm="batch"), task_of(3, SIDE, SIDE, name="image")
    pixels = pixels.encoded(lambda features: {"image": features["image"].float()})
    joint = EpochEnsemble(networks, INFO).eval()
    logits = torch.stack([member(pixels) for member in networks])
    torch.testing.assert_close(joint(pixels.encoded(joint.encode)), logits.mean(0))


def test_means_of_base_classes_are_each_members_own():
    networks = [member.double() for member in members(SimpleShot, 2)]
    joint, features = EpochEnsemble(networks, INFO).eval(), task_of(6)
    names = ("vector", "vector.1")

    def of_both(part):
        return {name: part["vector"] * (1 + number) for number, name in enumerate(names)}

    task = features.encoded(of_both)
    object.__setattr__(task, "base", of_both({"vector": torch.ones(4, 6, dtype=torch.float64)}))
    alone = []
    for number, member in enumerate(networks):
        member_task = features.encoded(lambda part, number=number: {"vector": part["vector"] * (1 + number)})
        object.__setattr__(member_task, "base", {"vector": task.base[names[number]]})
        alone.append((member(member_task), member.base_logits(member_task)))
    torch.testing.assert_close(joint(task), (alone[0][0] + alone[1][0]) / 2)
    torch.testing.assert_close(joint.base_logits(task), (alone[0][1] + alone[1][1]) / 2)
