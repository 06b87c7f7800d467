"""The demo: its answer without a browser, and its page served and asked where gradio is installed."""

import importlib.util
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

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
    assert page.split('alt="nearest: ')[1].startswith("bowl/0")
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


def test_a_file_that_is_no_photograph_is_named_as_it_was_dropped(demo, classes, tmp_path):
    (tmp_path / "query.png").write_text("no picture")
    with pytest.raises(UserError, match=r"cannot be used: query\.png does not decode"):
        demo.answer(classes, tmp_path / "query.png")
    classes[0][1][0].write_text("no picture")
    with pytest.raises(UserError, match=r"cannot be used: cup/00\.png does not decode"):
        demo.answer(classes, tmp_path / "query.png")


def test_a_network_that_cannot_be_opened_is_a_sentence(demo):
    demo.open()
    with pytest.raises(UserError, match="--encoder is 'torchvision:nope'"):
        Demo(partial(FewShotClassifier, encoder="torchvision:nope")).open()
    with pytest.raises(UserError, match="/nope"):
        Demo(partial(FewShotClassifier, checkpoint="/nope")).open()
    with pytest.raises(UserError, match="--head is 'nope'"):
        Demo(lambda: demo._make().set_params(head="nope")).open()


def test_a_port_that_is_taken_or_none_is_refused(refused):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("run_demo.py", "--encoder", "torchvision:resnet18", "--port", port)
    assert said == f"--port is {port}, which cannot be opened (Address already in use); give another."
    said = refused("run_demo.py", "--encoder", "torchvision:resnet18", "--port", "99999")
    assert said == "--port is 99999; give a number from 1 to 65535."


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


def test_uploads_do_not_outlive_the_page(trained, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # is as it was after the test
    monkeypatch.setattr(command, "imported", lambda: None)
    monkeypatch.setattr(command, "build", lambda *arguments: None)
    seen = []

    def serve(page, port):
        seen.append(Path(os.environ["GRADIO_TEMP_DIR"]))
        assert seen[0].is_dir()
        (seen[0] / "photo.png").touch()

    monkeypatch.setattr(command, "serve", serve)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command.main(["--cfg", str(trained[0]), "--checkpoint", str(trained[1]), "-d", "cpu", "--port", port])
    assert not seen[0].exists()


def test_without_gradio_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match="pip install gradio"):
        command.imported()


SERVED = """
import sys
import httpx
from functools import partial
from pathlib import Path
from gradio_client import Client, handle_file
from core.cli import demo
from core.predict.demo import Demo
from core.predict.estimator import FewShotClassifier

cfg, checkpoint, query, *folders = sys.argv[1:]
made = partial(FewShotClassifier, cfg=cfg, checkpoint=checkpoint, cache="", reference="")
asked = []
def answer(given, path):
    asked.append(path.read_bytes())
    return Demo(made).answer(given, path)
page = demo.build(demo.imported(), answer, 2)
_, address, _ = demo.serve(page, None, prevent_thread_lock=True, quiet=True)
files = [[handle_file(str(path)) for path in sorted(Path(folder).iterdir())] for folder in folders]
label, html = Client(address, verbose=False).predict(handle_file(query), "cup", "bowl", *files, api_name="/answer")
same = asked == [Path(query).read_bytes()]
foreign = httpx.get(address + "gradio_api/info", headers={"Host": "evil.com"}).status_code
print(address, label["label"], "srcdoc=" in html, same, foreign)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="gradio is not installed")
def test_the_page_is_served_to_this_machine_and_answers(trained, classes, tmp_path):
    query = tmp_path / "query.png"
    write_photo(tmp_path / "rgb.png", 1, 9)
    Image.open(tmp_path / "rgb.png").convert("RGBA").save(query)  # which a conversion to RGB would change
    folders = [tmp_path / name for name, _ in classes[:2]]
    arguments = [str(part) for part in (*trained[:1], trained[1], query, *folders)]
    done = subprocess.run([sys.executable, "-c", SERVED, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    address, answer, *rest = done.stdout.split()[-5:]
    assert address.startswith("http://127.0.0.1:")
    assert (answer, *rest) == ("bowl", "True", "True", "400")
