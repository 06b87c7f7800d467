"""Weights of an encoder: the library's own or a file's, and where they come from."""

from __future__ import annotations

import hashlib
from os.path import expanduser  # that of pathlib raises where there is no such user
from pathlib import Path

import torch
from torch import Tensor

from ..backbones.blocks import Backbone, ExternalData
from ..backbones.encoders import Encoder, Published
from ..errors import UserError
from ..files import sha256
from . import checkpoint
from .weights import unwrapped

DEFAULT = "default"
HASHED = 8  # digits of its SHA-256 that torchvision writes into a file's name


def load_weights(encoder: Backbone, weights: str) -> ExternalData:
    """Load the weights that BACKBONE.WEIGHTS names into an encoder, which remembers where they come from.

    Args:
        encoder: as it was initialised; another backbone was refused before.
        weights: `default`, or a file: a state dict (.pth, read without running anything in it) or .safetensors.

    Raises:
        UserError: where the file cannot be read or is of another network, or the download fails.
    """
    assert isinstance(encoder, Encoder), "other backbones are refused"
    if weights == DEFAULT:
        state, published = _downloaded(encoder), next(iter(encoder.publications()))
        digest = state_hash(state)
    else:
        path = Path(expanduser(weights))
        state, digest = _read(path), sha256(path)
        published = _identified(encoder, path, digest)
    _load(encoder, state, weights, digest)
    name = f"{encoder.library}:{encoder.model}"
    data, licence = published.data or "data not known", published.licence or "not known"
    encoder.external = ExternalData(name, published.name, data, licence, digest)
    return encoder.external


def state_hash(state: dict[str, Tensor]) -> str:
    """SHA-256 of tensors and their names."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _downloaded(encoder: Encoder) -> dict[str, Tensor]:
    """The library's default weights."""
    url = next(iter(encoder.publications())).url
    try:
        return encoder.download()
    except (OSError, RuntimeError, ValueError) as error:  # URLError, hub errors, a wrong check sum
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"BACKBONE.WEIGHTS is {DEFAULT}, but {encoder.library} could not fetch {url} ({reason}); fetch it on a "
            "machine with a connection, and set BACKBONE.WEIGHTS to the file."
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, under the names of the library's whole model."""
    if not path.is_file():
        raise UserError(
            f"BACKBONE.WEIGHTS is {str(path)!r}, which is not a file; give a file of weights, or `{DEFAULT}` for the "
            "library's own."
        )
    content = _read_safetensors(path) if path.suffix == ".safetensors" else checkpoint.read(path, foreign=True)
    state = unwrapped(content) if isinstance(content, dict) else {}
    return {name.removeprefix("module."): value for name, value in state.items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise UserError(
            f"BACKBONE.WEIGHTS is {path}, which needs the package safetensors; run `python -m pip install safetensors`."
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable file of safetensors ({error}); fetch it again.") from error


def _load(encoder: Encoder, state: dict[str, Tensor], weights: str, digest: str) -> None:
    """Load a state of the library's whole model; all weights of the encoder must be in it, and nothing unknown."""
    ours = encoder.state_dict()
    renamed = _renamed(encoder, state)
    misfits = [name for name, value in renamed.items() if name in ours and ours[name].shape != value.shape]
    missing = [name for name in ours if name not in renamed and not name.endswith("num_batches_tracked")]
    unknown = [name for name in renamed if name not in ours]
    if misfits or missing or unknown:
        example = (misfits or missing or unknown)[0].removeprefix("network.")
        raise UserError(
            f"BACKBONE.WEIGHTS is {weights}, which does not fit BACKBONE.NAME {encoder.library}:{encoder.model}: "
            f"{len(missing)} of its entries are missing, {len(misfits)} have another shape and {len(unknown)} are "
            f"unknown, {example} for example; choose {encoder.owner(digest) or 'the model that they were made for'}."
        )
    with torch.no_grad():
        encoder.load_state_dict(ours | renamed)


def _renamed(encoder: Encoder, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state under the encoder's names; unchanged where it is so foreign that the library cannot read it."""
    try:
        return encoder.fitted(state)
    except (KeyError, ValueError, RuntimeError, IndexError, AttributeError):
        return state


def _identified(encoder: Encoder, path: Path, digest: str) -> Published:
    """What is known of a file: that of the library's own weights whose address bears this check sum."""
    for published in encoder.publications():
        if f"-{digest[:HASHED]}." in published.url:
            return published
    return Published(path.name, "", "", "")
