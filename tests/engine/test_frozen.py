"""A run without training is a checkpoint of the network as it came."""

import torch

from core.backbones.conv4 import Conv4
from core.engine.frozen import FrozenNetwork
from core.episode import DataInfo
from core.methods.protonet import ProtoNet


def test_the_checkpoint_is_the_network_as_it_came(tmp_path):
    method = ProtoNet(Conv4(16, "native", width=4), DataInfo(3, 16))
    trainer = FrozenNetwork(method, tmp_path / "ebest.pth", {"stage": ""})
    trainer.rehearse()
    trainer.refuse_longer(5)
    trainer.resume()
    stored = torch.load(trainer.fit(), weights_only=True)
    assert stored["meta"] == {"stage": ""}
    assert all(torch.equal(value, stored["method"][name]) for name, value in method.state_dict().items())
