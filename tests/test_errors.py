"""Errors in the words of their user."""

import pytest

from core.errors import UserError, reworded


def test_an_error_is_said_in_other_words():
    words = {"BACKBONE.NAME": "--encoder", "BACKBONE.WEIGHTS": "--weights"}
    with pytest.raises(UserError, match=r"^--encoder is x; give --weights\.$"), reworded(words):
        raise UserError("BACKBONE.NAME is x; give BACKBONE.WEIGHTS.")


def test_other_errors_stay_as_they_are():
    with pytest.raises(ValueError, match="BACKBONE"), reworded({"BACKBONE": "--encoder"}):
        raise ValueError("BACKBONE")
