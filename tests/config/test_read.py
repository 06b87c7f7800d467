"""What the user wrote: the chain of `_BASE_` files, overrides, and the YAML loader behind both."""

import tempfile
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings

from core.config import load
from core.config.provenance import COMMAND_LINE, Setting
from core.config.read import LOADER, parse, plugins, read_chain, read_overrides
from core.errors import UserError
from tests.config.trees import merged, trees, without_empty

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1e-3\nb: 1.0e-3\nc: 0o17\nd: 1_7\ne: .nan\nf: yes\ng: ~\nh: 0x1f\ni: 2026-11-24\nj: '5'",
        "a: {b: [1, {c: d}], 'é': \"\\u00e9\"}\n# a comment\nA.b: |\n  two\n  lines\n",
        "a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}",
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


@pytest.mark.parametrize("number", ["010", "-07", "1:30", "1:30.5"])
def test_a_number_to_another_base_than_it_looks_is_refused(refused, number):
    said = refused(f"\nSEED: {number}\n")
    assert f"leaf.yaml, line 2: not valid YAML: YAML reads {number} to the base of 8 or 60; write it as it is" in said


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


def test_later_bases_win_and_the_file_wins_over_all(write, schemas):
    write("SEED: 1\nEVAL: {EPISODES: 10, SEED: 1, BATCH: 1}\nSTAGE: {meta: {AUGMENT: [flip, jitter]}}", "_base_/a.yaml")
    write("EVAL: {EPISODES: 20, SEED: 2}\nSTAGE: {meta: {AUGMENT: [crop-4]}}", "_base_/b.yaml")
    leaf = write("_BASE_: [../_base_/a.yaml, ../_base_/b.yaml]\nEVAL: {EPISODES: 30}", "set/leaf.yaml")
    loaded = load(leaf, [], schemas)
    assert (loaded.cfg.SEED, loaded.cfg.EVAL.EPISODES, loaded.cfg.EVAL.SEED, loaded.cfg.EVAL.BATCH) == (1, 30, 2, 1)
    assert loaded.cfg.STAGE.meta.AUGMENT == ["crop-4"]
    assert loaded.sources == {
        "SEED": "_base_/a.yaml",
        "EVAL.EPISODES": "leaf.yaml",
        "EVAL.SEED": "_base_/b.yaml",
        "EVAL.BATCH": "_base_/a.yaml",
        "STAGE.meta.AUGMENT": "_base_/b.yaml",
    }
    assert (loaded.stem, loaded.folder) == ("leaf", "set")


def test_base_may_be_one_name_and_bases_have_bases(write, schemas):
    write("SEED: 1", "a.yaml")
    write("_BASE_: a.yaml", "b.yaml")
    assert load(write("_BASE_: b.yaml"), [], schemas).cfg.SEED == 1


def test_one_base_may_be_reached_twice(write, schemas):
    write("SEED: 1", "a.yaml")
    write("_BASE_: a.yaml", "b.yaml")
    write("_BASE_: a.yaml", "c.yaml")
    assert load(write("_BASE_: [b.yaml, c.yaml]"), [], schemas).cfg.SEED == 1


def test_circular_bases(write, schemas):
    write("_BASE_: leaf.yaml", "a.yaml")
    with pytest.raises(UserError, match=r"leaf.yaml -> a.yaml -> leaf.yaml"):
        load(write("_BASE_: a.yaml"), [], schemas)


def test_missing_file_and_missing_base(write, tmp_path, schemas):
    with pytest.raises(UserError, match=r"none.yaml cannot be read: No such file"):
        load(tmp_path / "none.yaml", [], schemas)
    write("", "nine.yaml")
    with pytest.raises(UserError, match=r"none.yaml cannot be .* holds nine.yaml \(did you mean nine.yaml\?\)\.$"):
        load(tmp_path / "none.yaml", [], schemas)
    with pytest.raises(UserError, match=r"configs/Glyphs holds ProtoNet_N5K1_C4.yaml,.* more \(did you mean Proto"):
        load(Path("Glyphs/ProtNet_N5K1_C4.yaml"), [], schemas)
    with pytest.raises(UserError, match=r"the folders of .*configs are .*Glyphs.* \(did you mean Glyphs\?\)\.$"):
        load(Path("Glyfs/ProtoNet_N5K1_C4.yaml"), [], schemas)
    with pytest.raises(UserError, match=r"none.yaml, which is a _BASE_ of .*leaf.yaml, cannot be read"):
        load(write("_BASE_: none.yaml"), [], schemas)


@pytest.mark.parametrize("base", ["5", "[5]", "{a: b}"])
def test_base_must_name_files(base, refused):
    assert "_BASE_ is" in refused(f"_BASE_: {base}")


def test_syntax_error_names_file_and_line(refused):
    assert "leaf.yaml, line 2: not valid YAML" in refused("SEED: 1\nEVAL: {A: ]\n")


@pytest.mark.parametrize("text", ["SEED: 1\nEVAL: {A: 1}\nSEED: 2\n", "SEED: 1\nEVAL: {A: 1}\nEVAL: {B: 2}\n"])
def test_a_key_that_is_given_twice_is_refused(refused, text):
    name = text.splitlines()[2].partition(":")[0]
    assert f"leaf.yaml, line 3: not valid YAML: the key {name} is given twice" in refused(text)


def test_file_that_is_no_text(tmp_path, schemas):
    path = tmp_path / "leaf.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not valid YAML"):
        load(path, [], schemas)


@pytest.mark.parametrize("text", ["[1, 2]", "just words", "5"])
def test_top_level_must_be_a_mapping(text, refused):
    assert "must be a mapping" in refused(text)


@settings(max_examples=30, deadline=None)
@given(trees, trees, trees)
def test_later_base_wins_whatever_is_in_it(a, b, leaf):
    with tempfile.TemporaryDirectory() as folder:
        for name, tree in (("a", a), ("b", b), ("leaf", leaf | {"_BASE_": ["a.yaml", "b.yaml"]})):
            Path(folder, f"{name}.yaml").write_text(yaml.safe_dump(tree))
        chain = read_chain(Path(folder, "leaf.yaml"))
    read = {key: setting.value for key, setting in chain.items() if setting.value != {}}
    assert read == without_empty(merged(merged(a, b), leaf))
    assert all(s.source == "leaf.yaml" for key, s in chain.items() if key in without_empty(leaf))


LAUGHS = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LAUGHS, "it holds more than 100000 values"),
        ("SEED: " + "[" * 100_000, "exceeded maximum nesting depth"),
        ("SEED: " + "{a: " * 60 + "1" + "}" * 60, "it is nested more than 50 levels deep"),
        ("SEED: " + "9" * 10_000, "Exceeds the limit"),
        ("SEED: 2001-13-99", "month must be in 1..12"),
        ("SEED: !!bool maybe", "a tag (!!) does not fit what follows it"),
        ("SEED: !!timestamp x", "a tag (!!) does not fit what follows it"),
        ("SEED: !!int ''", "a tag (!!) does not fit what follows it"),
        ("A: !!set [a]", "a tag (!!) does not fit what follows it"),
        ("SEED: &x [*x]", "*x stands inside of &x"),
        ("SEED: 1 " + "#" * (1 << 20), "it is longer than 1048576 characters"),
        ("? {a: b}\n: 1", "found unhashable key"),
    ],
)
def test_texts_that_grow_or_nest_are_refused_at_once(refused, text, says):
    began = time.monotonic()
    sentence = refused(text)
    assert "leaf.yaml" in sentence
    assert f"not valid YAML: {says}" in sentence
    assert time.monotonic() - began < 1


def test_bases_that_are_named_again_and_again_are_read_once(tmp_path, schemas):
    """Thirty files that each name the next one twice are 2^30 ways to the last."""
    for n in range(30):
        (tmp_path / f"{n}.yaml").write_text(f"_BASE_: [{n + 1}.yaml, {n + 1}.yaml]\n")
    (tmp_path / "30.yaml").write_text("SEED: 7\n")
    began = time.monotonic()
    assert load(tmp_path / "0.yaml", [], schemas).cfg.SEED == 7
    assert time.monotonic() - began < 1


def test_a_chain_of_bases_that_does_not_end_is_refused(tmp_path, schemas):
    for n in range(2000):
        (tmp_path / f"{n}.yaml").write_text(f"_BASE_: {n + 1}.yaml\n")
    with pytest.raises(UserError, match=r"0\.yaml: _BASE_ leads through more than 50 files; shorten the chain"):
        load(tmp_path / "0.yaml", [], schemas)


def test_names_that_no_file_can_have(refused, write):
    assert "is no file" in refused('_BASE_: "a\\0b.yaml"')
    loop = write().parent / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(UserError, match="is no file"):
        read_chain(loop)
