"""Which reference episodes speak for a user's task, and what they say."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import paths
from ..build.data import Data, class_words
from ..build.identity import code_hash
from ..errors import UserError
from ..files import write_json
from ..kinds import parse_json
from .calibration import CALIBRATION, Calibration
from .classifier import Classifier
from .network import Encoded, PhotoNetwork
from .photos import readable, support_photos
from .reference import MOST_QUERIES, Pool, calibrate, usable_shots
from .store import FeatureStore
from .supports import Supports, alike

log = logging.getLogger("fiveway")

CURVE = (1, 2, 3, 5, 10)  # photographs of each class of which the learning curve tells
FURTHER = 2  # of these, more than there are
MOST_IMAGES = MOST_QUERIES + CURVE[-1]  # of a class of a val split
MOST_TIMES = 1.5  # the ways of what is shipped, beyond which it says nothing of a task
SHIPPED = paths.DATA / "references"


def reference_for(
    classifier: Classifier, folder: str | None, data: Data | None, store: FeatureStore
) -> Calibration | str:
    """What reference episodes say about a classifier; or why nothing does.

    Args:
        classifier: of the user's photographs.
        folder: of class folders of other photographs; "" for no reference; None for the val split, or what is shipped.
        data: of the checkpoint's configuration; None for an encoder.
        store: features of the classifier's network.
    """
    network = classifier.network
    if folder == "":
        return "no reference was asked for"
    if network.live:
        return f"{classifier.head.name} adapts the network to every task, which is too slow for reference episodes"
    if folder is not None:
        return from_pool(classifier, pool_of_photos(network, Path(folder), store), store)
    if data is not None:
        return from_pool(classifier, pool_of_val(network, data, store), store)
    return shipped(network, classifier.head.name, *way_and_shot(classifier.supports))


def way_and_shot(supports: Supports) -> tuple[int, int]:
    """The task that reference episodes are drawn like; photographs of a class that look the same count once."""
    return len(supports.classes), shots_of([len(groups) for groups in alike(supports)])


def shots_of(counts: list[int]) -> int:
    """The number of photographs that stands for unequal ones: their harmonic mean, rounded."""
    return max(1, round(len(counts) / sum(1 / count for count in counts)))


def pool_of_photos(network: PhotoNetwork, folder: Path, store: FeatureStore) -> Pool:
    """A folder of class folders as reference.

    Raises:
        UserError: where it is none, or none of its photographs can be used.
    """
    photos, bad = readable(support_photos(folder, "--reference"))
    encoded: Encoded = network.encode(photos, store)
    bad |= encoded.bad
    for name, reason in bad.items():
        log.info("not in the reference: %s %s", name, reason)
    if not encoded.photos:
        name = min(bad)
        raise UserError(f"--reference is {folder}, of which no photo can be used ({name} {bad[name]}); give others.")
    classes = sorted({photo.label for photo in encoded.photos})
    order = sorted(range(len(encoded.photos)), key=lambda i: encoded.photos[i].label)
    counts = [sum(photo.label == name for photo in encoded.photos) for name in classes]
    features = {name: value[torch.tensor(order, device=value.device)] for name, value in encoded.features.items()}
    words = torch.from_numpy(class_words(network.cfg, classes)) if "semantics" in network.method.needs else None
    return Pool(f"{len(classes)} classes in {folder}", counts, features, network.places(features), words)


def pool_of_val(network: PhotoNetwork, data: Data, store: FeatureStore) -> Pool:
    """The val split of a checkpoint's configuration as reference, some images of each class."""
    split = data.split("val")
    rows = np.concatenate([np.flatnonzero(split.labels == label)[:MOST_IMAGES] for label in range(len(split.classes))])
    counts = np.bincount(split.labels[rows], minlength=len(split.classes)).tolist()
    names = [f"{split.manifest['pixels_sha256']} {row}" for row in rows.tolist()]
    pixels = split.images[rows if split.rows is None else split.rows[rows]]
    features = network.encode_pixels(pixels, names, store)
    words = data.words("val") if "semantics" in network.method.needs else None
    name = f"{len(counts)} val classes of {split.dataset}"
    return Pool(name, counts, features, network.places(features), words)


def shipped(network: PhotoNetwork, head: str, way: int, shot: int) -> Calibration | str:
    """What comes with FiveWay for an encoder's weights, at the nearest way and shot; or why nothing does."""
    for file in sorted(SHIPPED.glob("*.json")):
        content = parse_json(file.read_text(encoding="utf-8"))
        if content["sha256"] == network.origin["sha256"] and content["image_size"] == network.image_size:
            calibrations = [Calibration.from_dict(values) for values in content["heads"].get(head, [])]
            most = max((each.way for each in calibrations), default=0)
            if calibrations and way > MOST_TIMES * most:
                return (
                    f"the reference that comes with FiveWay is of {most} classes at most; --reference DIR takes another"
                )
            if calibrations:
                return min(calibrations, key=lambda each: (_apart(each.way, way), _apart(each.shot, shot)))
            return f"no reference of {head} comes with FiveWay ({', '.join(content['heads'])} have one)"
    return "no reference comes with FiveWay for this encoder; --reference DIR takes other photos in class folders"


def _apart(one: int, other: int) -> float:
    """How far two numbers are apart, as a ratio; a larger number comes before a smaller one."""
    return abs(np.log(one / other)) + 1e-6 * (one < other)


def from_pool(classifier: Classifier, pool: Pool, store: FeatureStore) -> Calibration | str:
    """What the episodes of a pool say about a classifier; or why they say nothing. Kept beside the features."""
    way, shot = way_and_shot(classifier.supports)
    if way > len(pool.counts):
        return f"the reference, {pool.name}, has fewer classes than yours ({way})"
    if not usable_shots(pool, [shot]):
        return f"the reference, {pool.name}, has a class of {min(pool.counts)} images, too few beside {shot} supports"
    more = usable_shots(pool, [each for each in CURVE if each > shot])[:FURTHER]
    key = {"head": classifier.head.name, "way": way, "shot": shot, "more": more}
    key |= {"pool": pool.name, "counts": list(pool.counts), "images": _fingerprint(pool.places)}
    key |= {"words": pool.words is not None and _fingerprint(pool.words)}
    key |= {"base": {name: _fingerprint(value) for name, value in (classifier.base or {}).items()}}
    trained = classifier.head is classifier.network.folded
    key |= {
        "arguments": dict(classifier.network.cfg.METHOD.ARGS) if trained else {},
        "code": code_hash(classifier.head),
    }
    file = _file(store, key)
    if file is not None and file.is_file():
        with suppress(OSError, ValueError):  # a damaged file is written anew
            return Calibration.from_dict(parse_json(file.read_text(encoding="utf-8"), CALIBRATION))
    calibration = calibrate(classifier.head, pool, way, shot, more, classifier.base)
    if file is not None:
        with suppress(UserError):  # a disk that refuses costs the cache, not the answer
            write_json(file, calibration.as_dict())
    return calibration


def _file(store: FeatureStore, key: dict[str, Any]) -> Path | None:
    """Where a calibration is kept."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return store.folder / f"reference-{digest}.json" if store.folder else None


def _fingerprint(values: Tensor) -> str:
    return hashlib.sha256(values.cpu().contiguous().numpy().tobytes()).hexdigest()
