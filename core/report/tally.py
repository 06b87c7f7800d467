"""What is counted while episodes are classified: integers wherever possible, so that evaluations compare exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .stats import Interval, interval

BINS = 15  # of confidence, for the calibration error


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found."""

    correct: np.ndarray  # [episodes] queries classified correctly
    top2: np.ndarray  # [episodes] queries whose class is among the two likeliest
    classes: np.ndarray  # [episodes, N] classes of the split
    queries: int  # of an episode
    confusion: np.ndarray  # [classes, classes] true by predicted, counts
    bins: np.ndarray  # [3, BINS] of confidence: queries, correct ones, sum of confidences
    seconds: dict[str, float]  # encode | classify | total
    examples: np.ndarray | None = None  # [classes, classes] the first image of each cell of `confusion`, -1 = none

    @property
    def ece(self) -> float:
        """Expected calibration error of the logits' softmax, percent."""
        count, hits, confidence = self.bins
        return 100 * float(np.abs(hits - confidence).sum() / count.sum())

    @property
    def accuracy(self) -> np.ndarray:
        """Of each episode, percent."""
        return self.correct * (100 / self.queries)

    @property
    def interval(self) -> Interval:
        """Mean accuracy in percent, with its 95 % interval over episodes."""
        return interval(self.accuracy)


class Tally:
    """Counts over episodes 0 .. `episodes` - 1 of `way` out of `n_classes` classes, filled from front to back."""

    def __init__(self, episodes: int, way: int, n_classes: int) -> None:
        self.correct = np.empty(episodes, dtype=np.int64)
        self.top2 = np.empty(episodes, dtype=np.int64)
        self.classes = np.empty((episodes, way), dtype=np.int64)
        self._confusion = np.zeros(n_classes**2, dtype=np.int64)
        self._examples = np.full(n_classes**2, -1, dtype=np.int64)
        self._bins = np.zeros((3, BINS))  # queries, correct ones, sum of confidences
        self._n_classes, self._done = n_classes, 0

    def add(self, logits: np.ndarray, truth: np.ndarray, classes: np.ndarray, images: np.ndarray) -> None:
        """Count T more episodes: logits [T, Q, N], labels and ids of the queries' images [T, Q], classes [T, N].

        A tie goes to the lowest label.
        """
        here = slice(self._done, self._done + len(logits))
        self._done = here.stop
        predicted = logits.argmax(-1)
        hit = predicted == truth
        self.correct[here] = hit.sum(1)
        self.top2[here] = (hit | _second(logits, truth)).sum(1)
        self.classes[here] = classes
        pairs = np.take_along_axis(classes, truth, 1) * self._n_classes + np.take_along_axis(classes, predicted, 1)
        self._confusion += np.bincount(pairs.ravel(), minlength=self._n_classes**2)
        new = self._examples[pairs] < 0
        self._examples[pairs[new][::-1]] = images[new][::-1]  # of equal pairs the last one assigned stays: the first
        largest = np.take_along_axis(logits, predicted[..., None], -1)
        confidence = 1 / np.exp(logits - largest).sum(-1).ravel()
        number = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        for row, weights in enumerate((None, hit.ravel(), confidence)):
            self._bins[row] += np.bincount(number, weights, minlength=BINS)

    def evaluation(self, queries: int, seconds: dict[str, float]) -> Evaluation:
        """The counts, once all episodes are in."""
        square = (self._n_classes, self._n_classes)
        confusion, examples = self._confusion.reshape(square), self._examples.reshape(square)
        return Evaluation(self.correct, self.top2, self.classes, queries, confusion, self._bins, seconds, examples)


def join_evaluations(parts: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of the episodes of several, one after another.

    Sums of confidences are exact up to some 10^7 queries a bin: float32 values, summed in float64. So are those of the
    parts, and the calibration error does not depend on where the episodes were cut.
    """
    return Evaluation(
        correct=np.concatenate([part.correct for part in parts]),
        top2=np.concatenate([part.top2 for part in parts]),
        classes=np.concatenate([part.classes for part in parts]),
        queries=parts[0].queries,
        confusion=np.sum([part.confusion for part in parts], axis=0),
        bins=np.sum([part.bins for part in parts], axis=0),
        seconds={name: sum(part.seconds[name] for part in parts) for name in parts[0].seconds},
        examples=_first_examples([part.examples for part in parts if part.examples is not None]),
    )


def _first_examples(parts: Sequence[np.ndarray]) -> np.ndarray | None:
    """Of each cell, the example of the first part that has one."""
    if not parts:
        return None
    examples = parts[0].copy()
    for later in parts[1:]:
        examples = np.where(examples < 0, later, examples)
    return examples


def _second(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether exactly one class comes before the true one, [T, Q]; among equals the lower label comes first."""
    of_truth = np.take_along_axis(logits, truth[..., None], -1)
    lower = np.arange(logits.shape[-1]) < truth[..., None]
    return ((logits > of_truth) | ((logits == of_truth) & lower)).sum(-1) == 1
