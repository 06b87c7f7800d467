"""The manual: every key is an entry with roles, and every role is used."""

import pytest

from core.config.defaults import DEFAULTS, KEYS, STAGE, STAGE_KEYS, find_key
from core.config.keys import ROLES, Key
from core.config.provenance import flatten
from core.limits import KINDS
from tests.config.trees import ENTRIES


@pytest.mark.parametrize("name", ENTRIES)
def test_every_key_has_an_entry_with_roles(name):
    entry = ENTRIES[name]
    assert isinstance(entry, Key), f"{name} has no role: write it as key(default, role)"
    assert entry.roles
    assert type(entry.default) in KINDS or entry.default == {}
    assert find_key(name) is entry


def test_every_role_is_used():
    assert set().union(*(entry.roles for entry in ENTRIES.values())) == set(ROLES)


def test_defaults_are_allowed_where_no_other_key_gives_the_value():
    for name, entry in ENTRIES.items():
        assert not entry.choices or entry.default in entry.choices, name
        assert entry.least is None or entry.default >= entry.least or entry.default == 0, name


def test_arguments_have_the_entry_of_their_group():
    assert find_key("METHOD.ARGS.scale") is KEYS["METHOD"]["ARGS"]
    assert find_key("STAGE.any.OBJECTIVE.ARGS.margin") is STAGE_KEYS["OBJECTIVE"]["ARGS"]
    assert find_key("STAGE.any.ARGS.a.b") is STAGE_KEYS["ARGS"]


@pytest.mark.parametrize("name", ["NONE", "STAGE", "STAGE.meta", "METHOD", "METHOD.NAME.x", "STAGE.meta.SEED"])
def test_what_is_no_key_has_no_entry(name):
    assert find_key(name) is None


def test_trees_of_defaults_have_the_same_keys():
    assert set(flatten(DEFAULTS)) == set(flatten(KEYS))
    assert set(flatten(STAGE)) == set(flatten(STAGE_KEYS))
