"""Several processes of one run, started as torchrun starts them."""

import os
import socket
import subprocess
import sys

from tests.conftest import ROOT


def run_together(script, arguments, processes, folder):
    """Start a script in several processes that find one another, as torchrun does; returns them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    base = os.environ | where | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return [
        subprocess.Popen(
            [sys.executable, script, *map(str, arguments)],
            env=base | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
        )
        for rank in range(processes)
    ]
