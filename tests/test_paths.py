from pathlib import Path

import pytest

from core import paths

OWN = paths.CONFIGS / "Glyphs" / "ProtoNet_N5K1_C4.yaml"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["configs/Glyphs/ProtoNet_N5K1_C4.yaml", "Glyphs/ProtoNet_N5K1_C4"])
def test_a_config_that_is_not_here_is_the_one_that_comes_with_the_project_and_a_line_says_so(here, name):
    file, notes = paths.find_config(name)
    assert file == OWN
    assert notes == [f"There is no {name} here, so the file that comes with FiveWay is used: {OWN}"]


@pytest.mark.parametrize("name", ["configs/Glyphs/ProtoNet_N5K1_C4.yaml", "Glyphs/ProtoNet_N5K1_C4"])
def test_a_file_that_is_here_wins(here, name):
    (here / name).parent.mkdir(parents=True)
    (here / name).write_text("SEED: 1\n")
    assert paths.find_config(name) == (Path(name), [])


@pytest.mark.parametrize("name", ["Glyphs/NoSuch", "mine.yaml", "/nowhere/Glyphs/ProtoNet_N5K1_C4.yaml"])
def test_a_path_of_no_file_stays_what_it_is(here, name):
    assert paths.find_config(name) == (Path(name), [])


def test_the_help_of_a_checkout_names_the_scripts():
    scripts = {file.name for file in (paths.ROOT / "experiments").glob("*.py")}
    assert {paths.command(name) for name in paths.SCRIPTS} == {f"python experiments/{script}" for script in scripts}
