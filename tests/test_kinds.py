"""Values from outside are told by their kind."""

import pytest

from core.kinds import ALL, misfit, parse_json

KIND = {"name": str, "mean": [float], "facts": {"": int}, "more?": (None, {"flag": bool})}
GOOD = {"name": "a", "mean": [0.5, 1], "facts": {"way": 5}, "more": {"flag": True}, "unknown": object()}


def test_what_fits():
    assert misfit(GOOD, KIND) == ""
    assert misfit({k: GOOD[k] for k in ("name", "mean", "facts")}, KIND) == ""
    assert misfit(GOOD | {"more": None}, KIND) == ""
    assert misfit([], [str]) == ""


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": 1}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"mean": [0.5, "x"]}, "mean.1"),
        ({"mean": [float("nan")]}, "mean.0"),
        ({"mean": {}}, "mean"),
        ({"facts": {"way": True}}, "facts.way"),
        ({"facts": {"way": 1 << 64}}, "facts.way"),
        ({"facts": {3: 3}}, "facts.3"),
        ({"facts": []}, "facts"),
        ({"more": {"flag": 1}}, "more"),
    ],
)
def test_the_first_misfit_is_named(change, place):
    assert misfit(GOOD | change, KIND) == place


def test_what_is_missing_is_named():
    assert misfit({"name": "a"}, KIND) == "mean"
    assert misfit([], KIND) == ALL


def test_json():
    assert parse_json('{"a": [1]}', {"a": [int]}) == {"a": [1]}
    assert parse_json(b"[1, 2]") == [1, 2]
    for text, reason in (("[" * 100_000, "nested too deeply"), ('{"a": ["x"]}', "a.0 is missing"), ("{", "Expecting")):
        with pytest.raises(ValueError, match=reason):
            parse_json(text, {"a": [int]})
