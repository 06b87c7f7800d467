"""Shared by methods that are trained in generations, each taught by the one before it."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from ..backbones.blocks import Backbone
from ..episode import Batch, DataInfo, Features
from ..limits import Positive, Share
from ..objectives.loss import Loss
from .base import Method
from .base_training import BaseTrained

TEACHERS = "teacher's "  # before the names of the teacher's features


class Distilled(BaseTrained):
    """A stage of such a method after another one of the same class is self-distillation.

    A new network of the same form learns from the labels and from the frozen one before it,
    (1 - distill) * CE + distill * T^2 * KL(teacher || student) at temperature T (Tian et al. 2020, eq. 8; Furlanello
    et al., "Born Again Neural Networks", ICML 2018).

    Args:
        distill: weight of the teacher in a distillation stage.
        temperature: of both softmaxes there.
    """

    reads_previous = True  # the teacher

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        classifier: nn.Module,
        *,
        distill: Share = 0.5,
        temperature: Positive = 4.0,
    ) -> None:
        super().__init__(backbone, info, classifier)
        self.distill, self.temperature = distill, temperature
        self._teacher: list[Distilled] = []  # in a list, so that the state of this network does not contain it

    def start_from(self, previous: Method) -> str:
        """Keep a network of the same class as teacher and start anew; of any other take the backbone."""
        if not isinstance(previous, type(self)):
            return super().start_from(previous)
        teacher = copy.deepcopy(previous).eval().requires_grad_(False)
        teacher.needs, teacher._teacher = previous.needed(training=True), []
        self._teacher = [teacher]
        return "a new initialisation, with the previous stage as its teacher"

    @property
    def encodes_by_backbone(self) -> bool:
        """A teacher is asked in training only."""
        return type(self).encode is Distilled.encode

    def encode(self, pixels: Features) -> Features:
        """The features in `needs`, and in a distillation stage the teacher's as well, at the same precision."""
        features = super().encode(pixels)
        if self.training:
            for teacher in self._teacher:
                with torch.no_grad():
                    features |= {TEACHERS + name: value for name, value in teacher.encode(pixels).items()}
        return features

    def loss(self, item: Batch) -> Loss:  # type: ignore[override]  # its one stream is batches
        """The objective, mixed with the divergence from the teacher's answers where there is a teacher."""
        loss = super().loss(item)
        assert loss.logits is not None, "an objective returns the logits that it was given"
        for teacher in self._teacher:
            with torch.no_grad():
                inputs = {name: item.inputs[TEACHERS + name] for name in teacher.needs}
                teacher_logits = teacher.batch_logits(replace(item, inputs=inputs))
            student, target = (
                F.log_softmax(logits / self.temperature, dim=1) for logits in (loss.logits, teacher_logits)
            )
            divergence = F.kl_div(student, target, reduction="batchmean", log_target=True)
            value = (1 - self.distill) * loss.value + self.distill * self.temperature**2 * divergence
            loss = replace(loss, value=value)
        return loss
