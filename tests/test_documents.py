"""What the documents show works as they show it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import core
from core.build.config import schemas
from core.config.defaults import DEFAULTS, STAGE
from core.config.provenance import flatten

ROOT = Path(__file__).parents[1]


def blocks(document: str, language: str) -> list[str]:
    """The code blocks of a document."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def test_the_example_of_a_method_is_the_same_everywhere():
    assert blocks("docs/architecture.md", "python") == blocks("docs/add_a_method.md", "python")[:1]


@pytest.mark.timeout(300)
def test_what_is_added_by_the_book_passes_the_contract(tmp_path, glyphs):
    """Each example is written to the file that the document names, and its YAML goes through every contract test."""
    document = (ROOT / "docs/add_a_method.md").read_text()
    files = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", document, re.DOTALL))
    assert list(files) == ["nearest_shot.py", "learned_space.py", "smoothed.py", "two_blocks.py", "hardest_class.py"]
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    configs = []
    for text, name in zip(
        blocks("docs/add_a_method.md", "yaml"), ("NearestShot", "LearnedSpace", "smoothed", "TwoBlocks"), strict=True
    ):
        assert f"NAME: {name}" in text
        configs += ["--contract", str(tmp_path / f"{name}_N5K1_C4.yaml")]
        Path(configs[-1]).write_text(text)
    contract = ["tests/methods/test_contract.py", "-p", "no:cacheprovider", "-vv"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *contract, *configs],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:]
    for name in ("NearestShot", "LearnedSpace", "smoothed", "TwoBlocks"):
        assert f"test_unequal_shots_work[{name}] PASSED" in run.stdout


def test_a_protocol_that_is_added_by_the_book_passes_its_contract(tmp_path):
    document = (ROOT / "docs/add_a_method.md").read_text()
    (code,) = re.findall(r"`hardest_class\.py`:\n\n```python\n(.*?)```", document, re.DOTALL)
    (tmp_path / "hardest_class.py").write_text(code)
    contract = ["tests/protocols/test_contract.py", "--protocol", "hardest_class", "-p", "no:cacheprovider", "-vv"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *contract], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-3000:]
    assert "test_answers_repeat_and_have_folders_of_their_own[hardest-class] PASSED" in run.stdout
    assert "[episodes]" not in run.stdout


def test_a_method_is_used_from_python_as_the_document_shows():
    names = {}
    exec(compile(blocks("docs/add_a_method.md", "python")[1], "add_a_method.md", "exec"), names)
    assert names["logits"].shape == (2, 75, 5)


def test_every_file_that_the_documents_link_to_exists():
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/tutorials/*.md")]
    for document in [*documents, ROOT / "data/README.md"]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"


def test_every_method_is_listed_and_overrides_exist():
    readme, using = ((ROOT / name).read_text() for name in ("README.md", "docs/using.md"))
    table = [line for line in using.splitlines() if line.startswith("| ")]
    for name in schemas().methods:
        assert any(line.startswith(f"| {name}") for line in table), name
    known = flatten(DEFAULTS) | {f"STAGE.meta.{key}": value for key, value in flatten(STAGE).items()}
    for key in re.findall(r"\b(?:EVAL|TASK|STAGE|DATASET)\.[A-Z_a-z.]+[A-Za-z]", readme + using):
        assert key in known, key


def test_readme_is_short_and_its_pictures_are_small():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", (ROOT / "README.md").read_text())
    assert pictures
    for picture in (ROOT / "docs/images").glob("*.png"):
        assert picture.stat().st_size < 300_000, picture.name
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_readme_promises_no_more_methods_than_there_are():
    (count,) = re.findall(r"trains more than (\d+) methods", (ROOT / "README.md").read_text())
    assert int(count) < len(schemas().methods)


def test_the_citation_names_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == core.__version__
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()
    assert f"## {core.__version__}" in (ROOT / "CHANGELOG.md").read_text()
