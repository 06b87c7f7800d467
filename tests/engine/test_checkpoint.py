"""Checkpoints: whole or absent, plain values only, and every damage one sentence."""

import copy
import io
import os
import pickle
import random
from pathlib import Path

import pytest
import torch

from core.backbones.conv4 import Conv4
from core.engine import checkpoint
from core.episode import DataInfo
from core.errors import UserError
from core.methods.meta_baseline import MetaBaseline
from core.methods.negmargin import NegMargin
from core.methods.protonet import ProtoNet


def protonet(width=4):
    return ProtoNet(Conv4(16, "native", width=width), DataInfo(n_base=6, image_size=16))


def content():
    return {
        "method": protonet().state_dict(),
        "meta": {"stem": "ä", "final": True, "n": 3, "rate": 0.1, "list": [1, "two", None]},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def assert_refused(path, match="is not a readable checkpoint"):
    with pytest.raises(UserError, match=match) as caught:
        checkpoint.load(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_roundtrip(tmp_path):
    path = tmp_path / "new" / "a.pth"
    before = content()
    checkpoint.save(path, before)
    assert same(dict(checkpoint.load(path)), before)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.pth"]


def test_loading_asks_for_weights_only(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    checkpoint.save(path, content())
    calls, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **options: calls.append(options) or load(*a, **options))
    checkpoint.load(path)
    assert calls[0]["weights_only"] is True


def test_equal_contents_have_equal_hashes(tmp_path):
    one, changed = content(), content()
    for name, value in {"one": one, "other": copy.deepcopy(one), "changed": changed}.items():
        checkpoint.save(tmp_path / name / "a.pth", value)
    hashes = {name: checkpoint.load_with_hash(tmp_path / name / "a.pth")[1] for name in ("one", "other", "changed")}
    assert hashes["one"] == hashes["other"] != hashes["changed"]


def test_missing_file(tmp_path):
    assert_refused(tmp_path / "a.pth", "does not exist; give --checkpoint")
    assert_refused(tmp_path, "is a folder")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file(tmp_path, share):
    path = tmp_path / "a.pth"
    checkpoint.save(path, content())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert_refused(path, r"may be truncated, train or copy it again\.$")


def test_random_bytes(tmp_path):
    path, rng = tmp_path / "a.pth", random.Random(0)
    for _ in range(200):
        path.write_bytes(rng.randbytes(rng.randrange(100)))
        assert_refused(path)


def test_a_changed_byte_is_noticed_or_harmless(tmp_path):
    path, rng, before = tmp_path / "a.pth", random.Random(0), {"method": {"w": torch.ones(9)}, "meta": {"a": 1}}
    checkpoint.save(path, before)
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            entries = checkpoint.load(path)
        except UserError:
            continue
        assert same(entries, before)


class Code:
    """Unpickling it makes a folder."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_and_not_run(tmp_path, zipped):
    path, mark = tmp_path / "a.pth", tmp_path / "ran"
    payload = {"method": {}, "meta": Code(mark)}
    if zipped:
        torch.save(payload, path)
    else:
        path.write_bytes(pickle.dumps(payload))
    assert_refused(path)
    assert not mark.exists()


@pytest.mark.parametrize("other", [[1, 2], {"state_dict": {}}, {"method": {}}, torch.ones(2)], ids=type)
def test_other_files_of_torch(tmp_path, other):
    torch.save(other, tmp_path / "a.pth")
    with pytest.raises(UserError, match="it lacks the entries 'method' and 'meta'"):
        checkpoint.load(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error, raised):
    path = tmp_path / "a.pth"
    checkpoint.save(path, content())
    before = path.read_bytes()

    def fail(_, file):
        file.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(raised):
        checkpoint.save(path, content())
    with pytest.raises(raised):
        checkpoint.save(tmp_path / "b.pth", content())
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pth"]


def test_restore(tmp_path):
    torch.manual_seed(0)
    one, other = protonet(), protonet()
    assert not same(dict(other.state_dict()), dict(one.state_dict()))
    checkpoint.restore(other, one.state_dict(), tmp_path / "a.pth")
    assert same(dict(other.state_dict()), dict(one.state_dict()))


def test_restore_counts_what_does_not_fit(tmp_path):
    method = protonet()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    wider = protonet(8).state_dict()
    # 4 blocks of weight, bias and 5 entries of batch-norm; the 4 call counters are scalars and fit.
    with pytest.raises(UserError) as caught:
        checkpoint.restore(method, wider, tmp_path / "a.pth")
    assert str(caught.value) == (
        f"{tmp_path / 'a.pth'} holds another network than the config asks for (4 entries matched, 24 missing, "
        "24 unexpected); use the BACKBONE, METHOD and DATASET it was trained with."
    )
    assert same(dict(method.state_dict()), before)


def test_restore_refuses_a_part(tmp_path):
    info = DataInfo(n_base=6, image_size=16)
    whole, part = NegMargin(Conv4(16, "native", width=4), info), protonet()
    with pytest.raises(UserError, match="28 entries matched, 1 missing, 0 unexpected"):
        checkpoint.restore(whole, part.state_dict(), tmp_path)
    with pytest.raises(UserError, match="28 entries matched, 0 missing, 1 unexpected"):
        checkpoint.restore(part, whole.state_dict(), tmp_path)


def test_legacy_format_is_refused(tmp_path):
    buffer = io.BytesIO()
    torch.save({"method": {}, "meta": {}}, buffer, _use_new_zipfile_serialization=False)
    (tmp_path / "a.pth").write_bytes(buffer.getvalue())
    assert_refused(tmp_path / "a.pth")


def test_a_parameter_under_its_former_name_is_restored():
    source, target = (MetaBaseline(Conv4(16, "native", width=4), DataInfo(6, 16), scale=s) for s in (7.0, 10.0))
    state = source.state_dict()
    state["tau"] = state.pop("scale")
    checkpoint.restore(target, state, Path("old.pth"))
    assert target.scale == 7.0
    with pytest.raises(UserError, match="1 missing, 1 unexpected"):
        checkpoint.restore(target, {("temperature" if n == "tau" else n): v for n, v in state.items()}, Path("old.pth"))
