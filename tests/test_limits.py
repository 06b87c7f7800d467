"""What the type of an argument allows."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest

from core.limits import (
    Bounds,
    Choices,
    Count,
    EachWithin,
    NonNegative,
    Positive,
    Share,
    ShareBelowOne,
    ZeroOrMore,
    coerce,
    limit_of,
)


@pytest.mark.parametrize(
    ("number", "allowed", "forbidden", "words"),
    [
        (Positive, [1e-9, 3], [0, -1.0], "above 0"),
        (NonNegative, [0, 0.5], [-1e-9], "at least 0"),
        (Share, [0, 0.5, 1], [-0.1, 1.1], "at least 0 and at most 1"),
        (ShareBelowOne, [0, 0.99], [-0.1, 1], "at least 0 and below 1"),
        (Count, [1, 7], [0, -3], "at least 1"),
        (ZeroOrMore, [0, 7], [-1], "at least 0"),
    ],
)
def test_numbers_within_bounds(number, allowed, forbidden, words):
    limit = limit_of(number)
    assert [limit.refusal("KEY", value) for value in allowed] == [""] * len(allowed)
    for value in [*forbidden, float("nan"), True, "1", None]:
        assert limit.refusal("KEY", value) == f"KEY is {value}; it must be {words}."


def test_bounds_may_be_written_out():
    limit = limit_of(Annotated[float, Bounds("> 0", "<= 0.5")])
    assert limit.refusal("KEY", 0.5) == ""
    assert limit.refusal("KEY", 0.0) == "KEY is 0.0; it must be above 0 and at most 0.5."
    with pytest.raises(KeyError):
        Bounds("= 1")


def test_a_list_names_the_first_number_that_is_out_of_bounds():
    limit = limit_of(Sequence[Positive])
    assert isinstance(limit, EachWithin)
    assert [limit.refusal("KEY", value) for value in ([], [0.1, 2], (3,))] == ["", "", ""]
    assert limit.refusal("KEY", (1, 0.0, -2)) == "KEY is [1, 0.0, -2], where 0.0 must be above 0."
    assert limit.refusal("KEY", [[1]]) == "KEY is [[1]], where [1] must be above 0."


def test_limits_say_what_they_allow():
    limits = [limit_of(kind) for kind in (Literal["", "squared", 3], Share, Sequence[Count])]
    assert [str(limit) for limit in limits] == ["squared, 3", "at least 0 and at most 1", "each at least 1"]


def test_words():
    limit = limit_of(Literal["squared", "cosine", 3])
    assert limit == Choices(("squared", "cosine", 3))
    assert limit.refusal("KEY", 3) == ""
    assert limit.refusal("KEY", "cosin").startswith("KEY is 'cosin', which is not one of: squared, cosine, 3")


@pytest.mark.parametrize("kind", [int, float, bool, Any, "Path | None", Sequence[float], Sequence[Sequence[float]]])
def test_other_types_set_no_limit(kind):
    assert limit_of(kind) is None


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.1e-2", ".1e-2", "+1.e-3", "10e-4"])
def test_exponents_that_yaml_reads_as_text(text):
    assert coerce(text, 0.5) == 0.001


@pytest.mark.parametrize("text", ["e3", "1e", "nan", "inf", "0.5", "1e3 "])
def test_other_text_is_no_number(text):
    with pytest.raises(TypeError, match="a number"):
        coerce(text, 0.5)
