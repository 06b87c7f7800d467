"""Where tensors live, and how this machine is set up for them."""

from __future__ import annotations

import ctypes
import platform
import sys

import torch

from .. import ranks
from ..errors import UserError

# glibc's mallopt: keep freed memory instead of returning it page by page to the system. Activations of a training
# step are otherwise mapped and unmapped at every step, which costs up to 40 % of the time on a CPU.
_MALLOPT = {"M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 256 * 2**20), "M_MMAP_MAX": (-4, 0)}


MOST_THREADS = 1024


def prepare(name: str, threads: int) -> tuple[torch.device, str | None]:
    """Choose the device and set the process up for it; returns it with a line to print, see `choose`.

    `threads` are those of the CPU; 0 = PyTorch's choice. Where torchrun started several processes, each has the GPU of
    its own number.
    """
    several_gpus = not ranks.current().alone and name != "cpu" and torch.cuda.is_available()
    where, note = choose(str(ranks.local_number()) if several_gpus else name)
    if not 0 <= threads <= MOST_THREADS:
        raise UserError(f"--threads is {threads}; give 1 to {MOST_THREADS}, or 0 for PyTorch's choice.")
    if threads:
        torch.set_num_threads(threads)
    tune_allocator()
    allow_tf32(False)
    return where, note


def choose(name: str) -> tuple[torch.device, str | None]:
    """The device named "cpu" or by a CUDA index, and a line to print where the CPU has to take a GPU's place."""
    text = name.removeprefix("cuda:")
    if text == "cpu":
        return torch.device("cpu"), None
    if "," in text:
        raise UserError(
            f"--device is {name!r}, but a process takes one GPU; train on all of them with "
            f"`CUDA_VISIBLE_DEVICES={text} torchrun --nproc_per_node {text.count(',') + 1} experiments/run_trainer.py "
            "--cfg FILE`, or spread several runs over them with run_suite.py --devices."
        )
    if not text.isdecimal():
        raise UserError(
            f"--device is {name!r}, which is neither a GPU's number nor cpu; write --device 0 or --device cpu."
        )
    if not torch.cuda.is_available():
        return torch.device("cpu"), f"no GPU is visible to PyTorch, so --device {name} runs on the CPU"
    if int(text) >= torch.cuda.device_count():
        raise UserError(f"--device is {name}, but PyTorch sees {torch.cuda.device_count()} GPU(s), numbered from 0.")
    return torch.device("cuda", int(text)), None


def describe(where: torch.device) -> str:
    """A device's name for the record."""
    return torch.cuda.get_device_name(where) if where.type == "cuda" else f"cpu ({platform.machine()})"


def tune_allocator() -> None:
    """Set glibc's allocator up for large tensors that come and go; without effect elsewhere."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter, value in _MALLOPT.values():
            libc.mallopt(parameter, value)


def allow_tf32(allowed: bool) -> None:
    """Let GPUs multiply float32 with TF32's 10 bits, or with all bits; PyTorch's default differs between operations."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def images_at_once(size: int, device: torch.device) -> int:
    """Images of a side of `size` pixels that are encoded together.

    On CPUs larger batches leave the cache and are up to twice as slow per image; on GPUs they fill the device.
    Stored features (`size` 0) are copied rather than encoded, so any number will do.
    """
    if not size:
        return 4096
    return max(1, (51200 if device.type == "cpu" else 2**22) // size**2)
