"""A classifier comes back from its folder as it was, and a folder that was changed is refused."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load, save

from core.errors import UserError
from core.predict.classifier import make_classifier
from core.predict.folder import CONFIG, SEAL, SHEET, TENSORS, load_classifier, save_classifier
from core.predict.trust import measure_trust
from tests.predict.photos import drawn, network, supports_of

CPU = torch.device("cpu")


def saved(folder, method="ProtoNet", head="own"):
    encoder = network(method)
    classifier = make_classifier(encoder, supports_of(encoder, [2, 3, 1, 1, 1]), head)
    trust = measure_trust(classifier)
    save_classifier(folder, classifier, trust)
    return classifier, trust


@pytest.mark.parametrize(
    ("method", "head"),
    [("ProtoNet", "own"), ("ProtoNet", "RFS"), ("MAML", "own"), ("AM3", "own"), ("SimpleShot", "own")],
)
def test_a_classifier_answers_as_before(tmp_path, method, head):
    classifier, trust = saved(tmp_path, method, head)
    again, trust_again = load_classifier(tmp_path, CPU)
    photos = drawn([0, 1, 2], [70, 71])
    before, after = (c.network.encode(photos, c.network.store(None)).features for c in (classifier, again))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(classifier.logits(before), again.logits(after))
    assert again.head.name == classifier.head.name
    assert again.supports.names == classifier.supports.names
    assert again.network.key() == classifier.network.key()
    assert trust_again.tau == trust.tau
    assert torch.equal(trust_again.similarities, trust.similarities)


def test_nothing_in_a_folder_is_pickled(tmp_path):
    saved(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([SHEET, CONFIG, TENSORS])
    assert not any(file.read_bytes().startswith((b"\x80", b"PK")) for file in tmp_path.iterdir())


def refused(folder):
    with pytest.raises(UserError) as caught:
        load_classifier(folder, CPU)
    return str(caught.value)


def test_a_folder_that_is_none_is_refused(tmp_path):
    assert f"--classifier is {tmp_path}, which holds no classifier.json" in refused(tmp_path)


def test_a_folder_of_another_version_is_refused(tmp_path):
    saved(tmp_path)
    sheet = json.loads((tmp_path / SHEET).read_text())
    (tmp_path / SHEET).write_text(json.dumps(sheet | {"format": 7}))
    assert "is of format 7, and this version of FiveWay reads format 1" in refused(tmp_path)


def test_a_sheet_that_was_edited_is_refused(tmp_path):
    saved(tmp_path)
    text = (tmp_path / SHEET).read_text()
    (tmp_path / SHEET).write_text(text.replace('"apple"', '"pear"'))
    assert "was changed after it was written" in refused(tmp_path)
    (tmp_path / SHEET).write_text(text[:100])
    assert "is not what was written" in refused(tmp_path)


@pytest.mark.parametrize("name", [CONFIG, TENSORS])
def test_files_that_do_not_belong_together_are_refused(tmp_path, name):
    saved(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content + b" ")
    assert f"{name} is not the file that classifier.json was written with" in refused(tmp_path)
    (tmp_path / name).unlink()
    assert "cannot be read" in refused(tmp_path)


def sealed(folder, change):
    """Change classifier.json, and seal it anew."""
    sheet = json.loads((folder / SHEET).read_text())
    sheet.pop(SEAL)
    change(sheet)
    content = json.dumps(sheet, sort_keys=True).encode()
    (folder / SHEET).write_text(json.dumps(sheet | {SEAL: hashlib.sha256(content).hexdigest()}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda sheet: sheet.pop("head"), "is not what is written there (head)"),
        (lambda sheet: sheet["network"]["mean"].append("x"), "is not what is written there (network.mean.3)"),
        (lambda sheet: sheet["network"]["origin"].clear(), "is not what is written there (network.origin.sha256)"),
        (lambda sheet: sheet["network"]["facts"].update(n_base=10**9), "(facts are not what was written)"),
        (lambda sheet: sheet["supports"].pop(), "are not what was written"),
        (lambda sheet: sheet["trust"].update(more=1), "cannot classify its own supports"),
    ],
)
def test_a_sealed_sheet_that_no_classifier_can_have_is_refused(tmp_path, change, says):
    saved(tmp_path)
    sealed(tmp_path, change)
    assert says in refused(tmp_path)


@pytest.mark.parametrize("name", ["looks", "places", "labels", "similarities", "support.vector"])
def test_tensors_that_do_not_fit_the_supports_are_refused(tmp_path, name):
    saved(tmp_path)
    tensors = load((tmp_path / TENSORS).read_bytes())
    tensors[name] = tensors[name][:1].clone().half()
    content = save(tensors)
    (tmp_path / TENSORS).write_bytes(content)
    sealed(tmp_path, lambda sheet: sheet["sha256"].update({TENSORS: hashlib.sha256(content).hexdigest()}))
    assert "are not what was written); answer with --support again" in refused(tmp_path)
