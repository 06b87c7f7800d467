"""Features of whole splits, written as a data set that can be trained and tested on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ..backbones.blocks import fold
from ..build.config import last_stage
from ..build.data import Data, open_split
from ..build.evaluation import Network
from ..build.networks import data_info
from ..data.class_lists import QUERIES
from ..data.datasets import dataset
from ..data.store import SPLITS, Split, prepared, split_dir
from ..data.writer import SplitWriter
from ..engine.features import ImageEncoder
from ..errors import UserError
from ..methods.base import Method
from .base import PROTOCOLS, SAVE_FEATURES, Answer, Option, Protocol

KEPT = ("words", "groups", "deviation", "terms")  # of an image store's manifest


@PROTOCOLS.register("features")
class ExportedFeatures(Protocol):
    """The backbone's vector of every image of some splits, in the folders that a data set of features has.

    Features of ImageNet's images are a store of ImageNet-LowShot; those of another data set are read as
    `features:NAME`. They are written block by block as they are encoded, each split whole or not at all, with the names
    of classes and images that the images have. Training leaves nothing out: DATASET.BASE_HOLDOUT does not count.

    Args:
        data, network: see `Protocol`.
        save_features: the data folder, DATASET.ROOT of whoever reads them.
        splits: of the data set, e.g. train, val and test; ImageNet has train-queries, val-queries and test-queries too.
    """

    ensembles = False
    options = {
        "save_features": SAVE_FEATURES,
        "splits": Option("splits whose features --save-features writes (default: train val test)", "SPLIT", many=True),
    }

    def __init__(
        self, data: Data, network: Network, *, save_features: str = "", splits: Sequence[str] = SPLITS
    ) -> None:
        super().__init__(data, network)
        self._root, self._splits = Path(save_features), list(dict.fromkeys(splits))
        if not save_features:
            raise UserError("--save-features is missing; name the data folder that receives the features.")

    def refuse(self) -> None:
        for split in self._splits:
            folder = self._folder(split)
            if self._root.suffix == ".npz" or self._root.is_file():
                raise UserError(f"--save-features is {self._root}, but with --splits it names a folder; name one.")
            if prepared([folder]):
                raise UserError(f"--save-features is {self._root}, but {folder} is there already; delete it first.")
            if self._open(split).features:
                raise UserError(f"--splits names {split}, which holds features already; export features of images.")

    def answers(self) -> Iterator[Answer]:
        for name in self._splits:
            split = self._open(name)
            folder = self._folder(name)
            self._write(split, folder)
            yield Answer(f"features  {len(split.names)} of {len(split.classes)} classes of {name}  {folder}")

    def _name(self, split: str) -> str:
        """The name of the data set that a split belongs to."""
        return self.cfg.DATASET[split.removesuffix(QUERIES).upper()].NAME

    def _open(self, split: str) -> Split:
        return open_split(self.cfg.DATASET.ROOT, self._name(split), split, self.data.image_size)

    def _folder(self, split: str) -> Path:
        """Where the features of a split belong."""
        known = {name for part in SPLITS for name in dataset(self._name(part)).splits}
        if split not in known:
            raise UserError(f"--splits names {split!r}, which is not one of: {', '.join(sorted(known))}.")
        named = dataset(self._name(split))
        return split_dir(self._root, named.features_as or named.name, 0, split)

    def _write(self, split: Split, folder: Path) -> None:
        """Encode a split and write it; images are in the order of the store already."""
        cfg = self.cfg
        encoder = ImageEncoder(
            Method(fold(self.network.method.backbone), data_info(self.data, last_stage(self.cfg))).eval(),
            self.data.open_pixels(split),
            split.size,
            cfg.EVAL.BATCH,
            cfg.EVAL.PRECISION == "bf16",
            eval_crop=cfg.DATASET.EVAL_CROP,
        )
        path = self.network.path
        notes = {key: split.manifest[key] for key in KEPT if key in split.manifest}
        notes["preparation"] = {
            "features": self.network.method.backbone.vector_dim,
            "of": {"dataset": split.dataset, "size": split.size, "eval_crop": cfg.DATASET.EVAL_CROP},
            "checkpoint_sha256": self.network.sha256,
        }
        if self.network.external:
            notes["external_data"] = self.network.external
        with (
            torch.no_grad(),
            SplitWriter(folder, folder.parents[1].name, split.labels, split.classes, split.names) as w,
        ):
            for _, features in encoder.blocks(torch.arange(len(split.names))):
                w.add(features["vector"].cpu().numpy())
            w.finish(f"features of {path.name if path else 'an untrained network'}", **notes)
