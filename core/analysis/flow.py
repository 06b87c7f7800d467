"""Which region of a query is matched with which of a support: the flow of a method, drawn over the two images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ..build.config import load_config
from ..build.data import Data
from ..build.evaluation import build_evaluator, restore
from ..engine import device
from ..engine.selection import best_checkpoint
from ..episode import Task
from ..errors import UserError
from ..log import start_log
from ..report.flow_plot import draw_flow, grid_boxes


@runtime_checkable
class ComparesRegions(Protocol):
    """A method that moves the mass of one image's regions to another's, such as DeepEMD."""

    def flow(self, task: Task) -> tuple[Tensor, Tensor, Tensor]:
        """Flow [T, Q, N, P, R] between positions of maps, and their weights [T, Q, N, P] and [T, Q, N, R]."""


@torch.no_grad()
def study_flow(
    cfg_file: str,
    overrides: Sequence[str],
    file: str,
    *,
    episode: int = 0,
    query: int = 0,
    device_name: str = "0",
    threads: int = 0,
    out: str = "",
) -> Path:
    """Draw the flow between a query of a test episode and the supports of its own and of the predicted class.

    Args:
        cfg_file: YAML file.
        overrides: of its keys.
        file: checkpoint, or a run folder for its best one.
        episode: number of the test episode.
        query: number of the query in it.
        device_name: number of a GPU, or cpu.
        threads: of the CPU; 0 = PyTorch's choice.
        out: folder of the pictures; "" = beside the checkpoint.

    Returns:
        The folder.
    """
    loaded, path = load_config(cfg_file, overrides), best_checkpoint(Path(file))
    where, _ = device.prepare(device_name, threads)
    data = Data(loaded.cfg, where)
    network, evaluator = restore(data, path), build_evaluator(data, "test")
    if not isinstance(network.method, ComparesRegions):
        raise UserError(
            f"METHOD.NAME is {network.method.name}, which has no flow between regions; choose one that has."
        )
    if not 0 <= query < evaluator.sampler.shape.n_query:
        raise UserError(f"--query is {query}, but an episode has {evaluator.sampler.shape.n_query}, numbered from 0.")
    source = evaluator.source(network.method)
    drawn = evaluator.sampler.draw(torch.tensor([episode]))
    task = evaluator.task(source, drawn)
    flow, *weights = (value[0, query].cpu().numpy() for value in source.method.flow(task))
    true, predicted = int(task.query_y[0, query]), int(source.method(task)[0, query].argmax())
    folder, names, log = Path(out) if out else path.parent / "flow", evaluator.split.classes, start_log()
    folder.mkdir(parents=True, exist_ok=True)
    for kind, label in (("own", true), ("predicted", predicted)):
        ids = torch.stack([drawn.query[0, query], drawn.support[0, label]])
        called = [names[drawn.classes[0, number]] for number in (true, label)]
        picture = folder / f"episode{episode}_query{query}_{kind}.png"
        _draw(picture, evaluator.pixels.raw(ids).cpu().numpy(), flow[label], [w[label] for w in weights], called)
        log.info("%s class  %s", kind, picture)
    return folder


def _draw(picture: Path, images: np.ndarray, flow: np.ndarray, weights: list[np.ndarray], called: list[str]) -> None:
    """One picture of two images [2, H, W, 3] and the flow [P, R] between the positions of their maps."""
    query, support = (grid_boxes(int(len(weight) ** 0.5), images.shape[1]) for weight in weights)
    titles = (f"query: {called[0]}", f"support: {called[1]}")
    draw_flow(picture, (images[0], images[1]), (query, support), flow, (weights[0], weights[1]), titles)
