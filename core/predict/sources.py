"""Where the network that encodes photographs comes from."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from ..backbones.blocks import Backbone
from ..backbones.encoders import Encoder
from ..build.config import last_stage, load_config
from ..build.data import Data
from ..build.evaluation import Network, restore
from ..build.networks import data_info, make_method
from ..build.saved import load_given_or_saved
from ..engine.encoder_weights import DEFAULT, load_weights
from ..engine.selection import best_checkpoint
from ..episode import DataInfo, Features
from ..errors import UserError, reworded
from ..paths import DATA
from ..registry import BACKBONES
from .classifier import OWN
from .network import BASE, PhotoNetwork

log = logging.getLogger("fiveway")

BASE_CONFIG = "configs/_base_/photos.yaml"
WEIGHTS = (Path("data/weights"), DATA / "weights")  # the user's, then the checkout's
# What the keys of a configuration are called on this command line.
OPTIONS = {"BACKBONE.WEIGHTS": "--weights", "BACKBONE.NAME": "--encoder", "METHOD.NAME": "--head"}
MADE = "torchvision:mobilenet_v2"  # `make weights` fetches its weights
HINT = {"; fetch it on": "; run `make weights` in a checkout of FiveWay, or fetch it on"}


def from_checkpoint(
    cfg_file: str | None, checkpoint: Path, overrides: Sequence[str], where: torch.device, cache: Path | None
) -> tuple[PhotoNetwork, Data]:
    """The network of a checkpoint, and the data it was trained on.

    The configuration is `cfg_file`; None = the one that the checkpoint holds.

    Raises:
        UserError: where the checkpoint is not one of this configuration, or the configuration is one of features.
    """
    path = best_checkpoint(checkpoint)
    loaded = load_given_or_saved(cfg_file, [path], overrides)
    data = Data(loaded.cfg, where)
    if not data.image_size:
        raise UserError(
            f"DATASET.TRAIN.NAME is {loaded.cfg.DATASET.TRAIN.NAME}, which holds features; photos can be encoded by a "
            "network of images alone."
        )
    trained = restore(data, path)
    info = data_info(data, last_stage(loaded.cfg))
    reads_words = "semantics" in trained.method.needs
    network = PhotoNetwork(
        cfg=loaded.cfg,
        text=loaded.full(),
        method=trained.method.eval(),
        facts=_facts(info),
        mean=data.statistics.mean,
        std=data.statistics.std,
        image_size=trained.method.backbone.size or data.image_size,
        origin=_origin(trained, data),
        device=where,
        words=info.semantics if reads_words else None,
    )
    if "base" in trained.method.needs:
        network = replace(network, base=_base_means(network, data, cache))
    return network, data


def from_encoder(
    name: str,
    weights: str,
    head: str,
    overrides: Sequence[str],
    where: torch.device,
    folders: Sequence[Path] = WEIGHTS,
) -> PhotoNetwork:
    """The network of an encoder with pretrained weights, and a method that learns nothing beside the supports.

    Args:
        name: torchvision:MODEL or timm:MODEL.
        weights: a file, or "" for what lies in `folders` under the library's name, else for the library's download.
        head: the method; "own" is logistic regression (RFS).
        overrides: of the configuration, as on a command line.
        where: the device.
        folders: of weights.

    Raises:
        UserError: where there is no such encoder, or its weights do not fit or cannot be had.
    """
    chosen = [] if head.lower() == OWN else [f"METHOD.NAME={head}"]
    if ":" not in name and name not in list(BACKBONES):
        raise UserError(f"--encoder is {name!r}, which names no library; give torchvision:{name} or timm:{name}.")
    with reworded(OPTIONS | (HINT if name == MADE else {})):
        loaded = load_config(BASE_CONFIG, [f"BACKBONE.NAME={name}", *chosen, *overrides])
        cfg, preprocessing = loaded.cfg, BACKBONES[loaded.cfg.BACKBONE.NAME].preprocessing
        if preprocessing is None:
            raise UserError(
                f"--encoder is {name!r}, which has no weights of its own; give torchvision:MODEL or timm:MODEL."
            )
        info = DataInfo(n_base=1, image_size=cfg.DATASET.SIZE, base_counts=(1,))
        method = make_method(cfg, last_stage(cfg), info).eval()
        external = load_weights(method.backbone, weights or _lying(method.backbone, folders))
    return PhotoNetwork(
        cfg=cfg,
        text=loaded.full(),
        method=method.to(where).to(memory_format=torch.channels_last),
        facts=_facts(info),
        mean=preprocessing.mean,
        std=preprocessing.std,
        image_size=method.backbone.size,
        origin={"external_data": external.as_dict(), "sha256": external.sha256},
        device=where,
    )


def _lying(encoder: Backbone, folders: Sequence[Path]) -> str:
    """The file of the library's default weights where it lies in one of the folders, else the word for its download."""
    assert isinstance(encoder, Encoder), "other backbones are refused"
    for published, folder in itertools.product(encoder.publications(), folders):
        file = folder / PurePosixPath(published.url).name
        if published.url and file.is_file():
            log.info("weights  %s", file)
            return str(file)
    return DEFAULT


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
    """Mean feature of each base class, kept beside the features of photographs under the content of their images."""
    store, train, limit = network.store(cache), data.split("train"), network.cfg.EVAL.BASE_IMAGES
    name = f"{BASE} of {limit or 'all'} {train.manifest['pixels_sha256']} {train.fingerprint} {data.statistics}"
    kept = store.get(name)
    if kept is None:
        kept = network.encoder(data.pixels("train")).class_means(torch.from_numpy(train.labels), limit)
        store.add([name], {feature: value[None] for feature, value in kept.items()})
    return {feature: value.to(network.device) for feature, value in kept.items()}
