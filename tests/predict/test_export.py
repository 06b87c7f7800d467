"""The exported files answer as the classifier does, without this package and without PyTorch."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.predict import export as module
from core.predict.classifier import make_classifier
from core.predict.folder import save_classifier
from core.predict.trust import measure_trust
from tests.predict.encoders import NAME, SIZE, write_weights
from tests.predict.photos import network, pattern, supports_of, write_classes, write_photo
from tests.prepare.fake_images import deep_tiff

pytest.importorskip("onnx", reason="the export needs onnx")
pytest.importorskip("onnxruntime", reason="the export needs onnxruntime")

WITHOUT = "import sys; sys.modules['torch'] = sys.modules['core'] = None; import runpy; sys.argv = sys.argv[1:]; "
RUN = WITHOUT + "runpy.run_path(sys.argv[0], run_name='__main__')"


def saved(folder, method="ProtoNet", head="own"):
    encoder = network(method)
    classifier = make_classifier(encoder, supports_of(encoder, [2, 3, 2]), head)
    save_classifier(folder, classifier, measure_trust(classifier))


@pytest.mark.timeout(300)
def test_predict_py_answers_as_run_predict_does(space, tmp_path):
    write_classes(tmp_path / "labelled", {"cup": 3, "bowl": 2, "fork": 4})
    queries = write_classes(tmp_path / "new", {"cup": 2, "bowl": 2}, first=50)
    write_photo(queries / "large.jpg", 2, 99, quality=80)
    weights = write_weights(tmp_path)
    arguments = ["--encoder", NAME, "--weights", weights, "--support", tmp_path / "labelled", "--query", queries]
    arguments += ["--out", tmp_path / "answers", "-d", "cpu", "--cache", "", *SIZE]
    assert space.script("run_predict.py", *arguments)[0] == 0
    out = tmp_path / "exported"
    code, printed, err = space.script("run_export.py", "--classifier", tmp_path / "answers/classifier", "--out", out)
    assert (code, err) == (0, "")
    assert f"exported to {out}" in printed
    rows = list(csv.DictReader(io.StringIO((tmp_path / "answers/answers.csv").read_text())))
    files = [row["file"] for row in rows]
    run = subprocess.run([sys.executable, "-c", RUN, out / "predict.py", *files], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    assert [(name, answer) for name, answer, _ in lines] == [(row["file"], row["class"]) for row in rows]
    ours = [float(row["probability"]) for row in rows]
    assert [float(share) for _, _, share in lines] == pytest.approx(ours, abs=1e-4)


@pytest.fixture
def exported(tmp_path):
    """Run an exported predict.py."""
    saved(tmp_path / "classifier")
    module.export(tmp_path / "classifier", tmp_path / "out")

    def run(*files):
        return subprocess.run([sys.executable, "-c", RUN, tmp_path / "out/predict.py", *files], capture_output=True,
                              text=True)  # fmt: skip

    return run


@pytest.mark.timeout(300)
def test_predict_py_names_what_run_predict_refuses_and_goes_on(exported, tmp_path):
    good = write_photo(tmp_path / "good.png", 0)
    photo = Image.fromarray(pattern(0))
    photo.convert("CMYK").save(tmp_path / "print.jpg")
    Image.fromarray(np.full((48, 48), 4000, np.uint16)).save(tmp_path / "deep.png")
    photo.save(tmp_path / "film.gif", save_all=True, append_images=[Image.fromarray(pattern(1))])
    (tmp_path / "deep.tif").write_bytes(deep_tiff())
    photo.save(tmp_path / "odd.ppm")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "empty.png").touch()
    reasons = {
        "print.jpg": "is in CMYK",
        "deep.png": "has 16 bits a channel",
        "deep.tif": "has more than 8 bits a channel",
        "film.gif": "is animated (2 frames)",
        "odd.ppm": "cannot be read as an image",
        "torn.jpg": "cannot be read as an image",
        "empty.png": "is empty",
        "none.png": "does not exist",
        ".": "is a folder; give the photos in it",
    }
    run = exported(*(tmp_path / name for name in reasons), good)
    assert run.returncode == 1
    assert [line.split("\t")[0] for line in run.stdout.splitlines()] == [str(good)]
    lines = run.stderr.splitlines()
    for line, (name, reason) in zip(lines, reasons.items(), strict=True):
        assert line.startswith(f"{tmp_path / name} {reason}")


def test_predict_py_without_photos_says_how_it_is_called(exported):
    run = exported()
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("usage: python ")
    assert len(run.stderr.splitlines()) == 1


def test_the_files_say_where_they_come_from(tmp_path):
    saved(tmp_path / "classifier", head="RFS")
    module.export(tmp_path / "classifier", tmp_path / "out")
    facts = json.loads((tmp_path / "out/head.json").read_text())
    assert (facts["head"], facts["encoder"], facts["size"]) == ("RFS", "Conv4", 32)
    with np.load(tmp_path / "out/head.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["bias", "centre", "mean", "std", "weight"]


def test_a_head_that_is_no_matrix_writes_nothing(tmp_path):
    saved(tmp_path / "classifier", "DN4")
    with pytest.raises(UserError, match="DN4 compares map"):
        module.export(tmp_path / "classifier", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(UserError, match=r"no_such_package is not installed.*pip install onnx no_such_package"):
        module.export(tmp_path, tmp_path / "out")


def test_files_that_answer_otherwise_are_not_written(tmp_path, monkeypatch):
    saved(tmp_path / "classifier")
    worse = network()
    for parameter in worse.folded.parameters():
        parameter.data.mul_(1.5)
    of_another = module._encoder(worse)
    monkeypatch.setattr(module, "_encoder", lambda network: of_another)
    with pytest.raises(UserError, match="the exported files answer otherwise than ProtoNet"):
        module.export(tmp_path / "classifier", tmp_path / "out")
    assert not (tmp_path / "out").exists()
