"""The registry of protocols and the options that each takes."""

import pytest

from core.errors import UserError
from core.plugins import import_plugins
from core.protocols.base import (
    PROTOCOLS,
    Answer,
    Option,
    Protocol,
    all_options,
    help_text,
    protocol_named,
    refuse_options,
)
from core.registry import import_all

OWN = """
from core.protocols.base import PROTOCOLS, Answer, Protocol, SHOTS


@PROTOCOLS.register("mine")
class Mine(Protocol):
    options = {"shots": SHOTS}

    def answers(self):
        yield Answer("a line")
"""


def test_a_protocol_is_found_by_its_name_in_any_case():
    assert protocol_named("Episodes") is protocol_named("episodes")
    with pytest.raises(UserError, match=r"--protocol is 'episode', .* \(did you mean episodes\?\)"):
        protocol_named("episode")


def test_every_option_lists_the_protocols_that_take_it():
    options = all_options()
    for name, takers in options.items():
        assert all(protocol_named(protocol).options[name] is option for protocol, option in takers.items())
    assert {protocol for takers in options.values() for protocol in takers} <= set(PROTOCOLS)


def test_the_help_of_an_option_says_what_it_means_to_each_protocol():
    one, other = Option("as TASK.TEST.SHOT"), Option("default: 1 2 4")
    assert help_text({"a": one, "b": other, "c": one}) == "as TASK.TEST.SHOT (a, c); default: 1 2 4 (b)"
    shots = help_text(all_options()["shots"])
    assert "(default: 1 2 4 8 16) (allway); supports of each class, instead of TASK.TEST.SHOT (episodes" in shots


def test_an_option_that_a_protocol_does_not_take_is_refused():
    class Two(Protocol):
        name = "two"
        options = {"shots": Option("", "K"), "all_ways": Option("", "N")}

    refuse_options(Two, {"shots": 1})
    with pytest.raises(UserError, match=r"--my-group is x, but the protocol two .* takes --shots and --all-ways\."):
        refuse_options(Two, {"my_group": "x"})


def test_a_protocol_of_a_users_module(tmp_path, monkeypatch):
    (tmp_path / "own_protocol.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    import_all("core.protocols")  # into the registry, not into its copy
    monkeypatch.setattr(PROTOCOLS, "_classes", dict(PROTOCOLS._classes))
    import_plugins(["own_protocol"])
    assert protocol_named("mine").name == "mine"


def test_an_answer_may_have_no_files():
    assert dict(Answer("a line").files) == {}
