"""A variable is the noun for what it holds: `sentence`, `accuracies`, and not a word that fits every value."""

import ast
from pathlib import Path

import pytest

from core.paths import ROOT

VAGUE = {"found", "held", "own", "asked"}
FOLDERS = ("core", "experiments", "benchmarks", "docs", "tests")


def vague_names(source: str) -> list[tuple[int, str]]:
    """Line and name of every vague variable, argument, attribute, function or class that a file defines."""
    names = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                names.append((node.lineno, name))
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.append((node.lineno, name))
    return sorted((line, name) for line, name in names if name.strip("_") in VAGUE)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_name_fits_every_value(folder):
    files: list[Path] = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert {str(file.relative_to(ROOT)): names for file in files if (names := vague_names(file.read_text()))} == {}


def test_every_kind_of_definition_is_looked_at():
    source = (
        "found = 1\nfor held in x: pass\ndef f(own, *asked): pass\nself.found = [own for own in y]\ndef _held(): pass\n"
    )
    assert [line for line, _ in vague_names(source)] == [1, 2, 3, 3, 4, 4, 5]
    assert vague_names("sentence = found + held.own(asked=1)\n") == []
