import pytest

from tests.workspace import Workspace


@pytest.fixture
def space(tmp_path, tiny_root, monkeypatch, capsys):
    return Workspace(tmp_path, tiny_root, monkeypatch, capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_root):
    """A finished run that the tests of a module only read: (its YAML, the run folder)."""
    path = tmp_path_factory.mktemp("trained")
    space = Workspace(path, tiny_root, None, None)
    cfg = space.config()
    return cfg, space.train(cfg)
