"""Fixtures that run the commands in a folder of their own."""

import pytest

from tests.workspace import Workspace, files


@pytest.fixture
def space(tmp_path, tiny_root, monkeypatch, capsys):
    monkeypatch.setattr("core.commands.RUNS", str(tmp_path / "checkpoint"))  # of networks that are not trained
    return Workspace(tmp_path, tiny_root, monkeypatch, capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_root):
    """A finished run that the tests of a module only read: (its YAML, the run folder)."""
    path = tmp_path_factory.mktemp("trained")
    space = Workspace(path, tiny_root, None, None)
    cfg = space.config()
    return cfg, space.train(cfg)


@pytest.fixture
def refused(space):
    """Run a script that must refuse, leaving no trace; returns its sentence."""

    def refused(name, *arguments):
        before = files(space.path)
        code, out, err = space.script(name, *arguments)
        assert code == 2
        assert err.startswith("error: ")
        assert err.endswith(".\n")
        assert "Traceback" not in out + err
        assert files(space.path) == before
        return err.removeprefix("error: ").strip()

    return refused


@pytest.fixture
def untrainable(refused, space):
    """The sentence with which training a config is refused, before there is a run folder."""

    def untrainable(cfg, *arguments):
        sentence = refused("run_trainer.py", "--cfg", cfg, "-c", space.base, "-d", "cpu", *arguments)
        assert not space.base.exists()
        return sentence

    return untrainable


@pytest.fixture
def unfit(refused, trained):
    """The sentence with which evaluating a checkpoint is refused."""

    def unfit(checkpoint, *arguments, cfg=trained[0]):
        before = files(trained[1])
        sentence = refused("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "-c", checkpoint, *arguments)
        assert files(trained[1]) == before
        return sentence

    return unfit
