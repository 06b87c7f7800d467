"""run_analysis.py flow: pictures of matched regions."""

import pytest
from PIL import Image

from tests.workspace import PROTONET, best

EMD = PROTONET | {"METHOD": {"NAME": "DeepEMD"}, "BACKBONE": {"NAME": "Conv4", "ARGS": {"width": 8, "pools": 2}}}


@pytest.fixture
def run(space):
    cfg = space.config(EMD)
    return cfg, best(space.train(cfg, "STAGE.meta.EPOCHS=1"))


def test_two_pictures_are_drawn(space, run):
    cfg, checkpoint = run
    arguments = ("--episode", 3, "--query", 7, "-d", "cpu")
    code, out, err = space.script("run_analysis.py", "flow", "--cfg", cfg, "-c", checkpoint, *arguments)
    assert (code, err) == (0, "")
    pictures = sorted((checkpoint.parent / "flow").iterdir())
    assert [p.name for p in pictures] == [f"episode3_query7_{kind}.png" for kind in ("own", "predicted")]
    for picture in pictures:
        with Image.open(picture) as opened:
            assert opened.size[0] > 500
        assert str(picture) in out


def test_what_cannot_be_drawn_is_said(space, run, refused):
    cfg, checkpoint = run
    flow = ("run_analysis.py", "flow", "-d", "cpu", "--cfg")
    assert "--query is 15, but an episode has 15" in refused(*flow, cfg, "-c", checkpoint, "--query", 15)
    assert "at 1 shot" in refused(*flow, cfg, "-c", checkpoint, "TASK.TEST.SHOT=2")
    plain = space.config(name="Plain.yaml")
    checkpoint = best(space.train(plain, "STAGE.meta.EPOCHS=1"))
    assert "METHOD.NAME is ProtoNet, which has no flow" in refused(*flow, plain, "-c", checkpoint)
