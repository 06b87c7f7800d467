"""What env.json says of the machine."""

import json

import torch

from core import __version__
from core.engine import environment


def test_the_environment_is_plain_json_and_names_what_ran(monkeypatch):
    monkeypatch.setattr("sys.argv", ["run_trainer.py", "--cfg", "a.yaml"])
    record = environment.environment(torch.device("cpu"))
    assert json.loads(json.dumps(record)) == record
    assert record["command"] == ["run_trainer.py", "--cfg", "a.yaml"]
    assert record["torch"] == torch.__version__
    assert record["device"].startswith("cpu (")


def test_without_git_the_version_stands_for_the_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert environment.environment(torch.device("cpu"))["commit"] == f"version {__version__}"
    (tmp_path / ".git").mkdir()  # no repository
    assert environment.environment(torch.device("cpu"))["commit"] == f"version {__version__}"
