"""The pictures of an episode, on the page of its evaluation."""

import re

import pytest

from tests.workspace import PROTONET, best

SMALL = {"NAME": "Conv4", "ARGS": {"width": 8, "pools": 2}}


@pytest.fixture
def html(space):
    """The page of a method's evaluation, after an epoch."""

    def html(method, arguments, *overrides, **keys):
        tree = PROTONET | {"METHOD": {"NAME": method, "ARGS": arguments}, "BACKBONE": SMALL} | keys
        cfg = space.config(tree)
        checkpoint = best(space.train(cfg, "STAGE.meta.EPOCHS=1"))
        folder = space.evaluate(cfg, checkpoint, "EVAL.PAGE=true", "EVAL.EPISODES=9", *overrides)
        return (folder / "report.html").read_text()

    return html


def captions(html):
    return re.findall(r"<figcaption>(\w+) \(left\) and (\w+) \(right\): (.*?)</figcaption>", html)


@pytest.mark.parametrize(
    ("method", "title"), [("DeepEMD", "Optimal flow between regions"), ("DN4", "Nearest local descriptors")]
)
def test_matched_regions_of_the_hardest_episode_are_shown(method, title, html):
    page = html(method, {})
    assert f"<h2>{title}</h2>" in page
    shown = captions(page)
    wrong = page.split("<h2>The hardest episodes</h2>")[1].split('class="class"')[1:]
    assert shown
    assert any("not its class, and the answer" in said for _, _, said in shown) == any("✗" in part for part in wrong)
    assert page.count('class="match"') >= len(shown)


def test_a_method_without_pictures_has_none(html):
    assert captions(html("ProtoNet", {})) == []


def test_a_method_that_has_none_at_several_shots_shows_none(html):
    assert captions(html("DeepEMD", {"sfc_update_step": 1}, "TASK.TEST.SHOT=2")) == []
