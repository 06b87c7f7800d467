"""What is fed with odd inputs. A target takes one and answers, or raises a UserError; anything else is a defect."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.prepare.images import BadImage
from tests.fuzz.answers import Answers
from tests.fuzz.bench import Bench
from tests.fuzz.datafiles import DataFiles
from tests.fuzz.folders import Folders
from tests.fuzz.settings import Settings
from tests.fuzz.weights import Weights


class Targets:
    """All targets around one folder, each a strategy for inputs and what is done with one."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.all: dict[str, tuple[Any, Callable[[Any], object]]] = {}
        for kind in (Settings, DataFiles, Folders, Weights, Answers):
            self.all |= kind(self.bench).targets

    def run(self, name: str, value: Any) -> str:
        """Feed one input; "answered" or "refused". Any other error is the defect that is looked for."""
        work = self.bench.work
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            self.all[name][1](value)
        except (UserError, BadImage) as error:
            text = str(error)
            assert text, "an error without a sentence"
            assert "Traceback" not in text, text
            return "refused"
        finally:
            hidden = [path for path in work.rglob(".*") if not path.name.startswith(".hdf5")]
            assert not hidden, f"left behind: {hidden}"
        return "answered"
