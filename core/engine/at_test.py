"""What is measured with another setting than a checkpoint was trained with, by the roles of the keys.

Every key with the role `measures` is compared. A key is left out only where the folder of a result says it already, or
where another value is refused because the network differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..config.defaults import find_key
from ..config.read import parse
from ..config.roles import saved_keys

IN_THE_NAME = ("TASK.TEST.", "DATASET.TEST.NAME", "EVAL.ALLWAY_QUERIES")  # of a result's folder
OF_THE_NETWORK = ("METHOD.", "BACKBONE.")  # `selection` compares these with their arguments' former names


def changed_keys(wanted: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that measure something else than in training, with their present values.

    Args:
        wanted: what the configuration says of its network (core/build/identity.py).
        trained: what the checkpoint says of its own. One that says nothing of these keys changes none.
    """
    if "measures" not in trained:
        return {}
    before = trained["measures"]
    return {
        key: value
        for key, value in wanted["measures"].items()
        if not key.startswith(IN_THE_NAME + OF_THE_NETWORK) and before.get(key, _default(key)) != value
    }


def completed(meta: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; of an old one, config.yaml says what it measures, where that lies beside it."""
    if "measures" in meta:
        return meta
    try:
        measures = saved_keys(parse((path.parent / "config.yaml").read_text(encoding="utf-8")), "measures")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return meta
    measures["DATASET.TRAIN.NAME"] = meta["dataset"]
    if "image_size" in meta:
        measures["DATASET.SIZE"] = meta["image_size"]
    else:
        del measures["DATASET.SIZE"]
    return meta | {"measures": measures}


def _default(key: str) -> Any:
    """The value of a key that the version which saved a checkpoint did not have."""
    entry = find_key(key)
    return entry.default if entry else None
