"""Flat settings: flattening, merging, groups, and the table of changes."""

from hypothesis import given

from core.config.provenance import changes, flatten, has, is_group, unflatten
from tests.config.trees import merged, trees, without_empty


@given(trees)
def test_flatten_and_unflatten_are_inverse(tree):
    assert unflatten(flatten(tree)) == tree


@given(trees, trees, trees)
def test_merging_flat_is_merging_nested(a, b, c):
    flat = without_empty(a) | without_empty(b) | without_empty(c)
    assert flat == without_empty(merged(merged(a, b), c)) == without_empty(merged(a, merged(b, c)))


def test_groups_and_values():
    known = {"A.b": 1, "A.c": {}}
    assert [is_group(key, known) for key in ("A", "A.c", "A.b", "B")] == [True, True, False, False]
    assert [has(key, known) for key in ("A", "A.c", "A.b", "B")] == [True, True, True, False]


def test_changes_are_in_columns_and_leave_out_what_stays():
    old, new = {"A": 1, "LONG": "", "C": 2}, {"A": 10, "LONG": "x", "C": 2}
    assert changes(old, new, dict.fromkeys(new, "f.yaml")) == "  A     1  -> 10  f.yaml\n  LONG  '' -> x   f.yaml"
    assert changes(old, old, {}) == ""
