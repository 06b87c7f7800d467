"""The tutorials, from their first command to their last, each in a fresh clone; see walk.py for what is executed."""

import pytest

from tests.docs.made_up import write_cifar
from tests.docs.walk import ROOT, clone, walk

TUTORIALS = sorted(ROOT.glob("docs/tutorials/*.md"))


@pytest.fixture
def folder(tmp_path, glyphs):
    """A clone in which the embedded data set is drawn once for all tests."""
    cloned = clone(tmp_path / "clone")
    (cloned / "data/Glyphs").symlink_to(f"{glyphs}/Glyphs")
    return cloned


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_works_from_its_first_command_to_its_last(tutorial, folder):
    text = tutorial.read_text()
    if "cifar-100-python.tar.gz" in text:
        write_cifar(folder)
    walk(text, folder)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_method_is_added_as_the_document_says(folder):
    text = (ROOT / "docs/add_a_method.md").read_text()
    section = text[text.index("\n## A method\n") : text.index("\n### From Python\n")]
    printed = walk(section, folder)
    assert "NearestShot  Glyphs test  5-way 1-shot" in printed
    assert " passed" in printed
    assert " failed" not in printed


def test_there_are_tutorials_for_what_users_do():
    stems = {path.stem for path in TUTORIALS}
    assert stems >= {"compare_two_methods", "many_runs", "reproduce_a_row"}
