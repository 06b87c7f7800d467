"""What the page of an evaluation on episodes shows of images: drawn and classified again, a few of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..build.evaluation import objective_pictures
from ..data.episodes import Episodes, EpisodeSampler
from ..engine.features import CachedFeatures, FeatureSource
from ..report.page.episodes import (
    Confusions,
    ShownClass,
    ShownEpisode,
    confused_classes,
    confusion_section,
    episodes_section,
    features_section,
)
from ..report.page.pictures import class_section
from ..report.page.render import Section
from ..report.page.results import result_sections
from ..report.tally import Evaluation
from .pictures import episode_pictures, pixels
from .questions import Question, TestedNetwork

SHOWN = 3  # hardest episodes, and as many of the easiest
MAP_CLASSES, MAP_IMAGES = 20, 25  # classes on the map of features, and images of each


def episodes_page(
    tested: TestedNetwork, question: Question, evaluation: Evaluation, result: dict[str, Any]
) -> list[Section]:
    """The sections of an evaluation; data sets of features have none with images.

    Args:
        tested: network and features of the test split.
        question: what was asked.
        evaluation: the counts of all episodes.
        result: as in result.json, with its hardest and easiest episodes.
    """
    names = tested.split.classes
    sections = result_sections(result, evaluation, names)
    if tested.split.features:
        return sections
    sections += [*_features(tested), confusion_section(_confusions(tested, evaluation))]
    for title, kind in (("The hardest episodes", "hardest"), ("The easiest episodes", "easiest")):
        numbers = [episode["episode"] for episode in result[kind][:SHOWN]]
        note = "Left of the line the labelled images of a class, right of it its queries, wrong answers first."
        sections.append(episodes_section(title, shown_episodes(tested, question, numbers), note))
    sections += episode_pictures(tested, question, result["hardest"][0]["episode"])
    names, pictures = objective_pictures(tested.data, tested.network)
    return sections + [class_section(picture, names) for picture in pictures]


@torch.no_grad()
def shown_episodes(tested: TestedNetwork, question: Question, numbers: Sequence[int]) -> list[ShownEpisode]:
    """These episodes with their images and answers, classified one by one."""
    sampler, head = tested.sampler(question.shape), tested.head(question.method)
    episodes = []
    for number in numbers:
        drawn = sampler.draw(torch.tensor([number]))
        task = tested.evaluator.task(tested.source, drawn, sampler, head)
        predicted = head.answer(task).float().cpu().argmax(-1)[0]
        episodes.append(_shown(tested, sampler, number, drawn, predicted))
    return episodes


def _shown(
    tested: TestedNetwork, sampler: EpisodeSampler, number: int, drawn: Episodes, predicted: Tensor
) -> ShownEpisode:
    """One drawn episode, and the label [Q] that each query was given."""
    names = [tested.split.classes[c] for c in drawn.classes[0].tolist()]
    supports = drawn.support[0].split(sampler.shape.supports)
    classes = []
    for label, (name, ids) in enumerate(zip(names, supports, strict=True)):
        rows = (drawn.query_y[0] == label).nonzero()[:, 0]
        answers = [names[answer] for answer in predicted[rows].tolist()]
        classes.append(ShownClass(name, pixels(tested, ids), pixels(tested, drawn.query[0, rows]), answers))
    accuracy = 100 * float((predicted == drawn.query_y[0]).double().mean())
    return ShownEpisode(number, accuracy, classes)


def _confusions(tested: TestedNetwork, evaluation: Evaluation) -> Confusions:
    """The confusion matrix, with the example of each cell that is shown."""
    examples, chosen = evaluation.examples, confused_classes(evaluation.confusion)
    cells = [(i, j) for i in chosen for j in chosen if examples is not None and examples[i, j] >= 0]
    ids = [int(examples[cell]) for cell in cells] if examples is not None else []
    images = dict(zip(cells, pixels(tested, torch.tensor(ids, dtype=torch.long)), strict=True))
    return Confusions(tested.split.classes, evaluation.confusion, images)


def _features(tested: TestedNetwork) -> list[Section]:
    """A map of features that were encoded; nothing where the network adapts to each task, or encoded too little."""
    if not isinstance(tested.source, CachedFeatures):
        return []
    chosen = _for_map(tested)
    if len(chosen) < 3:
        return []
    ids = torch.cat(list(chosen.values()))
    labels = np.repeat(np.arange(len(chosen)), [len(rows) for rows in chosen.values()])
    images = pixels(tested, torch.stack([rows[0] for rows in chosen.values()]))
    names = [tested.split.classes[c] for c in chosen]
    return [features_section(_vectors(tested.source, ids), labels, names, images)]


def _for_map(tested: TestedNetwork) -> dict[int, Tensor]:
    """Ids of some encoded images of some classes, evenly spaced over the classes."""
    assert isinstance(tested.source, CachedFeatures)
    encoded = tested.source.encoded_ids()
    labels = torch.from_numpy(tested.split.labels)[encoded]
    present = labels.unique()
    spaced = present[torch.linspace(0, len(present) - 1, min(MAP_CLASSES, len(present))).round().long()]
    return {int(c): encoded[labels == c][:MAP_IMAGES] for c in spaced}


def _vectors(source: FeatureSource, ids: Tensor) -> np.ndarray:
    """One vector [n, D] for each image: its feature vector, or the mean of its map's positions or of its crops."""
    features = source.gather(ids)
    name = next(name for name in ("vector", "map", "parts") if name in features)
    value = features[name].float()
    value = value.flatten(2).mean(2) if name == "map" else value.mean(1) if name == "parts" else value
    return value.cpu().numpy()
