import json
import zipfile
from pathlib import Path

import pytest

from core import __version__, paths
from core.commands import evaluate, train
from tests.workspace import best

pytestmark = pytest.mark.slow

CFG = "Glyphs/ProtoNet_N5K1_C4"
PLUGIN = """\
from fiveway.methods.protonet import ProtoNet
from fiveway.registry import METHODS


@METHODS.register("Mine")
class Mine(ProtoNet):
    pass
"""


@pytest.fixture
def short(tiny_root):
    """Overrides that make a run take seconds."""
    short = [
        "TASK.TRAIN.WAY=5",
        "STAGE.meta.EPOCHS=1",
        "STAGE.meta.STEPS=3",
        "STAGE.meta.VAL.EPISODES=10",
        "EVAL.EPISODES=20",
    ]
    return [f"DATASET.ROOT={tiny_root}", "DATASET.SIZE=16", *short]


def test_the_wheel_holds_the_tree_as_fiveway_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {f"fiveway/{file.relative_to(paths.PACKAGE)}" for file in paths.PACKAGE.rglob("*.py")}
    shared = [*paths.CONFIGS.rglob("*.yaml"), *paths.SPLITS.glob("*.json"), *paths.DATA.glob("class_vectors*")]
    shared += (paths.DATA / "references").glob("*.json")
    templates = {f"fiveway/{file.relative_to(paths.PACKAGE)}" for file in paths.PACKAGE.rglob("templates/*")}
    assert names == modules | templates | {f"fiveway/share/{file.relative_to(paths.ROOT)}" for file in shared}


def test_no_module_called_core_is_installed(run):
    code = "import fiveway, importlib.util; print(fiveway.__version__, importlib.util.find_spec('core'))"
    assert run("python", "-c", code) == f"{__version__} None\n"


def test_the_classifier_of_photographs_is_imported_from_the_package(run):
    code = "from fiveway import FewShotClassifier; print(FewShotClassifier.__module__)"
    assert run("python", "-c", code) == "fiveway.predict.estimator\n"


def test_the_command_lists_what_it_can_do(run):
    printed = run("fiveway", "--help")
    assert all(f"\n  {name:10}" in printed for name in paths.SCRIPTS)
    assert "fiveway train --cfg" in run("fiveway", "train", "--help")
    assert "CIFAR-FS" in run("fiveway", "prepare", "--list")


def test_what_is_installed_trains_and_the_checkout_reads_its_checkpoint(run, short, tmp_path, capsys):
    printed = run("fiveway", "train", "--cfg", CFG, "-d", "cpu", *short)
    assert printed.count(f"There is no {CFG} here, so the file that comes with FiveWay is used: ") == 1
    folder = tmp_path / "checkpoint/Glyphs_ProtoNet_N5K1_C4"
    assert json.loads((folder / "env.json").read_text())["commit"] == f"version {__version__}"
    result = Path(tmp_path, printed.split("result files  ")[-1].strip())
    of_installed = (result / "episodes.csv").read_bytes()
    (result / "episodes.csv").unlink()
    evaluate(CFG, short, [str(best(folder))], device_name="cpu")
    assert (result / "episodes.csv").read_bytes() == of_installed


def test_what_is_installed_reads_a_checkpoint_of_the_checkout(run, short, tmp_path, capsys):
    folder = train(CFG, short, device_name="cpu", base=str(tmp_path))
    (file,) = folder.glob("eval/*/*/episodes.csv")
    of_checkout = file.read_bytes()
    file.unlink()
    run("fiveway", "evaluate", "--cfg", CFG, "-c", best(folder), "-d", "cpu", *short)
    assert file.read_bytes() == of_checkout


def test_a_plugin_that_imports_fiveway_is_found_in_the_working_folder(run, short, tmp_path):
    (tmp_path / "my_method.py").write_text(PLUGIN)
    mine = ["METHOD.NAME=Mine", "PLUGINS=[my_method]"]
    assert "Mine  Glyphs test" in run("fiveway", "evaluate", "--cfg", CFG, "--untrained", "-d", "cpu", *mine, *short)
