"""A few-shot classifier of photographs that behaves like a classifier of scikit-learn."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..build.data import Data
from ..engine import device as devices
from ..errors import UserError
from .answers import Answer, answer
from .checks import unreadable
from .classifier import OWN, Classifier, make_classifier
from .command import Request, cache_folder, encode, open_network, refuse_share, trusted
from .folder import load_classifier, save_classifier
from .network import Encoded, PhotoNetwork
from .photos import photos_from
from .supports import make_supports
from .trust import Expected, Trust

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
except ModuleNotFoundError:  # an optional package, whose tools then are not there either
    from .parameters import BaseEstimator, ClassifierMixin


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classify photographs from a few labelled ones, by any registered method.

    >>> classifier = FewShotClassifier(encoder="torchvision:mobilenet_v2", head="RFS").fit(paths, labels)
    >>> classifier.predict(more_paths)

    Args:
        encoder, weights: torchvision:MODEL or timm:MODEL, and a file of weights; "" is the library's own.
        checkpoint: in their place a trained network, its run folder or checkpoint file.
        cfg: YAML file of the checkpoint; None = the one it holds.
        head: the method that answers; own is the network's, and of an encoder logistic regression (RFS).
        device: cpu, or the number of a GPU.
        cache: folder of features; None = the user's cache, "" = none is kept.
        reject: share of photographs of the classes that `answers` may reject.
        reference: folder of class folders of other photographs, from which the expected accuracy comes; None = what the
            network has, "" = none.

    Images are paths, or arrays [height, width, 3] of uint8.
    """

    def __init__(
        self,
        encoder: str = "",
        *,
        weights: str = "",
        cfg: str | None = None,
        checkpoint: str | None = None,
        head: str = OWN,
        device: str = "cpu",
        cache: str | None = None,
        reject: float = 0.0,
        reference: str | None = None,
    ) -> None:
        self.encoder = encoder
        self.weights = weights
        self.cfg = cfg
        self.checkpoint = checkpoint
        self.head = head
        self.device = device
        self.cache = cache
        self.reject = reject
        self.reference = reference

    def fit(self, images: Sequence[Any], labels: Sequence[Any]) -> FewShotClassifier:
        """Learn from labelled images, one label for each.

        Raises:
            UserError: where an image cannot be read, there are fewer than two classes, or parameters do not fit.
        """
        if len(images) != len(labels):
            raise UserError(f"{len(images)} images have {len(labels)} labels; give one label for each image.")
        network, data = self.open()
        kinds = {str if isinstance(label, str) else type(label) for label in labels}
        if len(kinds) > 1 or not all(issubclass(kind, str | int | float | np.generic) for kind in kinds):
            names = " and ".join(sorted(kind.__name__ for kind in kinds))
            raise UserError(f"labels are {names}; give texts, or numbers of one type.")
        texts = [str(label) for label in labels]
        encoded = self._encoded(network, images, texts)
        self.classes_ = np.unique(np.asarray(labels))
        self.classifier_ = make_classifier(network, make_supports(encoded, network), OWN if self.encoder else self.head)
        store = network.store(cache_folder(self.cache))
        self.trust_ = trusted(self.classifier_, self.reference, data, store)
        return self

    def open(self) -> tuple[PhotoNetwork, Data | None]:
        """The network that encodes images, which is read once, and its data.

        Raises:
            UserError: where parameters exclude each other, or it cannot be read.
        """
        refuse_share(self.reject, "reject")
        if self.encoder and (self.checkpoint is not None or self.cfg is not None):
            raise UserError(
                f"encoder is {self.encoder}, but checkpoint is {self.checkpoint} and cfg {self.cfg}; leave one way out."
            )
        files = (_stamp(path) for path in (self.weights, self.checkpoint) if path)
        parameters = (self.encoder, self.weights, self.cfg, self.checkpoint, self.head, self.device, self.cache)
        return _network(*parameters, tuple(files))

    def predict(self, images: Sequence[Any]) -> np.ndarray:
        """The class [n] of each image."""
        probabilities = self.predict_proba(images)
        return self.classes_[probabilities.argmax(1)]

    def predict_proba(self, images: Sequence[Any]) -> np.ndarray:
        """Probabilities [n, classes], in the order of `classes_`."""
        fitted, trust = self._fitted()
        if not len(images):
            return np.zeros((0, len(self.classes_)))
        encoded = self._encoded(fitted.network, images)
        probabilities = trust.probabilities(fitted.logits(encoded.features)).numpy()
        place = {name: i for i, name in enumerate(fitted.supports.classes)}
        return probabilities[:, [place[str(label)] for label in self.classes_]]

    def answers(self, images: Sequence[Any]) -> list[Answer]:
        """What answers.csv would say of each image, in the order of the images."""
        refuse_share(self.reject, "reject")
        fitted, trust = self._fitted()
        encoded = self._encoded(fitted.network, images)
        by_name = {row.file: row for row in answer(fitted, trust, encoded, self.reject)}
        return [by_name[photo.name] for photo in encoded.photos]

    def expected_accuracy(self) -> list[Expected]:
        """Expected accuracy with its interval, now and with more photographs of each class; [] without a reference."""
        return self._fitted()[1].expected()

    def save(self, folder: str | Path) -> None:
        """Write all that answers need into a folder; nothing in it is executed when it is read."""
        save_classifier(Path(folder), *self._fitted())

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", cache: str | None = None) -> FewShotClassifier:
        """The classifier of a folder that `save` or run_predict.py wrote; its classes are texts."""
        made = cls(device=device, cache=cache)
        made.classifier_, made.trust_ = load_classifier(Path(folder), devices.choose(device)[0])
        made.classes_ = np.array(made.classifier_.supports.classes)
        return made

    def _fitted(self) -> tuple[Classifier, Trust]:
        if not hasattr(self, "classifier_"):
            raise UserError("this FewShotClassifier has no classes yet; call fit, or load a folder.")
        return self.classifier_, self.trust_

    def _encoded(self, network: PhotoNetwork, images: Sequence[Any], labels: Sequence[str] | None = None) -> Encoded:
        """Encoded images, all of them."""
        encoded, bad = encode(network, photos_from(images, labels), network.store(cache_folder(self.cache)))
        if bad:
            raise UserError(f"{len(bad)} of {len(images)} images cannot be used: {'; '.join(unreadable(bad)[:5])}.")
        return encoded


@functools.lru_cache(maxsize=4)
def _network(
    encoder: str,
    weights: str,
    cfg: str | None,
    checkpoint: str | None,
    head: str,
    device: str,
    cache: str | None,
    files: tuple,
) -> tuple[PhotoNetwork, Data | None]:
    """The network of some parameters and `files` as they are now; clones of a classifier share it."""
    path = None if checkpoint is None else Path(checkpoint)
    request = Request(encoder=encoder, weights=weights, cfg=cfg, checkpoint=path, heads=(head,))
    return open_network(request, devices.choose(device)[0], cache_folder(cache))


def _stamp(path: str) -> tuple:
    """Time of change and size of a file, or of the checkpoints in a run folder."""
    files = sorted(Path(path).glob("*.pth")) if Path(path).is_dir() else [Path(path)]
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file())
