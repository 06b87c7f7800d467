"""Registered classes, their arguments, and what these may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import pytest

import core.registry
from core.build.config import schemas
from core.errors import UserError
from core.limits import Choices, Count, Positive
from core.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

Side = Literal[3, 7]


@pytest.fixture
def registry():
    return Registry("METHOD.NAME")


class Head:
    def __init__(
        self, width: int, *, metric: Literal["squared", "cosine"] = "squared", file: Path | None = None
    ) -> None:
        self.width, self.metric, self.file = width, metric, file


class Stem(Head):
    def __init__(self, width: int, *, side: Side = 3, **more) -> None:
        super().__init__(width, **more)
        self.side = side


class Fixed(Head):
    """Its choices are its own; those of its parent are not its arguments."""

    renamed = {"k": "scale", "old": "metric"}

    def __init__(self, width: int, *, scale: float = 1.0) -> None:
        super().__init__(width, metric="cosine")


def test_arguments_are_the_keyword_only_ones_with_those_handed_to_the_parent(registry):
    registry.register("Stem")(Stem)
    arguments = registry.arguments("stem")
    assert arguments.defaults == {"side": 3, "metric": "squared", "file": None}
    assert arguments.limits == {"side": Choices((3, 7)), "metric": Choices(("squared", "cosine"))}


def test_a_class_without_more_takes_no_arguments_of_its_parent(registry):
    registry.register("Fixed")(Fixed)
    arguments = registry.arguments("Fixed")
    assert arguments.defaults == {"scale": 1.0}
    assert arguments.limits == {}
    assert arguments.renamed == {"k": "scale"}  # `metric` is no argument here
    assert Fixed(3).metric == "cosine"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"metric": "cosin"}, "METHOD.ARGS.metric is 'cosin', which is not one of: squared, cosine (did you mean cosi"),
        ({"metric": "x"}, "METHOD.ARGS.metric is 'x', which is not one of: squared, cosine."),
        ({"side": 5}, "METHOD.ARGS.side is 5, which is not one of: 3, 7."),
    ],
)
def test_a_constructor_refuses_a_word_that_is_no_choice(registry, value, said):
    made = registry.register("Made")(type("Made", (Stem,), {}))
    assert made(4, side=7, metric="cosine").side == 7
    with pytest.raises(UserError) as caught:
        made(4, **value)
    assert str(caught.value).startswith(said)


def test_an_argument_without_a_default_is_refused(registry):
    class Open(Head):
        def __init__(self, width: int, *, k: int) -> None:
            super().__init__(width)

    registry.register("Open")(Open)
    with pytest.raises(UserError, match=r"^METHOD\.NAME Open: its argument k has no default; give it one\.$"):
        registry.arguments("Open")


def test_parents_and_signatures_stay_what_they_are(registry):
    enter: Callable = registry.register("Made")
    made = enter(type("Made", (Head,), {}))
    assert made.name == "Made"
    assert Head(4, metric="x").metric == "x"  # Head itself is not registered
    with pytest.raises(TypeError):
        made(4, unknown=1)


def test_names_are_found_whatever_their_case_and_refused_with_the_nearest(registry):
    registry.register("Fixed")(type("Fixed", (Head,), {}))
    assert registry["fIXED"].name == "Fixed"
    with pytest.raises(UserError, match=r"METHOD.NAME is 'Fixd', which is not one of: Fixed \(did you mean Fixed\?\)"):
        registry["Fixd"]


def of_module(name, module):
    """A class as if a module defined it."""
    return type(name, (Head,), {"__module__": module})


@pytest.mark.parametrize(("first", "second"), [("core.registry", __name__), (__name__, "core.registry")])
def test_a_plugin_may_not_take_a_name_of_fiveway_whichever_comes_first(registry, first, second):
    registry.register("Fixed")(of_module("First", first))
    with pytest.raises(UserError) as caught:
        registry.register("fixed")(of_module("Second", second))
    files = {__name__: __file__, "core.registry": core.registry.__file__}
    assert str(caught.value) == (
        f"METHOD.NAME fixed is the name of class Second in {files[second]} and of class First in {files[first]}, as "
        "case does not count; give yours another name."
    )


def test_two_plugins_of_one_name_and_one_of_a_family(registry):
    registry.register_family("lib")(Library)
    registry.register("Fixed")(of_module("One", __name__))
    with pytest.raises(UserError, match=r"^METHOD\.NAME Fixed is .* class Two in unknown and .*py; give yours another"):
        registry.register("Fixed")(of_module("Two", "unknown"))
    with pytest.raises(UserError, match=r"^METHOD\.NAME lib:a is the name of class Two in .* and of class Library in"):
        registry.register("lib:a")(of_module("Two", "unknown"))


def test_a_name_that_fiveway_gives_twice_is_no_error_of_the_user(registry):
    registry.register("Fixed")(of_module("One", "core.methods.one"))
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("fixed")(of_module("Again", "core.methods.again"))


@pytest.mark.parametrize(("key", "variable"), [("METHOD.NAME", "METHODS"), ("--protocol", "PROTOCOLS")])
def test_a_decorator_without_a_name(key, variable):
    with pytest.raises(UserError) as caught:
        Registry(key).register(Head)
    assert str(caught.value) == (
        f'@{variable}.register above class Head has no name in brackets; write @{variable}.register("Head") above '
        "class Head."
    )
    with pytest.raises(UserError, match=rf"^of_module is no name; write @{variable}\.register\(\"NAME\"\) above a cl"):
        Registry(key).register(of_module)


@pytest.mark.parametrize(("thing", "called"), [(of_module, "of_module"), (Head(3), "an object of type Head")])
def test_what_is_no_class(registry, thing, called):
    with pytest.raises(UserError) as caught:
        registry.register("Odd")(thing)
    assert str(caught.value) == (
        f"METHOD.NAME 'Odd' is registered for {called}, which is no class; write @METHODS.register(\"Odd\") above a "
        "class."
    )
    assert list(registry) == []


class Library(Head):
    """A family: its members are made when they are asked for."""

    @classmethod
    def member(cls, member):
        if member == "absent":
            raise UserError("no such member")
        return type("Member", (cls,), {"member_name": member})


def test_a_member_of_a_family_is_one_class_in_any_case(registry):
    registry.register_family("lib")(Library)
    registry.register("Head")(Head)
    member = registry["Lib:Small"]
    assert member is registry["lib:small"]
    assert (member.name, member.member_name) == ("lib:small", "small")
    assert registry.arguments("LIB:small").limits == {"metric": Choices(("squared", "cosine"))}
    with pytest.raises(UserError, match=r"METHOD.ARGS.metric is 'cosin'"):
        member(3, metric="cosin")
    with pytest.raises(UserError, match="no such member"):
        registry["lib:absent"]


def test_families_are_listed_among_the_names_that_there_are(registry):
    registry.register_family("lib")(Library)
    registry.register("Head")(Head)
    assert list(registry) == ["Head"]
    with pytest.raises(UserError, match=r"is not one of: Head, lib:MODEL"):
        registry["lab:small"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ("scael",),
            "its test_arguments name 'scael', which is no argument of its __init__ (did you mean scale?); cor",
        ),
        ("scale", "its test_arguments are 'scale', which is no tuple; write ('scale',)."),
    ],
)
def test_arguments_of_the_test_must_be_arguments(registry, names, said):
    registry.register("Fixed")(type("Fixed", (Fixed,), {"test_arguments": ("scale",)}))
    assert "scale" in registry.arguments("Fixed").defaults
    registry.register("Odd")(type("Odd", (Fixed,), {"test_arguments": names, "__init__": Fixed.__init__}))
    with pytest.raises(UserError) as caught:
        registry.arguments("Odd")
    assert str(caught.value).startswith(f"METHOD.NAME Odd: {said}")


def of_signature(constructor):
    """A class with this `__init__`."""
    return type("Odd", (Head,), {"__init__": constructor})


def half(self, width, *, k: Count = 0.5): ...
def text(self, width, *, k: float = "x"): ...
def nothing(self, width, *, k: int = None): ...  # noqa: RUF013
def third(self, width, *, k: Literal["a", "b"] = "c"): ...
def low(self, width, *, k: Sequence[Count] = (1, 0)): ...


@pytest.mark.parametrize(
    ("constructor", "default", "kind"),
    [
        (half, "0.5", "int at least 1"),
        (text, "'x'", "float"),
        (nothing, "None", "int"),
        (third, "'c'", "Literal['a', 'b']"),
        (low, "(1, 0)", ""),
    ],
)
def test_a_default_that_does_not_fit_its_type(registry, constructor, default, kind):
    registry.register("Odd")(of_signature(constructor))
    with pytest.raises(UserError) as caught:
        registry.arguments("Odd")
    assert str(caught.value).startswith(
        f"METHOD.NAME Odd: the default of its argument k is {default}, which does not fit its type, {kind}"
    )
    assert str(caught.value).endswith("; correct it.")


def test_an_argument_that_no_yaml_can_set(registry):
    registry.register("Odd")(of_signature(lambda self, width, k=3: None))
    with pytest.raises(UserError, match=r"^METHOD\.NAME Odd: its argument k is not keyword-only; put \*, before k\.$"):
        registry.arguments("Odd")


def test_a_whole_number_for_a_float_and_none_where_it_is_allowed(registry):
    def whole(self, width, *, scale: float = 1, rate: Positive = 2, side: int | None = None, odd: Missing = 3): ...  # noqa: F821

    registry.register("Odd")(of_signature(whole))
    defaults = registry.arguments("Odd").defaults
    assert {name: type(value) for name, value in defaults.items()} == {
        **{"scale": float, "rate": float, "side": type(None), "odd": int}
    }


def test_every_class_of_fiveway_has_defaults_that_fit():
    known = schemas()
    assert all(classes[name] for classes in vars(known).values() for name in classes if ":" not in name)
