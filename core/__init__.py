"""FiveWay: few-shot image classification."""

import os

__version__ = "0.1.0"

# Threads that wait for each other by spinning slow a step down tenfold as soon as another process wants a core.
# OpenMP reads this once, when PyTorch is first imported, which is why it stands here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
