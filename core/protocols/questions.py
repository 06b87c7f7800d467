"""Shapes of episodes and heads, which several protocols ask about; every image is encoded once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ..build.data import Data, task_shape
from ..build.evaluation import Network, build_evaluator, feature_cache, means_cache
from ..build.networks import build_head
from ..config import Config
from ..data.episodes import EpisodeSampler, Shape
from ..engine.heads import refuse_unfit
from ..errors import UserError
from ..methods.base import Method
from ..names import not_one_of
from ..registry import METHODS

OWN = "own"


@dataclass(frozen=True)
class Question:
    """A shape of episodes, and the method that classifies them."""

    shape: Shape
    method: str  # a registered name


def questions(cfg: Config, shots: Sequence[int], ways: Sequence[int], methods: Sequence[str]) -> list[Question]:
    """Every combination of what the command line lists; what it does not list is the config's."""
    test, own_name = cfg.TASK.TEST, METHODS[cfg.METHOD.NAME].name
    for option, least, values in (("--shots", 1, shots), ("--ways", 2, ways)):
        if any(value < least for value in values):
            raise UserError(f"{option} lists {min(values)}; every number must be at least {least}.")
    known = [OWN, *METHODS]
    for name in methods:
        if name.lower() not in map(str.lower, known):
            raise UserError(not_one_of("--methods", name, known))
    names = [own_name if name.lower() == OWN else METHODS[name].name for name in methods] or [own_name]
    shapes = [_reshaped(task_shape(cfg, "test"), way, shot) for way in ways or [test.WAY] for shot in shots or [0]]
    return [Question(shape, name) for shape in dict.fromkeys(shapes) for name in dict.fromkeys(names)]


def _reshaped(shape: Shape, way: int, shot: int) -> Shape:
    """The config's shape at another way and, unless it is 0, another shot of every class."""
    if shot:
        return replace(shape, way=way, shot=shot, shots=())
    if shape.shots and way != shape.way:
        raise UserError(
            f"--ways lists {way}, but TASK.TEST.SHOTS gives {len(shape.shots)} classes their shots; add --shots."
        )
    return replace(shape, way=way)


class TestedNetwork:
    """A network with its features of the test split, and the heads that classify them."""

    def __init__(self, data: Data, network: Network) -> None:
        self.data, self.network = data, network
        self.split = data.split("test")
        self.evaluator = build_evaluator(data, "test")
        self.source = self.evaluator.source(
            network.method, feature_cache(data, network, self.split), base_cache=partial(means_cache, data, network)
        )
        self._heads: dict[str, Method] = {network.method.name: self.source.method}

    def sampler(self, shape: Shape) -> EpisodeSampler:
        """Test episodes of a shape."""
        return EpisodeSampler(self.split, shape, self.data.cfg.EVAL.SEED, "TASK.TEST")

    def head(self, name: str) -> Method:
        """The method that classifies: the network's own, or another one, which `refuse` has tried."""
        return self._heads[name]

    def refuse(self, questions: Sequence[Question]) -> None:
        """Raise a UserError where the split is too small for a shape, or a head cannot classify the features."""
        for question in questions:
            sampler = self.sampler(question.shape)
            if question.method not in self._heads:
                if self.data.cfg.EVAL.ENSEMBLE > 1:
                    raise UserError(
                        f"--methods names {question.method}, which would see the features of one network, but "
                        f"EVAL.ENSEMBLE is {self.data.cfg.EVAL.ENSEMBLE}; set it to 1, or leave {question.method} out."
                    )
                head = build_head(self.data, question.method).eval()
                episode = sampler.draw(torch.arange(1))
                refuse_unfit(
                    head, self.source.method, partial(self.evaluator.task, self.source, episode, sampler, head)
                )
                self._heads[question.method] = head

    def describe(self, question: Question) -> dict[str, Any]:
        """What every result says of its question."""
        cfg, shape, own_name = self.data.cfg, question.shape, self.network.method.name
        return {
            "method": question.method,
            "features_of": None if question.method == own_name else own_name,
            "dataset": self.split.dataset,
            "split": "test",
            "fingerprint": self.split.fingerprint,
            "way": shape.way,
            "shot": shape.shot_name,
            "query": shape.query_name,
            "episodes": cfg.EVAL.EPISODES,
            "seed": cfg.EVAL.SEED,
            "transductive": self._heads[question.method].transductive,
            "precision": self.source.precision,
            "deviation": self.data.deviation(),
        }
