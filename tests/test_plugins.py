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
