"""Every module core/x/y.py has tests/x/test_y.py."""

from pathlib import Path

from core.paths import PACKAGE

TESTS = Path(__file__).parent

# Modules whose tests stand elsewhere, and where.
ELSEWHERE = {
    "build/config.py": "tests/config and tests/configs load every kind of configuration through it",
    "cli/analyse.py": "tests/analysis run it as a shell does",
    "cli/compare.py": "tests/report/test_compare.py runs it as a shell does",
    "cli/evaluate.py": "tests/commands run it as a shell does",
    "cli/demo.py": "tests/predict/test_demo.py serves its page",
    "cli/main.py": "tests/package run the installed command",
    "cli/export.py": "tests/predict/test_export.py runs it as a shell does",
    "cli/predict.py": "tests/predict/test_command.py runs it as a shell does",
    "cli/train.py": "tests/commands run it as a shell does",
    "cli/suite.py": "tests/suites run it as a shell does",
    "commands.py": "tests/commands",
    "data/pixels.py": "tests/data/test_loaders.py builds every stream on them",
    "engine/gradients.py": "tests/engine/test_synced_norm.py trains in several processes",
    "engine/heads.py": "tests/protocols/test_questions.py and test_episodes.py give it heads that do not fit",
    "engine/stage_run.py": "tests/engine/test_steps.py, test_trainer.py and commands/test_resume.py train through it",
    "engine/weight_names.py": "the patterns of tests/engine/test_weights.py",
    "episode.py": "types; every test of a method builds tasks",
    "ops/lanes.py": "tests/ops/test_svm.py compares the solver on them with PyTorch",
    "ops/local_descriptors_compiled.py": "tests/ops/test_local_descriptors.py compares it with PyTorch",
    "predict/standalone.py": "tests/predict/test_export.py runs it where the export has put it",
    "protocols/joint_regression.py": "tests/protocols/test_lowshot.py asks it",
    "report/run.py": "tests/commands/test_resume.py",
    "suites/local.py": "tests/suites run cells through it",
    "suites/processes.py": "tests/suites run cells through it",
    "suites/progress.py": "tests/suites run cells through it",
    "suites/queue.py": "tests/suites/test_slurm.py",
    "suites/stages.py": "tests/suites run cells through it",
}


def test_every_module_has_a_test_of_its_name():
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    untested = {str(path) for path in modules if not (TESTS / path.parent / f"test_{path.name}").is_file()}
    assert untested == set(ELSEWHERE)
