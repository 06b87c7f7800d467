"""What makes a trained stage, its features and its checkpoint what they are.

Which keys of a configuration matter follows from their roles (core/config/defaults.py). Keys that name data or files
count by the content of these, and what a method does not read does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..config import Config
from ..config.roles import shapes_weights, with_role
from ..data.store import Split
from ..engine import device
from ..engine.encoder_weights import state_hash
from ..engine.heads import FEATURES
from ..files import sha256
from ..methods.base import Method
from ..registry import BACKBONES, METHODS
from .config import last_stage, stage_node
from .data import Data
from .networks import trains_on_words

CORE = Path(__file__).resolve().parents[1]
WORDS = "word vectors"
CODE = "modules of PLUGINS"
FEATURES_VERSION = 1  # raise it when an encoding changes for a reason that no source file of the method shows


def describe(data: Data, stage: str = "") -> dict[str, Any]:
    """What a checkpoint of a stage, by default the last, says about the network in it."""
    cfg = data.cfg
    stage = stage or last_stage(cfg)
    node = stage_node(cfg, stage)
    return {
        "stage": stage,
        "final": stage == last_stage(cfg),
        "dataset": data.split("train").dataset,
        "seed": cfg.SEED,
        "image_size": data.image_size,
        "base_holdout": cfg.DATASET.BASE_HOLDOUT,
        "method": {"NAME": node.METHOD, "ARGS": _plain(node.ARGS)},
        "backbone": {key: value for key, value in _plain(cfg.BACKBONE).items() if key != "WEIGHTS"},
        "measures": _measures(data),
        "stores": {f"{name} of {data.outline(name).dataset}": _pixels(data, name) for name in ("train", "test")}
        | _words_file(cfg, METHODS[node.METHOD].needs)
        | _plugins({METHODS[node.METHOD], BACKBONES[cfg.BACKBONE.NAME]}),
    }


def other_store(wanted: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    """A short name for images, word vectors and modules of PLUGINS, where a checkpoint knows others under their names.

    "" where it is the same, and for a checkpoint that does not say what it knows.
    """
    known = trained.get("stores")
    if known is None:
        return ""
    known = {name: wanted["stores"].get(name) for name in (WORDS, CODE)} | known  # older checkpoints do not say them
    if all(known.get(name) == content for name, content in wanted["stores"].items()):
        return ""
    return hashlib.sha256(json.dumps(wanted["stores"], sort_keys=True).encode()).hexdigest()[:8]


def _measures(data: Data) -> dict[str, Any]:
    """The keys that say what is measured, with the present names of data sets and the size of their images."""
    resolved = {"DATASET.SIZE": data.image_size, "DATASET.TRAIN.NAME": data.split("train").dataset}
    return {key: _plain(value) for key, value in with_role(data.cfg, "measures").items()} | resolved


def _pixels(data: Data, name: str) -> str:
    """Hash of all pixels or features of a split's store."""
    return data.outline(name).manifest["pixels_sha256"]


def _words_file(cfg: Config, needs: tuple[str, ...]) -> dict[str, str]:
    """Hash of the file of word vectors that a method reads at test; {} where it reads none."""
    file = Path(os.path.expanduser(cfg.DATASET.SEMANTICS))
    reads = cfg.DATASET.SEMANTICS and "semantics" in needs and file.is_file()
    return {WORDS: sha256(file)} if reads else {}


def learned_from(data: Data, method: Method) -> dict[str, str]:
    """Hash of what training reads: the images and names of its splits, word vectors from a file, and PLUGINS."""
    manifests = {name: data.split(name).manifest for name in ("train", "val")}
    splits = {name: f"{m['pixels_sha256']} {m['fingerprint']}" for name, m in manifests.items()}
    words = _words_hash(data, [method])
    return splits | ({WORDS: words} if words else {}) | _plugins({type(module) for module in method.modules()})


def stage_key(data: Data, methods: Mapping[str, Method], stage: str) -> str:
    """Hash of everything that shapes a stage: data, network, recipe, selection, seed, and the stages before it.

    `methods` are those of all stages, by the stage's name.
    """
    cfg = data.cfg
    stages = cfg.STAGES[: cfg.STAGES.index(stage) + 1]
    content = {name: data.split(name).manifest for name in ("train", "val")}
    inits = [Path(cfg.STAGE[name].INIT) for name in stages if cfg.STAGE[name].INIT]
    key: dict[str, Any] = {
        "keys": {name: value for name, value in shapes_weights(cfg, stage).items() if _counts(name, value)},
        "data": [content[name][part] for name in content for part in ("pixels_sha256", "fingerprint")],
        "init": [sha256(file) for file in inits] + _external(methods[stage]),
        "words": _words_hash(data, [methods[name] for name in stages]),
        "views": _views(cfg) if any("parts" in methods[name].needs for name in stages) else [],
        **_eval_crop(cfg),
        **_base_images(cfg, methods[stage]),
        **({"code": code} if (code := _users_code([methods[name] for name in stages])) else {}),
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]


def features_key(data: Data, method: Method, split: Split, sha256: str) -> dict[str, Any]:
    """Everything that the features of a split depend on; `sha256` is the checkpoint's."""
    frozen = frozen_key(data.cfg, method, data.device) if not data.cfg.STAGES else None
    return (frozen or encoding_key(data.cfg, method, sha256, data.device)) | {
        "data": {name: split.manifest.get(name) for name in ("pixels_sha256", "fingerprint")},
        "normalised": [list(data.statistics.mean), list(data.statistics.std)],
        "image_size": split.size,
    }


def encoding_key(cfg: Config, method: Method, sha256: str, where: torch.device) -> dict[str, Any]:
    """Everything but the images that their features depend on; `sha256` is that of the weights."""
    return {
        "checkpoint": sha256,
        "keys": {name: value for name, value in with_role(cfg, "encodes").items() if _counts(name, value)},
        "views": _views(cfg) if "parts" in method.needs else [],
        **_eval_crop(cfg),
        **({"size": method.backbone.size} if method.backbone.size else {}),
        "device": device.describe(where),
        "torch": torch.__version__,
        "version": FEATURES_VERSION,
        "code": code_hash(method),
    }


def frozen_key(cfg: Config, method: Method, where: torch.device) -> dict[str, Any] | None:
    """The encoding of a network as it came, which all methods share that read the same of it.

    None for random weights, and for a method that encodes with more than the backbone, whose weights may be random.
    """
    if not method.backbone.external or not method.encodes_by_backbone:
        return None
    key = encoding_key(cfg, method, state_hash(method.backbone.state_dict()), where)
    keys = {name: value for name, value in key["keys"].items() if not name.startswith("METHOD.")}
    return key | {"keys": keys, "needs": sorted({*FEATURES} & {*method.needs}), "code": code_hash(method.backbone)}


# Keys that came after the first hashes were kept, with the values that mean they are not set.
ADDED_LATER = {".FREEZE": "", "TASK.TRAIN.IMAGES": 0, ".EMA": 0, ".ACCUMULATE": 1}


def _counts(key: str, value: Any) -> bool:
    """Whether a key counts by its value: not where it names data or a file, which count by their content.

    A key of ADDED_LATER that is not set leaves a hash as it was before there was such a key.
    """
    names_content = key.startswith("DATASET.") or key.endswith((".INIT", "BACKBONE.WEIGHTS"))
    return not names_content and not any(key.endswith(later) and value == unset for later, unset in ADDED_LATER.items())


def _external(method: Method) -> list[str]:
    """The content of the weights that an encoder started from; [] for other backbones."""
    return [method.backbone.external.sha256] if method.backbone.external else []


def _views(cfg: Config) -> list[Any]:
    """What the crops of an image depend on."""
    return [list(cfg.DATASET.VIEWS), cfg.DATASET.PATCH_RATIO]


def _eval_crop(cfg: Config) -> dict[str, float]:
    """What is seen of an image in validation and at test; {} for all of it, as before there was a choice."""
    share = cfg.DATASET.EVAL_CROP
    return {} if share == 1 else {"eval_crop": share}


def _base_images(cfg: Config, method: Method) -> dict[str, int]:
    """How many images of a base class count for the means that validation reads; {} for all, or where it reads none."""
    limit = cfg.EVAL.BASE_IMAGES
    return {"base_images": limit} if limit and "base" in method.needs else {}


def _words_hash(data: Data, methods: list[Method]) -> str:
    """Hash of the word vectors that these methods read from a file to train and validate; "" where they read none."""
    readers = {"train": any(map(trains_on_words, methods)), "val": any("semantics" in m.needs for m in methods)}
    vectors = [data.words(name) for name, reads in readers.items() if reads and data.reads_words_from_file(name)]
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in vectors)).hexdigest() if vectors else ""


def code_hash(network: nn.Module) -> str:
    """Hash of the source files that define a network, and of those that these may call: a change makes new features.

    The latter are `core.ops` and `core.layers`, and what was imported from the folder of a user's file.
    """
    files = _with_imports(_files_of(network))
    files |= {file for name in ("ops", "layers") for file in (CORE / name).rglob("*.py")}
    return _hash(files)


def _users_code(methods: list[Method]) -> str:
    """Hash of the users' files that define these methods, and of what was imported beside them; "" for none."""
    files = {file for method in methods for file in _files_of(method) if _is_users(file)}
    return _hash(_with_imports(files)) if files else ""


def _with_imports(files: set[Path]) -> set[Path]:
    """Files, and what was imported from the folders of those that are a user's."""
    folders = {file.parent for file in files if _is_users(file)}
    return files | {file for file in _imported() if file.parent in folders}


def _plugins(kinds: set[type]) -> dict[str, str]:
    """Hash of the users' files that define these classes; {} where there are none.

    What else was imported from their folders does not count: another module of PLUGINS makes no other method.
    """
    files = {file for file in _files_of_classes(kinds) if _is_users(file)}
    return {CODE: _hash(files)} if files else {}


def _files_of(network: nn.Module) -> set[Path]:
    """The source files of the classes of a network, wherever they lie; those of PyTorch are left out."""
    return _files_of_classes({type(module) for module in network.modules()})


def _files_of_classes(kinds: set[type]) -> set[Path]:
    """The source files of classes and their bases."""
    classes = {c for kind in kinds for c in kind.__mro__}
    names = {c.__module__ for c in classes if not c.__module__.startswith(("torch.", "builtins"))}
    files = {getattr(sys.modules.get(name), "__file__", None) or "" for name in names}
    return {Path(file).resolve() for file in files if os.path.isfile(file)}


def _is_users(file: Path) -> bool:
    """Whether a source file belongs neither to FiveWay nor to an installed library."""
    return not file.is_relative_to(CORE) and "site-packages" not in file.parts


def _imported() -> set[Path]:
    """The files of all modules that are loaded but the script itself."""
    files = [getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name != "__main__"]
    return {Path(file).resolve() for file in files if file and file.endswith(".py")}


def _hash(files: set[Path]) -> str:
    """Hash of the contents of files."""
    return hashlib.sha256("".join(sorted(sha256(file) for file in files)).encode()).hexdigest()


def _plain(node: Any) -> Any:
    """A configuration node as plain dicts, lists and values."""
    return {key: _plain(value) for key, value in node.items()} if isinstance(node, dict) else node
