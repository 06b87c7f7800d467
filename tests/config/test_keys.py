"""An entry of the manual."""

import pytest

from core.config.keys import default_tree, key


@pytest.mark.parametrize("roles", [(), ("learns",), ("trains", "learns"), ("neither", "trains")])
def test_a_key_needs_roles_that_exist(roles):
    with pytest.raises(ValueError, match="give one or more of"):
        key(0, *roles)


def test_tree_of_defaults():
    assert default_tree({"A": key(1, "trains"), "B": {"C": key([2], "neither")}}) == {"A": 1, "B": {"C": [2]}}
