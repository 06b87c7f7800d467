"""Every entry of the manual, and trees of keys for hypothesis with merging as it is meant."""

from hypothesis import strategies as st

from core.config.defaults import KEYS, STAGE_KEYS
from core.config.provenance import flatten

ENTRIES = flatten({name: node for name, node in KEYS.items() if name != "STAGE"} | {"STAGE": {"meta": STAGE_KEYS}})

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
