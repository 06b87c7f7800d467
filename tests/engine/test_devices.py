"""Every method on a GPU that is not there: tensors without content on `cuda`, which may not meet those of the CPU.

Also counted: how often a step asks the GPU for a number, which makes the CPU wait for it.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from core.build.config import load_config, schemas
from core.build.data import Data
from core.build.networks import build_method
from core.build.training import build_streams
from core.methods.protonet import ProtoNet
from core.ops.emd import solvers

# Where a loss or a prediction may wait for the GPU, and what it is told there.
WAITS = {
    "ops/emd/distance.py": True,  # all costs are finite
    "ops/svm.py": True,  # every task is solved
    "ops/proximal_head.py": False,  # a task is unsolved
    "ops/logistic.py": False,  # a task is unsolved
    "methods/pmf.py": True,  # the learning rate that a task chose, once a task
}
ENDLESS = 200  # questions after which a loop would not end


class Questions(TorchDispatchMode):
    """Answers every question for a number, and counts the files of core/ that ask."""

    def __init__(self) -> None:
        super().__init__()
        self.files: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is not torch.ops.aten._local_scalar_dense.default:
            return func(*args, **(kwargs or {}))
        asking = [frame.filename for frame in traceback.extract_stack() if "/core/" in frame.filename]
        file = asking[-1].split("/core/")[1]
        self.files[file] += 1
        assert file in WAITS, f"core/{file} waits for the GPU"
        assert self.files.total() < ENDLESS, self.files
        return WAITS[file] if args[0].dtype == torch.bool else 1


def on_gpu(thing):
    """The same with a tensor on `cuda`, which has no content, in place of each tensor."""
    if isinstance(thing, Tensor):
        return torch.empty_strided(thing.shape, thing.stride(), dtype=thing.dtype, device="cuda")
    if isinstance(thing, dict):
        return {name: on_gpu(value) for name, value in thing.items()}
    if dataclasses.is_dataclass(thing):
        fields = {field.name: on_gpu(getattr(thing, field.name)) for field in dataclasses.fields(thing)}
        return dataclasses.replace(thing, **fields)
    return thing


def move(method):
    """Put a method's parameters and buffers on the GPU that is not there."""
    for module in method.modules():
        for name, value in module._parameters.items():
            if value is not None:
                module._parameters[name] = nn.Parameter(on_gpu(value), requires_grad=value.requires_grad)
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = on_gpu(value)


@pytest.fixture
def without_gpu(monkeypatch):
    """What cannot be without one: gradients within a loss, which are zero here, and the solver of the CPU."""
    monkeypatch.setattr(torch.autograd, "grad", lambda y, x, **options: [torch.zeros_like(part) for part in x])

    def simplex(cost, a, b):
        return torch.zeros_like(cost), torch.zeros_like(a), torch.zeros_like(b), 0.0

    monkeypatch.setattr(solvers, "simplex", simplex)


def questions_of(cfg, stage):
    """Losses and predictions of a stage's method on the first step's data; returns the files that asked meanwhile."""
    data = Data(cfg, torch.device("cpu"))
    method = build_method(data, stage)
    items = [stream.at(0, 0.0) for stream in build_streams(data, stage, method)]
    questions = Questions()
    with FakeTensorMode(), questions:
        move(method)
        for item in map(on_gpu, items):
            for training in (True, False):
                method.train(training)
                encoded = item.encoded(method.encode)
                if training:
                    assert method.loss(encoded).value.device.type == "cuda"
                elif hasattr(encoded, "support"):
                    with torch.no_grad():
                        assert method(encoded).device.type == "cuda"
    return set(questions.files)


@pytest.mark.timeout(300)  # iMAML takes a minute
@pytest.mark.parametrize("name", sorted(schemas().methods))
def test_devices_do_not_mix(name, glyphs, without_gpu):
    fewer = [f"METHOD.ARGS.{steps}=1" for steps in ("steps", "test_steps", "cg_steps")]  # these tensors are slow
    cfg = load_config(
        f"configs/Glyphs/{name}_N5K1_C4.yaml", [f"DATASET.ROOT={glyphs}", *(fewer if name == "iMAML" else [])]
    ).cfg
    for stage in cfg.STAGES:
        questions_of(cfg, stage)


def test_a_method_that_mixes_them_is_noticed(glyphs, without_gpu, monkeypatch):
    cfg = load_config("configs/Glyphs/ProtoNet_N5K1_C4.yaml", [f"DATASET.ROOT={glyphs}"]).cfg
    forward = ProtoNet.forward
    monkeypatch.setattr(ProtoNet, "forward", lambda self, task: forward(self, task) + torch.ones(task.way))
    with pytest.raises(RuntimeError, match="device"):
        questions_of(cfg, "meta")


def test_a_method_that_waits_for_the_gpu_is_noticed(glyphs, without_gpu, monkeypatch):
    cfg = load_config("configs/Glyphs/ProtoNet_N5K1_C4.yaml", [f"DATASET.ROOT={glyphs}"]).cfg
    forward = ProtoNet.forward
    monkeypatch.setattr(ProtoNet, "forward", lambda self, task: forward(self, task) * float(task.seed[0]))
    with pytest.raises(AssertionError, match=r"core/.* waits for the GPU"):
        questions_of(cfg, "meta")
