"""Odd checkpoints, run folders that training goes on from, feature caches, and weights of encoders."""

from __future__ import annotations

import contextlib
import copy
import io
import shutil
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import save

from core.build.encoders import make_encoder
from core.build.evaluation import restore
from core.build.networks import build_method
from core.build.saved import load_saved
from core.commands import train
from core.engine.cache import FeatureCache
from core.engine.encoder_weights import load_weights
from core.engine.weights import take_weights
from tests.fuzz.bench import Bench
from tests.fuzz.damage import altered, changes, damaged, edits, values

RUN = (
    "last.pth",
    "config.yaml",
    "metrics.jsonl",
    "status.json",
    "env.json",
    "diff.txt",
    "train.log",
    "ebest_3way_1shot.pth",
)
WRAPPED = ("state_dict", "params", "method", "x")
TENSORS = ("nan", "shape", "half", "whole", "sparse", "complex", "none", "name", "extra", "missing", "text", "view")
odd_states = st.lists(st.tuples(st.sampled_from(TENSORS), st.integers(0, 1000)), min_size=1, max_size=3)


class Weights:
    """What holds tensors."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.run = train(
            str(bench.good), [], device_name="cpu", base=str(bench.folder / "trained"), evaluate_after=False
        )
        self.backbone = build_method(bench.data).backbone
        self._encoder = make_encoder("torchvision:shufflenet_v2_x0_5", size=32)[0]
        self.encoder_state = {"conv1.0.weight": torch.ones(24, 3, 3, 3), "conv1.1.bias": torch.zeros(24)}
        self.targets: dict[str, tuple[Any, Any]] = {
            "checkpoints": (edits, self.checkpoint),
            "checkpoints of other contents": (changes, self.other_checkpoint),
            "checkpoints of other tensors": (odd_states, self.other_state),
            "runs that go on": (st.tuples(st.sampled_from(RUN), edits), self.resumed),
            "last.pth of other contents": (changes, self.other_last),
            "caches": (st.tuples(st.sampled_from(["vector", "sums"]), edits), self.cache),
            "weights of encoders": (st.tuples(st.sampled_from(["pth", "safetensors"]), edits), self.encoder),
            "weights of other projects": (st.tuples(odd_states, st.sampled_from(WRAPPED), values), self.other_weights),
        }

    def checkpoint(self, value: Any) -> None:
        """A checkpoint with damaged bytes."""
        restore(self.bench.data, self.bench.file("ebest.pth", damaged(self.bench.checkpoint, value)))

    def other_checkpoint(self, value: Any) -> None:
        """A checkpoint that loads, and says something else about itself."""
        content = torch.load(self.run / "ebest_3way_1shot.pth", weights_only=True)
        content["meta"] = altered(content["meta"], value)
        path = self.bench.file("ebest.pth", _saved(content))
        restore(self.bench.data, path)
        load_saved(path, [])

    def other_state(self, value: Any) -> None:
        """A checkpoint of other tensors."""
        content = torch.load(io.BytesIO(self.bench.checkpoint), weights_only=True)
        content["method"] = odd_state(content["method"], value)
        restore(self.bench.data, self.bench.file("ebest.pth", _saved(content)))

    def _resume(self, name: str, content: bytes) -> None:
        """Go on with a run one of whose files is another."""
        base = self.bench.work / "runs"
        shutil.copytree(self.run, base / self.run.name)
        (base / self.run.name / name).write_bytes(content)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            train(str(self.bench.good), [], device_name="cpu", base=str(base), resume=True, evaluate_after=False)

    def resumed(self, value: Any) -> None:
        """A run with one damaged file."""
        name, harm = value
        self._resume(name, damaged((self.run / name).read_bytes(), harm))

    def other_last(self, value: Any) -> None:
        """A last.pth that loads, and says something else about how far the run is."""
        content = torch.load(self.run / "last.pth", weights_only=True)
        told = {key: content[key] for key in ("progress", "optimizer", "meta")}
        told["optimizer"] = told["optimizer"] | {"state": {}}
        content |= {"progress": content["progress"] | {"epoch": 0}}
        changed = altered(told, value)
        self._resume("last.pth", _saved(content | changed if isinstance(changed, dict) else {"method": changed}))

    def cache(self, value: Any) -> None:
        """A table with one damaged file: every row that it still has is as it was written."""
        name, harm = value
        shelf = FeatureCache(self.bench.work / "features", {"key": 1}, 1)
        table = shelf.create(6, {"vector": (5,)})
        assert table is not None
        table.arrays["vector"][:4] = np.arange(20).reshape(4, 5)
        table.mark(np.arange(4))
        del table
        file = shelf.path / f"{name}.npy"
        file.write_bytes(damaged(file.read_bytes(), harm))
        table = shelf.open(6)
        if table is not None:
            rows = np.flatnonzero(table.present)
            expected = np.arange(30, dtype=np.float32).reshape(6, 5)
            assert rows.max(initial=-1) < 4
            assert np.array_equal(table.arrays["vector"][rows], expected[rows])

    def encoder(self, value: Any) -> None:
        """A damaged file of a network's weights."""
        kind, harm = value
        state = dict(self.encoder_state)
        content = save(state) if kind == "safetensors" else _saved({"state_dict": state})
        load_weights(self._encoder, str(self.bench.file(f"x.{kind}", damaged(content, harm))))

    def other_weights(self, value: Any) -> None:
        """A whole file of other weights than those of the backbone."""
        steps, key, more = value
        state = {f"backbone.{name}": value for name, value in self.backbone.state_dict().items()}
        content = {key: odd_state(state, steps), "meta": more}
        take_weights(copy.deepcopy(self.backbone), self.bench.file("x.pth", _saved(content)))


def _saved(content: Any) -> bytes:
    """A value as torch.save writes it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def odd_state(state: dict[str, Any], steps: list[tuple[str, int]]) -> dict[Any, Any]:
    """A state dict some of whose tensors are others."""
    state = dict(state)
    for kind, place in steps:
        name = list(state)[place % len(state)] if state else "x"
        value = state.get(name, torch.ones(2))
        is_plain = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.numel() < 1 << 20
        value = value if is_plain else torch.ones(2)
        odd = {
            "nan": value * float("nan"),
            "shape": value.reshape(-1)[:1],
            "half": value.half(),
            "whole": value.long(),
            "sparse": value.float().to_sparse(),
            "complex": value.to(torch.complex64),
            "none": None,
            "text": "weights",
            "view": value.new_zeros(1).expand(1 << 40),
        }
        if kind in odd:
            state[name] = odd[kind]
        elif kind == "missing":
            state.pop(name, None)
        else:
            state[place if kind == "name" else f"{name}.extra"] = value
    return state
