"""run_analysis.py pictures: a page of what a method did with queries of an episode."""

import pytest

from tests.workspace import PROTONET, best

EMD = PROTONET | {"METHOD": {"NAME": "DeepEMD"}, "BACKBONE": {"NAME": "Conv4", "ARGS": {"width": 8, "pools": 2}}}


@pytest.fixture
def run(space):
    cfg = space.config(EMD)
    return cfg, best(space.train(cfg, "STAGE.meta.EPOCHS=1"))


def test_a_page_is_written(space, run):
    cfg, checkpoint = run
    arguments = ("--episode", 3, "--query", 7, 8, "-d", "cpu")
    code, out, err = space.script("run_analysis.py", "pictures", "--cfg", cfg, "-c", checkpoint.parent, *arguments)
    assert (code, err) == (0, "")
    page = checkpoint.parent / "pictures" / "episode3_query7_8.html"
    assert f"page  {page}" in out
    html = page.read_text()
    assert "DeepEMD · Glyphs · episode 3" in html
    assert 2 <= html.count("<figcaption>") <= 4
    assert html.count("<image") == 2 * html.count("<figcaption>")
    page.unlink()
    code, _, err = space.script("run_analysis.py", "pictures", "-c", checkpoint, *arguments)
    assert (code, err, page.read_text()) == (0, "", html)


def test_what_cannot_be_drawn_is_said(space, run, refused):
    cfg, checkpoint = run
    pictures = ("run_analysis.py", "pictures", "-d", "cpu", "--cfg")
    assert "--query is 15, but an episode has 15" in refused(*pictures, cfg, "-c", checkpoint, "--query", 15)
    several = refused(*pictures, cfg, "-c", checkpoint, "TASK.TEST.SHOT=2")
    assert "DeepEMD, which shows no pictures of a 3-way 2-shot episode" in several
    plain = space.config(name="Plain.yaml")
    checkpoint = best(space.train(plain, "STAGE.meta.EPOCHS=1"))
    assert "METHOD.NAME is ProtoNet, which shows no pictures" in refused(*pictures, plain, "-c", checkpoint)
