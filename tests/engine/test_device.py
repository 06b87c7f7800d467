"""The device of a command, and how many images it encodes together."""

import pytest
import torch

from core.engine import device
from core.errors import UserError


@pytest.fixture
def gpus(monkeypatch):
    """Let PyTorch see this many GPUs."""

    def see(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return see


def test_the_cpu_is_chosen_by_its_name():
    assert device.choose("cpu") == (torch.device("cpu"), None)


@pytest.mark.parametrize("name", ["1", "cuda:1"])
def test_a_gpu_is_chosen_by_its_number(name, gpus):
    gpus(2)
    assert device.choose(name) == (torch.device("cuda", 1), None)


def test_without_a_gpu_the_cpu_takes_its_place_and_says_so(gpus):
    gpus(0)
    where, note = device.choose("0")
    assert where.type == "cpu"
    assert note == "no GPU is visible to PyTorch, so --device 0 runs on the CPU"


@pytest.mark.parametrize(("name", "sentence"), [("2", "PyTorch sees 2 GPU"), ("gpu", "neither"), ("-1", "neither")])
def test_devices_that_do_not_exist_are_refused(name, sentence, gpus):
    gpus(2)
    with pytest.raises(UserError, match=sentence):
        device.choose(name)


@pytest.mark.parametrize("threads", [-1, device.MOST_THREADS + 1])
def test_impossible_numbers_of_threads_are_refused(threads):
    with pytest.raises(UserError, match=f"--threads is {threads}"):
        device.prepare("cpu", threads)


def test_threads_are_set():
    before = torch.get_num_threads()
    try:
        device.prepare("cpu", 1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("size", "images"), [(0, 4096), (32, 50), (84, 7), (10_000, 1)])
def test_larger_images_are_encoded_in_smaller_numbers(size, images):
    assert device.images_at_once(size, torch.device("cpu")) == images


def test_several_devices_are_a_sentence_that_says_how():
    with pytest.raises(UserError, match=r"torchrun --nproc_per_node 4 .*, or spread .*run_suite\.py"):
        device.choose("0,1,2,3")
