"""What the documents show works as they show it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.backbones.conv4 import Conv4
from core.cli import analyse, compare, evaluate, prepare, train
from core.config.defaults import DEFAULTS, STAGE
from core.config.provenance import flatten
from core.episode import DataInfo, Task
from core.errors import UserError
from core.make import load_config, schemas
from core.methods.base import Method
from core.ops.distances import squared_euclidean
from core.registry import Registry
from tests.helpers import make_task

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
COMMANDS = {
    "run_trainer.py": train,
    "run_evaluator.py": evaluate,
    "run_compare.py": compare,
    "run_analysis.py": analyse,
    "prepare_data.py": prepare,
    "fiveway train": train,
    "fiveway evaluate": evaluate,
}
COMMAND = re.compile(rf"(^|&& )(\S*python )?(\S*/)?({'|'.join(COMMANDS)}) ")
SOURCE = re.compile(r"(?<![\w/])(?:core|tests|benchmarks|experiments|data|docs)/[\w/-]+\.(?:py|md|json|tsv)")
CONFIG = re.compile(r"configs/[\w./<>\[\]*+-]+\.yaml")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
KEY = re.compile(r"[A-Z]+(\.\w+)+(=|$)")


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


def test_every_yaml_that_the_documents_name_exists():
    """A document that teaches to write a YAML also names that one: architecture.md says NearestShot."""
    for document in DOCUMENTS:
        for name in CONFIG.findall(document.read_text()):
            is_pattern, is_to_be_written = "<" in name, "NearestShot" in name or document.stem == "add_a_method"
            assert is_pattern or is_to_be_written or list(ROOT.glob(name)), f"{document.name} names {name}"


def test_every_file_of_the_project_that_the_documents_name_exists():
    examples = ("core/x/y.py", "tests/x/test_y.py", "core/methods/nearest_shot.py")
    for document in DOCUMENTS:
        if document.stem != "add_a_method":  # it teaches to write some
            for name in SOURCE.findall(document.read_text()):
                assert name in examples or (ROOT / name).exists(), f"{document.name} names {name}"


def test_every_option_that_the_documents_name_exists(capsys):
    options = {name: _options(module, capsys) for name, module in COMMANDS.items()}
    for document in DOCUMENTS:
        for line in _lines(document):
            named = [known for name, known in options.items() if name in line] or list(options.values())
            if "benchmarks/" not in line:
                unknown = set(OPTION.findall(line)) - set().union(*named)
                assert not unknown, f"{document.name} shows {', '.join(sorted(unknown))} in: {line.strip()}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_the_config_and_the_keys_of_every_command_load(document):
    problems = []
    for command in _commands(document):
        words = shlex.split(command, comments=True)
        config = words[words.index("--cfg") + 1] if "--cfg" in words else "FILE"
        keys = [i for i, word in enumerate(words) if KEY.match(word)]
        overrides = [word for i in keys for word in words[i : i + 1 + ("=" not in words[i])]]
        try:
            if config != "FILE":
                load_config(ROOT / config if (ROOT / config).exists() else config, overrides)
        except (UserError, OSError) as error:
            problems.append(f"{command}\n    {error}")
    assert not problems, "\n".join(problems)


def test_the_commands_are_found(tmp_path):
    document = tmp_path / "one.md"
    document.write_text(
        'Text: run_trainer.py --cfg x.\n\n    run="python run_trainer.py --cfg a"\n    $run --tag b\n\n'
        "```\nfor m in 0.1 0.3; do\n  run_trainer.py --cfg c \\\n    A.B=$m\ndone\n```\n"
    )
    assert list(_commands(document)) == [
        "python run_trainer.py --cfg a --tag b",
        "run_trainer.py --cfg c      A.B=0.1",
    ]


def _lines(document: Path) -> list[str]:
    """The lines of a document; those that end in a backslash are joined with the next."""
    return document.read_text().replace("\\\n", " ").splitlines()


def _commands(document: Path) -> Iterator[str]:
    """Every command in a block of code, with the values of shell variables; of a loop, the first round."""
    variables: dict[str, str] = {}
    fenced = False
    for line in _lines(document):
        fenced ^= line.lstrip().startswith("```")
        if fenced or line.startswith("    "):
            if assignment := re.match(r'\s*(\w+)="([^"]*)"', line) or re.match(r"\s*for (\w+) in (\S+?)[ ;]", line):
                variables[assignment[1]] = assignment[2]
            elif COMMAND.search(command := _expanded(line, variables).strip()):
                yield command


def _expanded(line: str, variables: dict[str, str]) -> str:
    """A line of a shell with the values of its variables."""
    return re.sub(r"\$(\w+)", lambda match: variables.get(match[1], match[0]), line)


def _options(module, capsys) -> set[str]:
    """The options that a command's help lists, those of its studies among them."""
    for arguments in [["--help"], *([[study, "--help"] for study in analyse.STUDIES] if module is analyse else [])]:
        with pytest.raises(SystemExit):
            module.main(arguments)
    return set(OPTION.findall(capsys.readouterr().out))
