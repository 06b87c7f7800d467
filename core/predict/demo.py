"""Answers for a page at which photographs are dropped into classes; see core/cli/demo.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from ..errors import UserError, reworded
from ..prepare.images import Decoding, decode
from ..report.page.pictures import ShownTask, task_sections
from ..report.page.render import Section, page
from .answers import Answer
from .classifier import OWN, Classifier, make_head_named
from .command import cache_folder, encode
from .estimator import FewShotClassifier
from .page import Pictures
from .photos import Photo
from .supports import make_task, seed_of

SIDE = 160  # of a photograph in a picture of matches


class Demo:
    """Answers one photograph at a time, from classes that may change between two answers.

    Args:
        make: gives a classifier that is not fitted; those of one network share it, and the features of photographs.
    """

    def __init__(self, make: Callable[[], FewShotClassifier]) -> None:
        self._make = make

    def open(self) -> None:
        """Open the network, so that what is wrong with it is said before a page is served.

        Raises:
            UserError: where it cannot be read, or there is no such head.
        """
        classifier = self._make()
        make_head_named(classifier.open()[0], OWN if classifier.encoder else classifier.head)

    def answer(self, classes: Sequence[tuple[str, Sequence[Path]]], query: Path) -> tuple[dict[str, float], str]:
        """Probabilities by class, and a page of the answer: the nearest photograph, and what the method shows.

        Args:
            classes: the name of each class and its photographs; those without photographs are left out.
            query: the photograph in question.

        Raises:
            UserError: where fewer than two classes have photographs, two have one name, or a file is no photograph.
        """
        named = [name for name, paths in classes if paths]
        if "" in named or len(set(named)) < len(named):
            raise UserError("Every class with photos needs a name of its own; write one above its photos.")
        if len(named) < 2:
            raise UserError("Fewer than two classes have photos; drop some into another one.")
        labelled = [(path, name) for name, paths in classes for path in paths]
        shown = {str(path): f"{name}/{path.name}" for path, name in labelled} | {str(query): query.name}
        with reworded(shown):  # a photograph is named as it was dropped, not as the page keeps it
            classifier = self._make().fit([path for path, _ in labelled], [name for _, name in labelled])
            (row,) = classifier.answers([query])
        shares = dict(zip(named_in_order(classifier), classifier.predict_proba([query])[0].tolist(), strict=True))
        photos = {str(path): Photo(str(path), path) for path in (*(path for path, _ in labelled), query)}
        card = Pictures(photos, photos, []).card(row) | {"file": query.name, "support": shown[row.nearest_support]}
        note = "Small: the labelled photo that is nearest. " + " ".join(
            f"{line.capitalize()}." for line in classifier.trust_.describe()
        )
        sections = [Section("Answer", "cards", {"cards": [card], "note": note})]
        sections += _pictures(classifier, photos, photos[str(query)], row)
        return shares, page(row.answer, sections)


def named_in_order(classifier: FewShotClassifier) -> list[str]:
    """The classes in the order of the probabilities."""
    return [str(name) for name in classifier.classes_]


@torch.no_grad()
def _pictures(fitted: FewShotClassifier, photos: Mapping[str, Photo], photo: Photo, row: Answer) -> list[Section]:
    """What the method shows of the answer, such as matched regions; nothing for most methods."""
    classifier: Classifier = fitted.classifier_
    supports, network = classifier.supports, classifier.network
    query = encode(network, [photo], network.store(cache_folder(fitted.cache)))[0].features
    support, one = ({name: value[None] for name, value in of.items()} for of in (supports.features, query))
    way, seed = len(supports.classes), seed_of(supports)
    task = make_task(support, supports.labels, one, way, seed, classifier.words, network.base)
    pictures = classifier.head.pictures(task)
    if not pictures:
        return []
    label = supports.classes.index(row.answer)
    shown = ShownTask(
        names=supports.classes,
        supports=[decode(photos[name].source, Decoding(SIDE)) for name in supports.names],
        support_labels=supports.labels.tolist(),
        queries=[decode(photo.source, Decoding(SIDE))],
        query_labels=[label],
        predicted=[label],
    )
    return task_sections(pictures, shown)
