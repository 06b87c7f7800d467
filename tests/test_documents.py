"""What the documents show works as they show it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from core.backbones.conv4 import Conv4
from core.config.defaults import DEFAULTS, STAGE
from core.config.provenance import flatten
from core.episode import DataInfo, Task
from core.make import schemas
from core.methods.base import Method
from core.ops.distances import squared_euclidean
from core.registry import Registry
from tests.helpers import make_task

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md"])
def test_the_method_that_a_document_shows_works(document):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    methods = Registry("METHOD.NAME")
    names = {"METHODS": methods, "Method": Method, "Task": Task, "Tensor": torch.Tensor}
    exec(compile(code, document, "exec"), names | {"squared_euclidean": squared_euclidean})
    method = methods["NearestShot"](Conv4(16, "native", width=4), DataInfo(8, 16)).eval()
    task = make_task({"vector": torch.randn(2, 6, 5)}, {"vector": torch.randn(2, 12, 5)}, way=3, shot=2)
    expected = -torch.cdist(task.query["vector"].double(), task.support["vector"].double()).square()
    expected = expected.view(2, 12, 3, 2).amax(3)
    torch.testing.assert_close(method(task).double(), expected, rtol=1e-4, atol=1e-4)


def test_every_file_that_the_documents_link_to_exists():
    for document in [ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "data/README.md"]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"


def test_readme_lists_every_method_and_its_overrides_exist():
    readme = (ROOT / "README.md").read_text()
    table = [line for line in readme.splitlines() if line.startswith("| ")]
    for name in schemas().methods:
        assert any(line.startswith(f"| {name}") for line in table), name
    known = flatten(DEFAULTS) | {f"STAGE.meta.{key}": value for key, value in flatten(STAGE).items()}
    for key in re.findall(r"\b(?:EVAL|TASK|STAGE|DATASET)\.[A-Z_a-z.]+[A-Za-z]", readme):
        assert key in known, key
