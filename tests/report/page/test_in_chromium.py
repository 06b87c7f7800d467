"""Pages as a reader sees them: in Chromium, on a telephone and on a desk, light and dark."""

from typing import NamedTuple

import pytest

from core.report.page.charts import Line, lines
from core.report.page.render import Section, page
from tests.browser import PROGRAM, Browser
from tests.predict.photos import write_classes
from tests.workspace import Workspace

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"),
    pytest.mark.slow,
]
FAULTS = """<!DOCTYPE html><html><head><link rel="icon" href="data:,"></head><body style="background:#fff;color:#000">
<p style="white-space:nowrap">{}</p>
<p style="color:#999">too pale</p>
<img src="data:image/png;base64,AAAA">
<img src="http://localhost:9/picture.png">
<script>console.error("a message")</script>
</body></html>"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(trained, tmp_path_factory):
    """A page of each kind: of evaluations, a prediction and a comparison."""
    cfg, run = trained
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        space = Workspace(folder, None, patch, _Silent())
        long_name = "a class with a very long name, as users give them to folders of their photographs"
        write_classes(folder / "labelled", {"cup": 3, long_name: 2, "fork": 4})
        write_classes(folder / "new", {"cup": 3, long_name: 3, "other": 2}, first=50)
        network = ["--cfg", cfg, "--checkpoint", run]
        photos = ["--support", folder / "labelled", "--query", folder / "new", "--out", folder / "answers"]
        assert space.script("run_predict.py", *network, *photos, "--cache", "", "-d", "cpu", "--reject", "0.2")[0] == 0
        for keys in (("EVAL.PAGE=true",), ("--protocol", "allway", "--shots", "1", "EVAL.PAGE=true", "EVAL.TRIALS=3")):
            assert space.evaluator(cfg, "--checkpoint", run, *keys)[0] == 0
        heads = ("--methods", "CosineProtoNet,RFS", "EVAL.PAGE=false")
        assert space.evaluator(cfg, "--checkpoint", run, *heads)[0] == 0
        evaluations = sorted(run.glob("eval/ebest*/test*"))
        comparison = ["--each", "--all-pairs", "--page", folder / "comparison.html"]
        assert space.script("run_compare.py", *evaluations, *comparison)[0] == 0
    (episodes,), (allway,) = (list(run.glob(f"eval/ebest*/{kind}*/report.html")) for kind in ("test", "allway"))
    return {
        "episodes": episodes,
        "allway": allway,
        "prediction": folder / "answers" / "report.html",
        "comparison": folder / "comparison.html",
    }


class Printed(NamedTuple):
    out: str
    err: str


class _Silent:
    """In place of pytest's capture, which a fixture of a module has not."""

    def readouterr(self):
        return Printed("", "")


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["episodes", "allway", "prediction", "comparison"])
def test_a_page_fits_is_readable_and_asks_for_nothing(kind, dark, width, pages, browser):
    look = browser.look(pages[kind], width, dark)
    assert (look.width, look.overflow, look.wide) == (width, 0, [])
    assert look.pale == []
    assert (look.images > 0, look.empty) == (kind in ("episodes", "prediction"), [])
    assert (look.messages, look.requests) == ([], [])


def test_faults_are_found(browser, tmp_path):
    file = tmp_path / "faults.html"
    file.write_text(FAULTS.format("wide " * 200))
    look = browser.look(file, 400)
    assert look.overflow > 0
    assert [text[:9] for text in look.wide] == ["wide wide"]
    assert [text[:8] for text in look.pale] == ["too pale"]
    assert len(look.empty) == 2
    assert any("a message" in message for message in look.messages)
    assert set(look.requests) == {"http://localhost:9/picture.png"}


def test_a_page_refuses_scripts_and_requests(browser, tmp_path):
    file = tmp_path / "page.html"
    html = page("Refuses", [Section("One", "chart", {"chart": lines([Line("a", [1], [2])], "x", "y"), "note": ""})])
    file.write_text(
        html.replace("</main>", "</main><script>document.title='run'</script><img src='http://localhost:9/x'>")
    )
    look = browser.look(file, 400)
    assert look.requests == []
    assert len(look.messages) >= 2
    assert all("Content Security Policy" in message for message in look.messages)
