"""A classifier without FiveWay and PyTorch: an encoder in ONNX, a head of a few arrays, and a page of Python."""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UserError
from ..files import FileContent, write_files
from ..ops import random
from .classifier import Classifier
from .folder import load_classifier
from .linear_head import CLOSE, LinearHead, linear_head
from .network import PhotoNetwork
from .trust import Trust

PACKAGES = ("onnx", "onnxruntime")
PROGRAM = Path(__file__).with_name("standalone.py")
CHECKED = 4  # images on which the files are compared with the network
OPSET = 17


class _Vectors(nn.Module):
    """A backbone that gives its vector alone."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> Tensor:
        """[n, 3, H, W] to [n, D]."""
        return self.backbone(image)["vector"]


def export(folder: Path, out: Path) -> None:
    """Write encoder.onnx, head.npz, head.json and predict.py for the classifier in a folder.

    Raises:
        UserError: where a package is missing, the head is no matrix, or the files answer otherwise than the classifier.
    """
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} is not installed, which the export needs; run `python -m pip install "
            f"{' '.join(PACKAGES)}`."
        )
    classifier, trust = load_classifier(folder, torch.device("cpu"))
    network = classifier.network
    if network.cfg.DATASET.EVAL_CROP < 1:
        raise UserError(
            f"DATASET.EVAL_CROP is {network.cfg.DATASET.EVAL_CROP}, which an export cannot keep; set it to 1."
        )
    head = linear_head(classifier, trust.tau)
    encoder = _encoder(network)
    _compare(classifier, trust, head, encoder)
    files: dict[str, FileContent] = {
        "encoder.onnx": lambda file: file.write(encoder),
        "head.npz": lambda file: np.savez(file, **_arrays(head, network)),
        "head.json": _facts(classifier, trust, head),
        "predict.py": PROGRAM.read_text(encoding="utf-8"),
    }
    write_files(out, files)


def _arrays(head: LinearHead, network: PhotoNetwork) -> dict[str, Any]:
    """What predict.py multiplies with."""
    arrays = {"weight": head.weight, "bias": head.bias, "centre": head.centre}
    std = torch.tensor(network.std).clamp(min=0.01)  # as Pixels does
    return {name: value.numpy() for name, value in arrays.items()} | {
        "mean": np.array(network.mean, np.float32),
        "std": std.numpy(),
    }


def _facts(classifier: Classifier, trust: Trust, head: LinearHead) -> dict[str, Any]:
    """What predict.py reads as JSON, and where all of it comes from."""
    return {
        "classes": classifier.supports.classes,
        "size": classifier.network.image_size,
        "unit": head.unit,
        "tau": trust.tau,
        "head": classifier.head.name,
        "encoder": classifier.network.cfg.BACKBONE.NAME,
        "origin": classifier.network.origin,
    }


def _encoder(network: PhotoNetwork) -> bytes:
    """The backbone in ONNX, for any number of images."""
    example = torch.zeros(2, 3, network.image_size, network.image_size)
    file: Any = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own future
        torch.onnx.export(
            _Vectors(network.folded.backbone).eval(),
            (example,),
            file,
            input_names=["image"],
            output_names=["vector"],
            dynamic_axes={"image": {0: "n"}, "vector": {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()


def _compare(classifier: Classifier, trust: Trust, head: LinearHead, encoder: bytes) -> None:
    """Refuse files whose probabilities differ from the classifier's on images of noise."""
    import onnxruntime

    size = classifier.network.image_size
    noise = random.normal(torch.tensor(random.key("export")), "images", (CHECKED, 3, size // 8 + 1, size // 8 + 1))
    images = nn.functional.interpolate(noise, (size, size), mode="bilinear")
    with torch.no_grad():
        vectors = classifier.network.folded.backbone(images)["vector"]
    expected = trust.probabilities(classifier.logits({"vector": vectors}))
    session = onnxruntime.InferenceSession(encoder, providers=["CPUExecutionProvider"])
    seen = torch.from_numpy(session.run(None, {"image": images.numpy()})[0])
    exported = trust.probabilities(head.logits(seen))
    apart = float((exported - expected).abs().max())
    if not apart < CLOSE:
        raise UserError(
            f"the exported files answer otherwise than {classifier.head.name}: probabilities differ by {apart:.1e}; "
            "export with another version of PyTorch or onnxruntime."
        )
