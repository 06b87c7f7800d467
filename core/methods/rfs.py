"""RFS: Tian, Wang, Krishnan, Tenenbaum and Isola, "Rethinking Few-shot Image Classification", ECCV 2020.

https://arxiv.org/abs/2003.11539
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.backbones.blocks import Backbone
from core.episode import Batch, DataInfo, Task
from core.methods.base_training import BaseTrained
from core.ops.logistic import fit_logistic
from core.registry import METHODS


@METHODS.register("RFS")
class RFS(BaseTrained):
    """A linear classifier over the base classes; logistic regression on normalised features in each episode.

    A stage of RFS after another stage of RFS is self-distillation (the paper's eq. 8, one generation): a new network
    of the same form learns from the labels and from the frozen one before it,
    (1 - distill) * CE + distill * T^2 * KL(teacher || student) at temperature T.

    Args:
        inverse_penalty: C of the logistic regression.
        augmented: the supports of an episode are their augmented copies (DATASET.VIEWS: [whole, aug-5]) in place of
            the images themselves, as for the authors' published numbers; queries stay as they are.
        distill: weight of the teacher in a distillation stage.
        temperature: of both softmaxes there.

    Differs from the authors' code: Newton's method over all tasks at once in place of scikit-learn's L-BFGS task by
    task (the same minimum); copies are drawn once for an image, not anew for each episode.

    CIFAR-FS, Conv4, 5-way: 62.7 +- 0.8 at 1 shot, 78.7 +- 0.5 at 5; distilled 63.8 +- 0.8 and 79.5 +- 0.5.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        inverse_penalty: float = 1.0,
        augmented: bool = False,
        distill: float = 0.5,
        temperature: float = 4.0,
    ) -> None:
        super().__init__(backbone, info, nn.Linear(backbone.vector_dim, info.n_base))
        self.inverse_penalty, self.distill, self.temperature = inverse_penalty, distill, temperature
        self.needs = ("vector", "parts") if augmented else ("vector",)
        self.train_needs = ("vector",)
        self._teacher: list[RFS] = []  # in a list, so that it is no part of this network's state

    def start_from(self, previous: nn.Module) -> str:
        """Keep an RFS as teacher and start anew; take the backbone of anything else."""
        if not isinstance(previous, RFS):
            return super().start_from(previous)
        self._teacher = [copy.deepcopy(previous).eval().requires_grad_(False)]
        self.train_needs = ("vector", "image")  # the teacher looks at pixels
        return "a new initialisation, with the previous stage as its teacher"

    def loss(self, item: Task | Batch) -> Tensor:
        """Cross-entropy, mixed with the teacher's answers where there is one."""
        loss = super().loss(item)
        for teacher in self._teacher:
            with torch.no_grad():
                taught = teacher.classifier(teacher.backbone(item.inputs["image"])["vector"])
            soft = [F.log_softmax(logits / self.temperature, dim=1) for logits in (self.batch_logits(item), taught)]
            divergence = F.kl_div(*soft, reduction="batchmean", log_target=True)
            loss = (1 - self.distill) * loss + self.distill * self.temperature**2 * divergence
        return loss

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        support, labels = task.support["vector"], task.support_y
        if "parts" in self.needs:
            copies = task.support["parts"]  # [T, n_s, V, C]
            support, labels = copies.flatten(1, 2), labels.repeat_interleave(copies.shape[2], dim=1)
        head = fit_logistic(F.normalize(support, dim=-1), labels, task.way, self.inverse_penalty)
        return head.logits(F.normalize(task.query["vector"], dim=-1))
