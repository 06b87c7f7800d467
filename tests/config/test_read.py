"""YAML texts are read by the C loader where there is one, to the same values as by PyYAML's own."""

from pathlib import Path

import pytest
import yaml

from core.config.provenance import COMMAND_LINE, Setting
from core.config.read import LOADER, parse, plugins, read_overrides
from core.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1e-3\nb: 1.0e-3\nc: 0o17\nd: 017\ne: .nan\nf: yes\ng: ~\nh: 1:30\ni: 2026-11-24\nj: '5'",
        "a: {b: [1, {c: d}], 'é': \"\\u00e9\"}\n# a comment\nA.b: |\n  two\n  lines\n",
        "a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}",
        "a: 1\na: 2",
        "a:\n  - b\n  -\n  - [ ]\n",
    ],
)
def test_both_loaders_read_the_same(text):
    assert repr(parse(text)) == repr(yaml.safe_load(text))


def test_both_loaders_read_the_same_bases():
    files = list(CONFIGS.glob("_base_/**/*.yaml"))
    assert files
    for file in files:
        assert parse(file.read_text()) == yaml.safe_load(file.read_text()), file


@pytest.mark.parametrize(
    "text", ["a: ]", "a: b: c", "[1", "\tb: 1", "a: 'b", "!!python/name:os.getcwd x: 1", "&a *b", "\0"]
)
def test_both_loaders_refuse_the_same(text):
    for read in (parse, yaml.safe_load):
        with pytest.raises(yaml.YAMLError):
            read(text)


def test_the_c_loader_is_used_where_there_is_one():
    assert LOADER.__name__ == ("CSafeLoader" if yaml.__with_libyaml__ else "SafeLoader")


def test_overrides_keep_their_order_and_their_source():
    assert read_overrides(["A.b", "1", "A={c: [2]}", "A.b=3"]) == {
        "A.b": Setting(3, COMMAND_LINE),
        "A.c": Setting([2], COMMAND_LINE),
    }


def test_plugins_are_a_list_of_names():
    assert plugins({}) == []
    assert plugins({"PLUGINS": Setting(["mine", 5], "leaf.yaml")}) == ["mine", "5"]
    with pytest.raises(UserError, match=r"leaf.yaml: PLUGINS is 'mine', which is not a list, e.g. \[my_method\]"):
        plugins({"PLUGINS": Setting("mine", "leaf.yaml")})
