"""P>M>F: Hu, Li, Stühmer, Kim and Hospedales, "Pushing the Limits of Simple Pipelines for Few-Shot Learning".

CVPR 2022, https://arxiv.org/abs/2204.07305
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..errors import UserError
from ..limits import NonNegative, Positive, Share, ZeroOrMore
from ..ops.diff_augment import diff_augment
from ..ops.groups import class_shots, mean_by_class
from ..registry import METHODS
from .protonet import Prototypical

Weights = dict[str, Tensor]  # of the backbone, by name


@METHODS.register("PMF")
class PMF(Prototypical):
    """Pre-trained network > meta-training as ProtoNet with cosines > fine-tuning of the whole network on each task.

    At test Adam lowers the cross-entropy of augmented supports against the prototypes of the plain ones, and gradients
    pass through both. The tuned network then answers by its prototypes. A task chooses its learning rate: the network
    is tuned on the first support of each class, and the others are its questions. Where there is one support a class
    the smallest rate is taken; as 0 is among them, a task of one shot is not tuned.

    Args:
        rates: of Adam, among which a task chooses; equal accuracies choose the smaller one. A single one is not chosen.
        steps: of Adam; 50 in the authors' code.
        augment: probability that a step augments the supports, see `diff_augment`.
        scale: of the cosines; 10 in the authors' code, which also learns a bias that no answer depends on.
        learn_scale: train it too, as in the authors' code.

    Batch-norm keeps the statistics of training (BACKBONE.ARGS.norm: running), so answers are inductive.
    `order_free` and `class_symmetric` hold on average only: the copies of supports are random.
    Differs from the authors' code: copies follow the task's seed.

    DINO ViT-B, 5-way, with images that hold the novel classes: miniImagenet 95.3 at 1 shot, CIFAR-FS 84.3.
    """

    needs = ("image",)
    train_needs = ("vector",)
    order_free = class_symmetric = False
    test_arguments = ("rates", "steps", "augment")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        rates: Sequence[NonNegative] = (0.0, 0.0001, 0.001, 0.01),
        steps: ZeroOrMore = 50,
        augment: Share = 0.9,
        scale: Positive = 10.0,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(backbone, info, metric="cosine", scale=scale, learn_scale=learn_scale)
        if not rates:
            raise UserError("METHOD.ARGS.rates is []; give one learning rate or more, each 0 or above.")
        if any(isinstance(m, nn.BatchNorm2d) and not m.track_running_stats for m in backbone.modules()):
            raise UserError(
                f"METHOD.NAME is {self.name}, which tunes a network image by image, but with BACKBONE.ARGS.norm batch "
                "the features depend on the images beside it; set BACKBONE.ARGS.norm to running."
            )
        self.rates, self.steps, self.augment = sorted(rates), steps, augment

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]; in training, of vectors, and otherwise of images, one task after another."""
        if self.training:
            return super().forward(task)
        return torch.cat([self._logits_alone(alone) for alone, _ in task.parts(task.tasks)])

    def _logits_alone(self, task: Task) -> Tensor:
        """Logits [1, Q, N] of one task, whose tuned network is not kept."""
        with torch.enable_grad():
            weights = self._tuned(task, self._rate(task))
        return self._answers(weights, task, task.query["image"])

    def _rate(self, task: Task) -> float:
        """The learning rate of one task."""
        shots = class_shots(task)
        if len(self.rates) == 1 or max(shots) == 1:
            return self.rates[0]
        first = torch.cat([torch.arange(k, device=task.support_y.device) == 0 for k in shots])
        images, labels = task.support["image"], task.support_y
        study = replace(task, support={"image": images[:, first]}, support_y=labels[:, first], shot=1)
        right = []
        for rate in self.rates:
            answers = self._answers(self._tuned(study, rate), study, images[:, ~first])
            right.append((answers.argmax(-1) == labels[:, ~first]).sum())
        return self.rates[int(torch.stack(right).argmax())]

    def _tuned(self, task: Task, rate: float) -> Weights:
        """The backbone's weights after Adam on the supports of one task."""
        weights = {name: p.detach().clone().requires_grad_() for name, p in self.backbone.named_parameters()}
        adam = torch.optim.Adam(weights.values(), rate)
        images, labels, n = task.support["image"][0], task.support_y[0], len(task.support_y[0])
        for step in range(self.steps if rate else 0):
            copies = diff_augment(images, task.seed[0], f"copies {step}", self.augment)
            vectors = self._vectors(weights, torch.cat([images, copies]))[None]
            logits = self.scale * self.similarity(vectors[:, n:], mean_by_class(vectors[:, :n], task))
            loss = F.cross_entropy(logits[0], labels)
            gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for weight, gradient in zip(weights.values(), gradients, strict=True):
                weight.grad = gradient
            adam.step()
        return weights

    def _answers(self, weights: Weights, task: Task, images: Tensor) -> Tensor:
        """Logits [1, n, N] of images [1, n, 3, H, W] under the prototypes of one task."""
        with torch.no_grad():
            prototypes = mean_by_class(self._vectors(weights, task.support["image"][0])[None], task)
            return self.scale * self.similarity(self._vectors(weights, images[0])[None], prototypes)

    def _vectors(self, weights: Weights, images: Tensor) -> Tensor:
        return functional_call(self.backbone, weights, (images,))["vector"]
