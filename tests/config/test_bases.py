"""The chain of `_BASE_` files: order, merging, and what is refused."""

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import load
from core.config.provenance import flatten, unflatten
from core.config.read import read_chain
from core.errors import UserError


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
    with pytest.raises(UserError, match=r"none.yaml, which is a _BASE_ of .*leaf.yaml, cannot be read"):
        load(write("_BASE_: none.yaml"), [], schemas)


@pytest.mark.parametrize("base", ["5", "[5]", "{a: b}"])
def test_base_must_name_files(base, refused):
    assert "_BASE_ is" in refused(f"_BASE_: {base}")


def test_syntax_error_names_file_and_line(refused):
    assert "leaf.yaml, line 2: not valid YAML" in refused("SEED: 1\nEVAL: {A: ]\n")


def test_file_that_is_no_text(tmp_path, schemas):
    path = tmp_path / "leaf.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not valid YAML"):
        load(path, [], schemas)


@pytest.mark.parametrize("text", ["[1, 2]", "just words", "5"])
def test_top_level_must_be_a_mapping(text, refused):
    assert "must be a mapping" in refused(text)


leaves = st.one_of(st.integers(), st.booleans(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
trees = st.fixed_dictionaries(  # a key is a group everywhere or nowhere, as in a configuration
    {},
    optional={
        "a": leaves,
        "b": leaves,
        "N": st.dictionaries(st.sampled_from("ab"), leaves),
        "M": st.fixed_dictionaries({}, optional={"a": leaves, "P": st.dictionaries(st.sampled_from("abc"), leaves)}),
    },
)


def merged(base, over):
    """Dicts merge, everything else replaces."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: merged(base[key], value) if key in base else value for key, value in over.items()}


def without_empty(tree):
    return {k: v for k, v in flatten(tree).items() if v != {}}


@given(trees)
def test_flatten_and_unflatten_are_inverse(tree):
    assert unflatten(flatten(tree)) == tree


@given(trees, trees, trees)
def test_merging_flat_is_merging_nested(a, b, c):
    flat = without_empty(a) | without_empty(b) | without_empty(c)
    assert flat == without_empty(merged(merged(a, b), c)) == without_empty(merged(a, merged(b, c)))


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
