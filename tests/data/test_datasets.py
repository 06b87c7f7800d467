import pytest
from tests.data.test_preparing import run_script

from core.data.datasets import benchmark
from core.errors import UserError


def test_names_ignore_case():
    assert benchmark("cifar-fs").name == "CIFAR-FS"
    with pytest.raises(UserError, match="did you mean CIFAR-FS"):
        benchmark("CIFARFS")


def test_script_lists_what_there_is(tmp_path):
    result = run_script("--list", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["name", "classes", "images", "size", "prepared", "where", "to", "get", "it"]
    assert ["CIFAR-FS", "64/16/20", "60000", "32", "px", "no"] in [row[:6] for row in rows]
