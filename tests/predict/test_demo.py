"""The demo: its answer without a browser, and its page served and asked where gradio is installed."""

import importlib.util
import subprocess
import sys
from functools import partial

import pytest

from core.cli import demo as command
from core.errors import UserError
from core.paths import ROOT
from core.predict.demo import Demo
from core.predict.estimator import FewShotClassifier
from tests.predict.photos import write_classes, write_photo
from tests.workspace import PROTONET, best


@pytest.fixture
def classes(tmp_path):
    write_classes(tmp_path, {"cup": 3, "bowl": 2})
    return [(name, sorted((tmp_path / name).iterdir())) for name in ("cup", "bowl")] + [("class 3", [])]


@pytest.fixture
def demo(trained):
    return Demo(partial(FewShotClassifier, cfg=str(trained[0]), checkpoint=str(trained[1]), cache="", reference=""))


def test_an_answer_is_probabilities_and_a_page(demo, classes, tmp_path):
    query = write_photo(tmp_path / "query.png", 1, 9)  # a bowl: the second kind
    shares, page = demo.answer(classes, query)
    assert list(shares) == ["bowl", "cup"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["bowl"] > shares["cup"]
    assert page.count("<img") == 2
    assert "query.png" in page
    assert str(tmp_path / "bowl") in page.split('alt="nearest: ')[1]
    assert demo.answer(classes, query) == (shares, page)


def test_regions_are_shown_where_the_method_matches_some(space, classes, tmp_path):
    cfg = space.config(
        PROTONET | {"METHOD": {"NAME": "DN4"}, "BACKBONE": {"NAME": "Conv4", "ARGS": {"width": 8, "pools": 2}}}
    )
    checkpoint = best(space.train(cfg, "STAGE.meta.EPOCHS=1"))
    made = partial(FewShotClassifier, cfg=str(cfg), checkpoint=str(checkpoint), cache="", reference="")
    _, page = Demo(made).answer(classes, write_photo(tmp_path / "query.png", 1, 9))
    assert "Nearest local descriptors" in page
    assert 'class="match"' in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: [("", c[0][1]), c[1]], "needs a name of its own"),
        (lambda c: [("bowl", c[0][1]), c[1]], "needs a name of its own"),
        (lambda c: [c[0], ("bowl", [])], "Fewer than two classes have photos"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(change, said, demo, classes, tmp_path):
    with pytest.raises(UserError, match=said):
        demo.answer(change(classes), write_photo(tmp_path / "query.png", 1))


def test_a_file_that_is_no_photograph_is_a_sentence(demo, classes, tmp_path):
    (tmp_path / "query.png").write_text("no picture")
    with pytest.raises(UserError, match="cannot be used"):
        demo.answer(classes, tmp_path / "query.png")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cfg", "a.yaml"], "give --checkpoint or --encoder"),
        (["--encoder", "torchvision:resnet18", "--cfg", "a.yaml", "--checkpoint", "b"], "What answers is not clear"),
        (["--encoder", "torchvision:resnet18", "--classes", "1"], "--classes is 1; give two or more"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, said, refused):
    assert said in refused("run_demo.py", *arguments)


def test_without_gradio_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match="pip install gradio"):
        command.imported()


SERVED = """
import sys
from functools import partial
from pathlib import Path
from gradio_client import Client, handle_file
from core.cli import demo
from core.predict.demo import Demo
from core.predict.estimator import FewShotClassifier

cfg, checkpoint, query, *folders = sys.argv[1:]
made = partial(FewShotClassifier, cfg=cfg, checkpoint=checkpoint, cache="", reference="")
page = demo.build(demo.imported(), Demo(made).answer, 2)
_, address, _ = page.launch(server_name="127.0.0.1", share=False, prevent_thread_lock=True, quiet=True)
files = [[handle_file(str(path)) for path in sorted(Path(folder).iterdir())] for folder in folders]
label, html = Client(address, verbose=False).predict(handle_file(query), "cup", "bowl", *files, api_name="/answer")
print(address, label["label"], "srcdoc=" in html)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="gradio is not installed")
def test_the_page_is_served_to_this_machine_and_answers(trained, classes, tmp_path):
    query = write_photo(tmp_path / "query.png", 1, 9)
    folders = [tmp_path / name for name, _ in classes[:2]]
    arguments = [str(part) for part in (*trained[:1], trained[1], query, *folders)]
    done = subprocess.run([sys.executable, "-c", SERVED, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    address, answer, shown = done.stdout.split()[-3:]
    assert address.startswith("http://127.0.0.1:")
    assert (answer, shown) == ("bowl", "True")
