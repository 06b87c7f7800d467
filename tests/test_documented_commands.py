"""Every command that a document shows works: its YAML, options and keys exist, as do the files that documents name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.build.config import load_config
from core.cli import analyse, compare, demo, evaluate, export, predict, prepare, suite, train
from core.errors import UserError

ROOT = Path(__file__).parents[1]
# add_a_method.md teaches to write files; a test of its own runs what it shows.
DOCUMENTS = [ROOT / "README.md", *sorted({*ROOT.glob("docs/*.md"), *ROOT.glob("docs/tutorials/*.md")})]
DOCUMENTS.remove(ROOT / "docs/add_a_method.md")
COMMANDS = {
    "run_trainer.py": train,
    "run_evaluator.py": evaluate,
    "run_compare.py": compare,
    "run_analysis.py": analyse,
    "prepare_data.py": prepare,
    "run_suite.py": suite,
    "run_predict.py": predict,
    "run_demo.py": demo,
    "run_export.py": export,
    "fiveway train": train,
    "fiveway evaluate": evaluate,
}
TORCHRUN = ("--nproc_per_node", "--nnodes", "--node_rank", "--master_addr", "--master_port", "--max-restarts")
COMMAND = re.compile(rf"(^|&& )(\S*python |torchrun --nproc_per_node \d )?(\S*/)?({'|'.join(COMMANDS)}) ")
SOURCE = re.compile(r"(?<![\w/])(?:core|tests|benchmarks|experiments|data|docs)/[\w/-]+\.(?:py|md|json|tsv)")
CONFIG = re.compile(r"configs/[\w./<>\[\]*+-]+\.yaml")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
KEY = re.compile(r"[A-Z]+(\.\w+)+(=|$)")


def test_every_yaml_that_the_documents_name_exists():
    for document in DOCUMENTS:
        for name in CONFIG.findall(document.read_text()):
            is_example = "<" in name or "NearestShot" in name
            assert is_example or list(ROOT.glob(name)), f"{document.name} names {name}"


def test_every_file_of_the_project_that_the_documents_name_exists():
    examples = ("core/x/y.py", "tests/x/test_y.py", "core/methods/nearest_shot.py")
    for document in DOCUMENTS:
        for name in SOURCE.findall(document.read_text()):
            assert name in examples or (ROOT / name).exists(), f"{document.name} names {name}"


def test_every_option_that_the_documents_name_exists(capsys):
    options = {name: _options(module, capsys) for name, module in COMMANDS.items()}
    for document in DOCUMENTS:
        for line in _lines(document):
            named = [known for name, known in options.items() if name in line] or list(options.values())
            if "benchmarks/" not in line:
                unknown = set(OPTION.findall(line)) - set().union(*named) - set(TORCHRUN)
                assert not unknown, f"{document.name} shows {', '.join(sorted(unknown))} in: {line.strip()}"


def test_examples_name_the_long_form_of_options():
    """`-c` is the base folder in one command and the checkpoint in another."""
    examples = {document.name: document.read_text() for document in DOCUMENTS}
    examples |= {module.__name__: module.EXAMPLES for module in (train, evaluate, compare, suite)}
    short = {name: re.findall(r".* -[cpbe] .*", text) for name, text in examples.items()}
    assert not {name: lines for name, lines in short.items() if lines}


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
    return re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], match[0]), line)


def _options(module, capsys) -> set[str]:
    """The options that a command's help lists, those of its studies among them."""
    for arguments in [["--help"], *([[study, "--help"] for study in analyse.STUDIES] if module is analyse else [])]:
        with pytest.raises(SystemExit):
            module.main(arguments)
    return set(OPTION.findall(capsys.readouterr().out))
