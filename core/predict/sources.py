"""Where the network that encodes photographs comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..build.config import last_stage, load_config
from ..build.data import Data
from ..build.evaluation import Network, restore
from ..build.networks import data_info
from ..data.loaders import Pixels
from ..engine.selection import best_checkpoint
from ..episode import DataInfo, Features
from ..errors import UserError
from .network import BASE, PhotoNetwork


def from_checkpoint(
    cfg_file: str, checkpoint: Path, overrides: Sequence[str], where: torch.device, cache: Path | None
) -> tuple[PhotoNetwork, Data]:
    """The network of a checkpoint, and the data it was trained on.

    Raises:
        UserError: where the checkpoint is not one of this configuration, or the configuration is one of features.
    """
    loaded = load_config(cfg_file, overrides)
    data = Data(loaded.cfg, where)
    if not data.image_size:
        raise UserError(
            f"DATASET.TRAIN.NAME is {loaded.cfg.DATASET.TRAIN.NAME}, which holds features; photos can be encoded by a "
            "network of images alone."
        )
    trained = restore(data, best_checkpoint(checkpoint))
    info, manifest = data_info(data, last_stage(loaded.cfg)), data.split("train").manifest
    reads_words = "semantics" in trained.method.needs
    asked = trained.method.backbone.preprocessing
    network = PhotoNetwork(
        cfg=loaded.cfg,
        text=loaded.full(),
        method=trained.method.eval(),
        facts=_facts(info),
        mean=asked.mean if asked else tuple(manifest["mean"]),
        std=asked.std if asked else tuple(manifest["std"]),
        image_size=trained.method.backbone.size or data.image_size,
        origin=_origin(trained, data),
        device=where,
        words=info.semantics if reads_words else None,
    )
    if "base" in trained.method.needs:
        network = replace(network, base=_base_means(network, data, cache))
    return network, data


def _origin(trained: Network, data: Data) -> dict[str, Any]:
    """Where the weights of a checkpoint come from."""
    origin = {"checkpoint": str(trained.path), "sha256": trained.sha256, "data": data.split("train").dataset}
    return origin | ({"external_data": trained.external} if trained.external else {})


def _facts(info: DataInfo) -> dict[str, Any]:
    """What a method was told of its data, as plain values."""
    names = ("n_base", "image_size", "way", "shot", "query")
    return {name: getattr(info, name) for name in names} | {"base_counts": list(info.base_counts)}


@torch.no_grad()
def _base_means(network: PhotoNetwork, data: Data, cache: Path | None) -> Features:
    """Mean feature of each base class, kept beside the features of photographs."""
    store = network.store(cache)
    kept = store.get(BASE)
    if kept is None:
        train = data.split("train")
        kept = network.encoder(Pixels(train, network.device)).class_means(torch.from_numpy(train.labels))
        store.add([BASE], {name: value[None] for name, value in kept.items()})
    return {name: value.to(network.device) for name, value in kept.items()}
