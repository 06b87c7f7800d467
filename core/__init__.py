"""FiveWay: few-shot image classification."""

import importlib
import os

__version__ = "0.1.0"

# Threads that wait for each other by spinning slow a step down tenfold as soon as another process wants a core.
# OpenMP reads this once, when PyTorch is first imported, which is why it stands here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> object:
    """`from core import FewShotClassifier`, without importing PyTorch for those who do not ask."""
    if name != "FewShotClassifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.predict.estimator").FewShotClassifier
