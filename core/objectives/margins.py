"""Additive margins: Li et al., "Boosting Few-Shot Learning with Adaptive Margin Loss", CVPR 2020.

All are one cross-entropy, CE(z + M[y], y): the margin M[y, k] is added to the logit z_k of each wrong class k of a
query of class y (eq. 1), in units of the logits, whatever scale is in them. Training alone has margins.

Only the loss sees the margins, and its slope in each is positive: dL/dM[y, k] is the probability of k. A margin
that is learned by this loss therefore falls, as far as the form of M allows; see docs/margins.md.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..limits import Count, NonNegative
from ..pictures import ClassMatrix, ClassPicture
from ..registry import OBJECTIVES
from .base import Objective, cross_entropy
from .loss import Loss, Scalar


class MarginLoss(Objective):
    """CE(z + M[y], y); a subclass says what M is.

    The training curves show the mean, least and largest margin of an epoch.
    """

    def margins(self, ways: int, class_vectors: Tensor | None) -> Tensor:
        """M without its diagonal, [..., N, N - 1], of `ways` classes with vectors [..., N, D]."""
        raise NotImplementedError

    def forward(
        self,
        logits: Tensor,
        y: Tensor,
        scale: float | Tensor = 1.0,
        class_vectors: Tensor | None = None,
        progress: float = 1.0,
    ) -> Loss:
        ways = logits.shape[-1]
        rivals = self.margins(ways, class_vectors).to(logits)
        margins = with_diagonal(rivals).expand(*y.shape[:-1], ways, ways)
        value = cross_entropy(logits + margins.take_along_dim(y[..., None], -2), y)
        detached = rivals.detach()
        scalars = {
            "margin_mean": Scalar(detached.mean(), "mean"),
            "margin_min": Scalar(detached.amin(), "min"),
            "margin_max": Scalar(detached.amax(), "max"),
        }
        return Loss(value, logits, y, scalars)


@OBJECTIVES.register("naml")
class NaiveMargin(MarginLoss):
    """NAML: one margin for every pair of classes (eq. 2).

    The paper does not give its margin. Equal to taking it from the target's logit, hence to CosFace on cosines, where
    this margin is CosFace's times the scale.

    Args:
        margin: added to the logit of each wrong class.
    """

    def __init__(self, *, margin: float = 0.5) -> None:
        super().__init__()
        self.margin = margin

    def margins(self, ways: int, class_vectors: Tensor | None) -> Tensor:
        """The same margin everywhere."""
        return torch.full((ways, ways - 1), self.margin, dtype=torch.float64)


class SemanticMargin(MarginLoss):
    """A margin from the similarity of class names, the cosine of their word vectors.

    Args:
        learn: whether alpha and beta are fixed, or learned jointly with the network (joint), by the margin loss.
        rate: learning rate of the objective's parameters, as a multiple of the stage's.
    """

    needs_semantics = True

    def __init__(self, *, learn: Literal["fixed", "joint"] = "fixed", rate: NonNegative = 1.0) -> None:
        super().__init__()
        self.joint, self.rate = learn == "joint", rate

    def margins(self, ways: int, class_vectors: Tensor | None) -> Tensor:
        """Margins from the similarities of each class to the others."""
        assert class_vectors is not None, "`needs_semantics` asks for them"
        unit = F.normalize(class_vectors, dim=-1)
        return self.from_similarities(without_diagonal(unit @ unit.transpose(-1, -2)))

    def from_similarities(self, rows: Tensor) -> Tensor:
        """Margins [..., N, N - 1] from similarities to the other classes, of the same shape."""
        raise NotImplementedError

    def pictures(self, class_vectors: Tensor) -> list[ClassPicture]:
        """The margin matrix M of these classes."""
        margins = with_diagonal(self.margins(len(class_vectors), class_vectors[None])[0]).detach()
        note = (
            "What training adds to the logit of each wrong class (column) for a query of each class (row). Similar "
            "names get the larger margins where the method works as its paper says."
        )
        return [ClassMatrix("Margins between classes", note, margins.cpu().numpy())]

    def param_groups(self, lr: float) -> list[dict]:
        """No weight decay, and `rate` times the learning rate of the stage."""
        return super().param_groups(lr * self.rate)


@OBJECTIVES.register("craml")
class ClassRelevantMargin(SemanticMargin):
    """CRAML: alpha * similarity(y, k) + beta (eq. 3 and 4).

    Args:
        alpha, beta: where they start, or stay. The paper does not give them.
        learn: fixed, or joint as in the paper. Then nothing bounds the margins from below: beta falls without end.
        rate: see `SemanticMargin`.
    """

    def __init__(self, *, alpha: float = 1.0, beta: float = 0.5, **more: Any) -> None:
        super().__init__(**more)
        self.line = nn.Parameter(torch.tensor([alpha, beta]), requires_grad=self.joint)

    def from_similarities(self, rows: Tensor) -> Tensor:
        """alpha * similarity + beta."""
        alpha, beta = self.line
        return alpha * rows + beta

    def scalars(self, scale: float | Tensor = 1.0, progress: float = 1.0) -> dict[str, float]:
        alpha, beta = self.line.tolist()
        return {"alpha": alpha, "beta": beta}


@OBJECTIVES.register("traml")
class TaskRelevantMargin(SemanticMargin):
    """TRAML: a generator G makes the margins of class y from its similarities to the task's other classes (eq. 5, 6).

    G is FC, batch-norm, ReLU, FC, batch-norm, ReLU (section 4.1.2), on the N - 1 similarities of each row; the rows of
    all tasks of a step pass it together, and batch-norm sees T * N of them. Its size is that of the training task, so
    training has one way; at test G is not used, and the way is free. In mini-batches of base images the task is all
    base classes.

    Args:
        alpha, beta: gain and offset of the last batch-norm, so that margins start as max(0, alpha * x + beta) with x
            of mean 0 and variance 1.
        learn: G is always learned. fixed keeps alpha and beta: mean and spread of the margins then stay, and G only
            decides which rivals get the larger ones. joint learns them too, for each slot, as in the paper; there the
            margins can shrink to 0, where the ReLU keeps them.
        hidden: width of the hidden layer; the paper does not give it.
        order: of G's inputs: class, the order in the task, or sorted by similarity, which makes the margins
            equivariant to permutations of the classes (but for ties).
        rate: see `SemanticMargin`.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
        hidden: Count = 32,
        order: Literal["class", "sorted"] = "class",
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.alpha, self.beta, self.hidden, self.sorted = alpha, beta, hidden, order == "sorted"

    def prepare(self, classes: int) -> None:
        """Make G for tasks of so many classes."""
        rivals, last = classes - 1, nn.BatchNorm1d(classes - 1).requires_grad_(self.joint)
        nn.init.constant_(last.weight, self.alpha)
        nn.init.constant_(last.bias, self.beta)
        self.generator = nn.Sequential(
            nn.Linear(rivals, self.hidden, bias=False),
            nn.BatchNorm1d(self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, rivals, bias=False),
            last,
            nn.ReLU(),
        )

    def from_similarities(self, rows: Tensor) -> Tensor:
        """Every row through G."""
        first = self.generator[0]
        assert isinstance(first, nn.Linear)
        built = first.in_features
        if rows.shape[-1] != built:
            raise UserError(
                f"OBJECTIVE.NAME is traml, whose generator was built for {built + 1} classes, but a training step has "
                f"{rows.shape[-1] + 1}; train with one TASK.TRAIN.WAY, on one kind of STREAM."
            )
        if not self.sorted:
            return self._generate(rows)
        rows, order = rows.sort(dim=-1, descending=True, stable=True)
        return self._generate(rows).gather(-1, order.argsort(-1))

    def _generate(self, rows: Tensor) -> Tensor:
        return self.generator(rows.flatten(0, -2)).view(rows.shape)

    def scalars(self, scale: float | Tensor = 1.0, progress: float = 1.0) -> dict[str, float]:
        """The means of alpha and beta over the slots."""
        last = self.generator[4]
        assert isinstance(last, nn.BatchNorm1d)
        return {"alpha": last.weight.mean().item(), "beta": last.bias.mean().item()}


def without_diagonal(square: Tensor) -> Tensor:
    """Leave out the diagonal: [..., N, N] to [..., N, N - 1], each row in order."""
    ways = square.shape[-1]
    flat = square.flatten(-2)[..., 1:].unflatten(-1, (ways - 1, ways + 1))
    return flat[..., :-1].flatten(-2).unflatten(-1, (ways, ways - 1))


def with_diagonal(rivals: Tensor) -> Tensor:
    """Put a diagonal of zeros in: [..., N, N - 1] to [..., N, N], the inverse of `without_diagonal`."""
    ways = rivals.shape[-2]
    flat = F.pad(rivals.flatten(-2).unflatten(-1, (ways - 1, ways)), (0, 1))
    return F.pad(flat.flatten(-2), (1, 0)).unflatten(-1, (ways, ways))
