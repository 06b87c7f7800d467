"""A classifier as a folder: all that answers need, without the supports' files, and nothing that is executed.

    classifier.json        classes, how answers are to be trusted, where the weights come from, and hashes of the rest
    config.yaml            the configuration of the network
    tensors.safetensors    weights of the network, features of the supports, means and word vectors where they are read

The JSON file is written last, and bears a hash of itself: a folder that was changed by hand is refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from .. import __version__
from ..build.config import last_stage, load_config
from ..build.networks import make_method
from ..engine import checkpoint
from ..episode import DataInfo, Features
from ..errors import UserError
from ..files import DAMAGE, FileContent, write_files, writing
from ..kinds import misfit, parse_json
from .calibration import CALIBRATION, Calibration
from .classifier import OWN, Classifier, make_head_named
from .looks import SIDE
from .network import PhotoNetwork
from .supports import Supports
from .trust import Trust

FORMAT = 1
SHEET, CONFIG, TENSORS = "classifier.json", "config.yaml", "tensors.safetensors"
SEAL = "sha256_of_this"
TRUST = {"tau": float, "held_out": int, "correct": float, "reason": str, "calibration": (None, CALIBRATION)}
FACTS = {"n_base": int, "image_size": int, "way": int, "shot": int, "query": int, "base_counts": [int]}
ORIGIN = {"sha256": str, "external_data?": {"encoder": str, "weights": str, "data": str, "licence": str}}
NETWORK = {"facts": FACTS, "mean": [float], "std": [float], "image_size": int, "origin": ORIGIN}
SHEET_KIND = {
    **{"head": str, "classes": [str], "supports": [str], "supports_sha256": [str], "network": NETWORK, "trust": TRUST},
    "sha256": {CONFIG: str, TENSORS: str},
}
LARGEST = 100_000  # base classes, and pixels of a side: what is beyond was not written here


def save_classifier(folder: Path, classifier: Classifier, trust: Trust) -> None:
    """Write a classifier; a folder that holds one is overwritten."""
    network, supports = classifier.network, classifier.supports
    content = save(_tensors(classifier, trust))
    sheet: dict[str, Any] = {
        "format": FORMAT,
        "fiveway": __version__,
        "head": OWN if classifier.head is network.folded else classifier.head.name,
        "classes": supports.classes,
        "supports": supports.names,
        "supports_sha256": supports.sha256,
        "network": {
            "facts": network.facts,
            "mean": network.mean,
            "std": network.std,
            "image_size": network.image_size,
            "origin": network.origin,
        },
        "trust": _trust_sheet(trust),
        "sha256": {CONFIG: _hash(network.text.encode()), TENSORS: _hash(content)},
    }
    sheet = json.loads(json.dumps(sheet))  # tuples become lists, as they are when the seal is checked
    with writing(folder):
        (folder / SHEET).unlink(missing_ok=True)
    files: dict[str, FileContent] = {
        CONFIG: network.text,
        TENSORS: lambda file: file.write(content),
        SHEET: sheet | {SEAL: _seal(sheet)},
    }
    write_files(folder, files)


def load_classifier(folder: Path, where: torch.device) -> tuple[Classifier, Trust]:
    """Read a classifier.

    Raises:
        UserError: where the folder is none, is of another version, was changed since it was written, or holds what no
            classifier can be.
    """
    sheet = _read_sheet(folder)
    tensors = _read_tensors(folder, sheet)
    try:
        classifier, trust = _made(folder, sheet, tensors, where)
        classifier.logits({name: value[:1] for name, value in classifier.supports.features.items()})
        trust.describe()
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{folder} holds a classifier that cannot classify its own supports ({reason}); answer with --support "
            "again, which writes it anew."
        ) from error
    return classifier, trust


def _made(
    folder: Path, sheet: dict[str, Any], tensors: dict[str, Tensor], where: torch.device
) -> tuple[Classifier, Trust]:
    """The classifier of a sheet and its tensors; errors of `DAMAGE` where they do not fit."""
    _compare(sheet, tensors)
    loaded = load_config(folder / CONFIG)
    facts, method_state = sheet["network"]["facts"], _part(tensors, "method")
    words = tensors.get("base_words")
    info = DataInfo(
        **facts | {"base_counts": tuple(facts["base_counts"])}, words=None if words is None else lambda: words
    )
    method = make_method(loaded.cfg, last_stage(loaded.cfg), info)
    checkpoint.restore_for_test(method, method_state, folder / TENSORS)
    base = {name: value.to(where) for name, value in _part(tensors, "base").items()}
    described = sheet["network"]
    network = PhotoNetwork(
        cfg=loaded.cfg,
        text=(folder / CONFIG).read_text(encoding="utf-8"),
        method=method.eval().to(where).to(memory_format=torch.channels_last),
        facts=facts,
        mean=tuple(described["mean"]),
        std=tuple(described["std"]),
        image_size=described["image_size"],
        origin=described["origin"],
        device=where,
        base=base or None,
        words=words,
    )
    supports = Supports(
        sheet["classes"],
        sheet["supports"],
        sheet["supports_sha256"],
        tensors["labels"],
        {name: value.to(where) for name, value in _part(tensors, "support").items()},
        tensors["looks"].numpy(),
        tensors["places"].to(where),
    )
    head = make_head_named(network, sheet["head"])
    numbers = sheet["trust"]
    calibration = numbers["calibration"] and Calibration.from_dict(numbers["calibration"])
    trust = Trust(**numbers | {"calibration": calibration}, similarities=tensors["similarities"])
    return Classifier(network, head, supports, tensors.get("words"), base or None), trust


def _trust_sheet(trust: Trust) -> dict[str, Any]:
    """How answers are to be trusted, as plain values, without the similarities."""
    calibration = trust.calibration.as_dict() if trust.calibration else None
    numbers = {"tau": trust.tau, "held_out": trust.held_out, "correct": trust.correct, "reason": trust.reason}
    return numbers | {"calibration": calibration}


def _tensors(classifier: Classifier, trust: Trust) -> dict[str, Tensor]:
    """Everything that is a tensor, by name."""
    network, supports = classifier.network, classifier.supports
    groups: dict[str, Features] = {
        "method": {k: v for k, v in network.method.state_dict().items() if not k.startswith("objective.")},
        "support": supports.features,
        "base": classifier.base or {},
    }
    named = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    named |= {"labels": supports.labels, "looks": torch.from_numpy(supports.looks), "places": supports.places}
    named |= {"similarities": trust.similarities}
    optional = {"words": classifier.words, "base_words": network.words}
    named |= {name: value for name, value in optional.items() if value is not None}
    return {name: value.detach().cpu().contiguous().clone() for name, value in named.items()}


def _read_sheet(folder: Path) -> dict[str, Any]:
    """classifier.json, if it is as it was written."""
    file = folder / SHEET
    if not file.is_file():
        raise UserError(f"--classifier is {folder}, which holds no {SHEET}; give the folder `classifier` of an answer.")
    try:
        sheet = parse_json(file.read_text(encoding="utf-8"), {"": object})
        version, seal = sheet["format"], sheet.pop(SEAL)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not what was written; answer with --support again, which writes it anew."
        ) from error
    if version != FORMAT:
        raise UserError(
            f"{file} is of format {version}, and this version of FiveWay reads format {FORMAT}; "
            "answer with --support again, which writes it anew."
        )
    if seal != _seal(sheet):
        raise UserError(f"{file} was changed after it was written; answer with --support again, which writes it anew.")
    place = misfit(sheet, SHEET_KIND)
    if place:
        raise UserError(f"{file} is not what is written there ({place}); answer with --support again.")
    return sheet


def _read_tensors(folder: Path, sheet: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors; all files must have the content that the sheet says."""
    contents = {}
    for name, expected in sheet["sha256"].items():
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise UserError(f"{folder / name} cannot be read ({error.strerror}); copy the whole folder.") from error
        if _hash(contents[name]) != expected:
            raise UserError(
                f"{folder / name} is not the file that {SHEET} was written with; copy the whole folder, or answer with "
                "--support again."
            )
    try:
        return load(contents[TENSORS])
    except (SafetensorError, KeyError) as error:
        raise UserError(f"{folder / TENSORS} holds no tensors; answer with --support again.") from error


def _compare(sheet: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Compare the tensors of the supports with the sheet.

    Raises:
        ValueError: where one is missing, or of another shape, type or range.
    """
    n, network, labels = len(sheet["supports"]), sheet["network"], tensors["labels"]
    facts = network["facts"]
    supports = [*_part(tensors, "support").values()]
    looks, places, similarities = tensors["looks"], tensors["places"], tensors["similarities"]
    sizes = [network["image_size"], *facts["base_counts"]]
    sizes += [facts[name] for name in FACTS if name != "base_counts"]
    sound = {
        "labels": labels.dtype == torch.long and labels.unique().tolist() == list(range(len(sheet["classes"]))),
        "the order of labels": labels.shape == (n,) and bool((labels.diff() >= 0).all()),
        "looks": looks.dtype == torch.uint8 and looks.shape == (n, SIDE * SIDE // 8),
        "places": places.dtype == torch.float32 and places.ndim == 2 and len(places) == n,
        "similarities": similarities.dtype == torch.float64 and similarities.shape == (sheet["trust"]["held_out"],),
        "supports": len(supports) > 0 and all(value.dtype == torch.float32 and len(value) == n for value in supports),
        "supports_sha256": len(sheet["supports_sha256"]) == n,
        "classes": len(sheet["classes"]) > 1,
        "facts": all(0 <= size <= LARGEST for size in sizes),
        "mean and std": len(network["mean"]) == len(network["std"]) == 3 and min(network["std"]) > 0,
    }
    for name, is_sound in sound.items():
        if not is_sound:
            raise ValueError(f"{name} are not what was written")


def _part(tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
    """The tensors whose names begin with the group's, without it."""
    start = f"{group}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _seal(sheet: dict[str, Any]) -> str:
    """Hash of a sheet without its seal."""
    return _hash(json.dumps(sheet, sort_keys=True).encode())
