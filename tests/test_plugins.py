"""The import of a user's own modules, and each way in which it fails."""

import pytest

from core.errors import UserError
from core.plugins import import_plugins


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """The sentence with which a module of this source is refused; `{file}` stands for its file."""

    def refused(source, name="broken_plugin_"):
        file = tmp_path / f"{name}.py"
        file.write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr("sys.dont_write_bytecode", True)
        with pytest.raises(UserError) as caught:
            import_plugins([name])
        return str(caught.value).replace(str(file), "{file}")

    return refused


def test_a_refused_registration_names_the_line(refused):
    source = "from core.registry import METHODS\n\n\n@METHODS.register\nclass B: ...\n"
    assert refused(source) == (
        '{file} line 4: @METHODS.register above class B has no name in brackets; write @METHODS.register("B") above '
        "class B."
    )


@pytest.mark.parametrize("path", ["/tmp/x/notype.py", "notype.py", "x/notype"])
def test_a_path_in_place_of_a_module(path):
    with pytest.raises(UserError) as caught:
        import_plugins([path])
    assert str(caught.value) == (
        f"PLUGINS names {path!r}, which is a path; name the module, notype, and put its folder on PYTHONPATH."
    )


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("def broken(:\n", "); correct it."),
        ("1 / 0\n", "ZeroDivisionError: division by zero, {file} line 1); correct it."),
        (
            "import no_such_.part\n",
            "No module named 'no_such_', {file} line 1); install no_such_ with pip, or correct that import.",
        ),
        ("import core.no_such_\n", "{file} line 1); correct that import."),
        ("import fiveway.episode\n", "FiveWay is called core here: import that."),
    ],
)
def test_the_advice_fits_the_failure(refused, source, remedy):
    sentence = refused(source)
    assert sentence.startswith("PLUGINS names 'broken_plugin_', which Python cannot import (")
    assert sentence.endswith(remedy)
    assert "PYTHONPATH" not in sentence


def test_a_module_that_is_nowhere():
    with pytest.raises(UserError, match=r"correct it, and put it on PYTHONPATH or next to the scripts\.$"):
        import_plugins(["no_such_.part"])


def test_a_script_that_ends_while_it_is_imported(refused):
    assert refused("import sys\nsys.exit(3)\n") == (
        "PLUGINS names 'broken_plugin_', whose import calls sys.exit ({file} line 2); put that below if __name__ == "
        '"__main__".'
    )
