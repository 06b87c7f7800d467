"""Where the project's own files lie, and how its commands are called, in a checkout and in an installed package.

A checkout has `core/`, `configs/` and `data/` side by side. The build installs the same tree as the package `fiveway`,
with the YAML files and the class lists below `fiveway/share/`.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE / "share" if (PACKAGE / "share").is_dir() else PACKAGE.parent
CONFIGS = ROOT / "configs"
DATA = ROOT / "data"  # class lists and word vectors of the project; DATASET.ROOT is the user's data
SPLITS = DATA / "splits"

SCRIPTS = {
    "train": "run_trainer.py",
    "evaluate": "run_evaluator.py",
    "compare": "run_compare.py",
    "analyse": "run_analysis.py",
    "prepare": "prepare_data.py",
    "suite": "run_suite.py",
    "predict": "run_predict.py",
    "demo": "run_demo.py",
    "export": "run_export.py",
}


def command(name: str) -> str:
    """How a user starts a command: `python experiments/run_trainer.py` in a checkout, `fiveway train` if installed."""
    return f"python experiments/{SCRIPTS[name]}" if __package__ == "core" else f"fiveway {name}"


def find_config(path: str | Path) -> tuple[Path, list[str]]:
    """The file that `--cfg` means, and lines for the log where it comes with the project.

    A file that exists wins. Else `configs/Glyphs/ProtoNet_N5K1_C4.yaml`, `Glyphs/ProtoNet_N5K1_C4.yaml` and
    `Glyphs/ProtoNet_N5K1_C4` all mean the YAML of that name that comes with the project. A path that means no file is
    returned as it is.
    """
    path = Path(path)
    if path.exists() or path.is_absolute() or ".." in path.parts:
        return path, []
    relative = path.relative_to("configs") if path.parts[:1] == ("configs",) else path
    for file in (CONFIGS / relative, CONFIGS / f"{relative}.yaml"):
        if file.is_file():
            return file, [f"There is no {path} here, so the file that comes with FiveWay is used: {file}"]
    return path, []
