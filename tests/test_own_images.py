"""docs/own_images.md from its first command to its last, in a fresh clone, with photographs in two folders."""

import re
import shutil
import time
from pathlib import Path

import pytest

from tests.docs.made_up import write_photographs
from tests.docs.walk import clone, walk
from tests.predict.photos import write_photo
from tests.weights import MOBILENET, needs_mobilenet

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/own_images.md"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@needs_mobilenet
def test_every_command_works_in_a_fresh_clone(tmp_path):
    pytest.importorskip("onnxruntime", reason="the export needs onnx and onnxruntime")
    folder = clone(tmp_path / "clone")
    (folder / "data/weights").mkdir(parents=True)
    shutil.copy(MOBILENET, folder / "data/weights")  # what `make weights` fetches
    write_photographs(folder)
    started = time.monotonic()
    # The first is done above, the second by whoever runs the tests; the Python is another test's.
    document = re.sub(r"```python\n.*?```", "", DOCUMENT.read_text(), flags=re.S)
    walk(document, folder, skipped=("make ", "python -m pip "), is_compared=False)
    print(f"all commands took {time.monotonic() - started:.0f} s")
    for file in ("answers/answers.csv", "answers/report.html", "own_answers/answers.csv", "exported/encoder.onnx"):
        assert (folder / file).is_file()


@needs_mobilenet
def test_the_python_of_the_document_works(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data/weights").mkdir(parents=True)
    (tmp_path / "data/weights" / MOBILENET.name).symlink_to(MOBILENET)
    paths = [str(write_photo(tmp_path / f"{kind}{n}.png", kind, n)) for kind in range(2) for n in range(2)]
    more = [str(write_photo(tmp_path / f"new{kind}.png", kind, 9)) for kind in range(2)]
    names = {"paths": paths, "labels": ["a", "a", "b", "b"], "more_paths": more}
    exec(compile(code, "own_images.md", "exec"), names)
    assert names["classifier"].predict(more).tolist() == ["a", "b"]
    assert (tmp_path / "kept/classifier.json").is_file()
