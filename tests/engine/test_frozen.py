"""A run without training is a checkpoint of the network as it came."""

import torch

from core.backbones.conv4 import Conv4
from core.engine.frozen import FrozenNetwork
from core.episode import DataInfo
from core.methods.protonet import ProtoNet


class Evaluator:
    """Counts the episodes that it is asked for."""

    def __init__(self):
        self.episodes = []

    def run(self, method, episodes):
        self.episodes.append(episodes)


def test_the_checkpoint_is_the_network_as_it_came(tmp_path):
    method, evaluator = ProtoNet(Conv4(16, "native", width=4), DataInfo(3, 16)), Evaluator()
    trainer = FrozenNetwork(method, evaluator, tmp_path / "ebest.pth", {"stage": ""})
    trainer.rehearse()
    trainer.refuse_longer()
    trainer.resume()
    stored = torch.load(trainer.fit(), weights_only=True)
    assert evaluator.episodes == [1]
    assert stored["meta"] == {"stage": ""}
    assert all(torch.equal(value, stored["method"][name]) for name, value in method.state_dict().items())
