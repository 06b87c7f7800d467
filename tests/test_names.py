"""The sentence for a name that is none of those there are."""

from core.names import nearest, not_one_of


def test_the_nearest_name_whatever_its_case():
    assert nearest("PROTONT", ["ProtoNet", "RFS"]) == " (did you mean ProtoNet?)"
    assert nearest("something else", ["ProtoNet", "RFS"]) == ""


def test_names_are_listed_but_for_the_empty_one():
    assert not_one_of("KEY", "clss", ["", "cls", "mean"]) == (
        "KEY is 'clss', which is not one of: cls, mean (did you mean cls?)."
    )
