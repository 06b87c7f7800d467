"""Several processes train what one trains: the same losses, the same weights, the same statistics."""

from pathlib import Path

import pytest
import torch
import yaml

from core.backbones.blocks import ConvBN
from core.engine.synced_norm import sync_norms
from tests.together import run_together

CLASSIFIER = {"AUGMENT": ["crop-2", "flip"], "STREAM": "batches", "BATCH": 12}
METHODS = {
    "ProtoNet": {"METHOD": {"NAME": "ProtoNet"}},
    "DeepEMD": {"METHOD": {"NAME": "DeepEMD"}},
    "NegMargin": {"METHOD": {"NAME": "NegMargin"}, "OBJECTIVE": {"NAME": "negmargin"}, "STAGE": CLASSIFIER},
}


@pytest.fixture
def trained(tmp_path, tiny_root):
    """Weights and losses of each process after some steps."""

    def train(method, processes, steps=50):
        tree = dict(METHODS[method])
        stage = {"TASKS": 6, "EPOCHS": 1, "STEPS": steps, "VAL": {"EPISODES": 2}} | tree.pop("STAGE", {})
        cfg = tmp_path / f"{method}.yaml"
        common = {
            "DATASET": {"ROOT": str(tiny_root), "SIZE": 16},
            "TASK": {"TEST": {"WAY": 3, "SHOT": 1, "QUERY": 2}},
            "BACKBONE": {"NAME": "Conv4", "ARGS": {"width": 8}},
            "STAGE": {"meta": stage},
        }
        cfg.write_text(yaml.safe_dump(common | tree))
        started = run_together(Path(__file__).with_name("trained_together.py"), [cfg, tmp_path], processes, tmp_path)
        outputs = [process.communicate(timeout=120)[0] for process in started]
        assert [process.returncode for process in started] == [0] * processes, outputs
        return [torch.load(tmp_path / f"{rank}_of_{processes}.pth") for rank in range(processes)]

    return train


@pytest.mark.parametrize(
    ("method", "processes"),
    [
        ("ProtoNet", 2),
        pytest.param("NegMargin", 3, marks=pytest.mark.slow),
        pytest.param("DeepEMD", 2, marks=pytest.mark.slow),
    ],
)
def test_several_processes_train_what_one_trains(trained, method, processes):
    (one,), several = trained(method, 1), trained(method, processes)
    for part in several:
        assert part["loss"] == pytest.approx(one["loss"], rel=1e-6)
        assert part["train"] == pytest.approx(one["train"])
        assert part["scalars"] == pytest.approx(one["scalars"], rel=1e-6)
        assert part["state"].keys() == one["state"].keys()
        for name, value in one["state"].items():
            torch.testing.assert_close(part["state"][name], value, rtol=0, atol=1e-5, msg=name)


def test_alone_it_is_batch_norm():
    torch.manual_seed(0)
    plain = torch.nn.Sequential(ConvBN(3, 4, 3, bias=True, norm="running"), torch.nn.ReLU()).double()
    synced = torch.nn.Sequential(ConvBN(3, 4, 3, bias=True, norm="running"), torch.nn.ReLU()).double()
    synced.load_state_dict(plain.state_dict())
    sync_norms(synced)
    assert type(synced[0][1]) is not type(plain[0][1])
    x = torch.randn(5, 3, 6, 6, dtype=torch.float64)
    for _ in range(2):
        for network in (plain, synced):
            network.zero_grad()
            network(x).square().sum().backward()
    for ours, theirs in zip(synced.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(synced.state_dict()[name], value)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-3), (torch.bfloat16, 2e-2)])
def test_a_large_mean_takes_nothing_from_a_small_variance(dtype, close):
    torch.manual_seed(0)
    norm = torch.nn.Sequential(torch.nn.BatchNorm2d(4))
    sync_norms(norm)
    x = (torch.randn(50, 4, 6, 6) + 100 * torch.arange(4).view(1, 4, 1, 1)).to(dtype)
    exact = x.double()
    expected = (exact - exact.mean((0, 2, 3), True)) / (exact.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x).double(), expected, rtol=close, atol=close)
    torch.testing.assert_close(norm[0].running_mean.double(), 0.1 * exact.mean((0, 2, 3)), rtol=1e-5, atol=1e-5)


def test_its_gradient():
    norm = torch.nn.Sequential(torch.nn.BatchNorm1d(3).double())
    sync_norms(norm)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: norm(x).sin(), x)


def test_a_norm_of_a_task_alone_is_left_as_it_is():
    block = torch.nn.Sequential(ConvBN(3, 4, 3, bias=True, norm="batch"))
    sync_norms(block)
    assert type(block[0][1]) is torch.nn.BatchNorm2d
