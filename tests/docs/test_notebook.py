"""docs/first_steps.ipynb: what is kept of it is what it does, and it can be executed from top to bottom."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from make_notebook_page import notebook_page

from tests.docs.walk import ROOT, clone

NOTEBOOK = ROOT / "docs/first_steps.ipynb"


def outputs(file):
    """All that the cells of a notebook printed."""
    cells = json.loads(file.read_text())["cells"]
    return ["".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", [])]


def test_the_notebook_is_kept_as_it_was_executed():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    text = "".join(outputs(NOTEBOOK))
    assert "error:" not in text
    assert "ProtoNet  Glyphs test  5-way 1-shot" in text
    assert NOTEBOOK.stat().st_size < 200_000


def test_its_page_has_text_code_outputs_and_pictures(tmp_path):
    drawn = {"output_type": "display_data", "data": {"image/png": "UE5H"}}
    printed = {"output_type": "stream", "text": ["1\n", "2\n"]}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "[more](data.md)"]},
        {"cell_type": "code", "source": ["print(1)"], "outputs": [printed, drawn]},
        {"cell_type": "code", "source": ["%%bash\n", "ls"], "outputs": []},
    ]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    text, pictures = notebook_page(tmp_path / "a.ipynb")
    assert pictures == {"a_1.png": b"PNG"}
    assert text == (
        "# Title\n[more](../data.md)\n\n```ipython3\nprint(1)\n```\n\n```text\n1\n2\n```\n\n"
        "![what the cell above draws](a_1.png)\n\n```bash\n%%bash\nls\n```\n"
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_notebook_can_be_executed(tmp_path, glyphs):
    folder = clone(tmp_path / "clone")
    (folder / "data/Glyphs").symlink_to(f"{glyphs}/Glyphs")
    shutil.copy(NOTEBOOK, folder / "docs")  # as it is here, committed or not
    binaries = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}", "IPYTHONDIR": str(tmp_path / "ipython")}
    run = subprocess.run(
        [binaries / "jupyter-execute", "--inplace", "--timeout=900", NOTEBOOK.name],
        cwd=folder / "docs",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    text = "".join(outputs(folder / "docs" / NOTEBOOK.name))
    assert "error:" not in text
    assert "Glyphs test  5-way 5-shot" in text
