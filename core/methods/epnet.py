"""EPNet: Rodriguez, Laradji, Drouin and Lacoste, "Embedding Propagation: Smoother Manifold for Few-Shot
Classification", ECCV 2020.

https://arxiv.org/abs/2003.04151
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import Batch, DataInfo, Task
from ..limits import NonNegative, ShareBelowOne
from ..objectives.loss import Loss
from ..ops.propagation import gaussian_weights, propagator
from ..ops.span import Span
from ..registry import METHODS
from .base import Method, load_matching
from .transductive import refuse_one_query

ADDED = 1e-4  # to the sums of weights
LEAST = 1e-6  # added to a share whose logarithm is taken


@METHODS.register("EPNet")
class EPNet(Method):
    """Vectors move towards those near them in the task, (I - alpha S)^-1 z (eq. 3), and labels spread over the result.

    Logits are log(share + 1e-6) of the classes in the label propagation from the supports, whose rows sum to 1. The
    graph joins all supports and queries of a task, so it is transductive, and balanced queries make it look better.
    The propagation is a layer in training, too. A first stage trains a linear classifier of the base classes on the
    propagated vectors of each batch (METHOD: EPNet, STREAM: batches). In episodes the classifier also sees every image
    of the task, with its vector as it is.

    Args:
        alpha: of the vectors, how far they move, 0 to below 1.
        label_alpha: of the labels.
        base_weight: of the classifier's loss in episodes; the authors choose from 0, 0.1 and 0.5.

    Differs from the authors' code: the first stage does not also tell rotations of an image; learning rates follow a
    schedule, not the validation; pairs of equal vectors count in the spread of the distances.
    """

    streams = ("batches", "episodes")
    transductive = True
    scores_base = False  # queries of base classes would take part in the graph of a task
    test_arguments = ("alpha", "label_alpha")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        alpha: ShareBelowOne = 0.5,
        label_alpha: ShareBelowOne = 0.2,
        base_weight: NonNegative = 0.1,
    ) -> None:
        super().__init__(backbone, info)
        self.alpha, self.label_alpha, self.base_weight = alpha, label_alpha, base_weight
        self.classifier = nn.Linear(backbone.vector_dim, info.n_base)

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N] of all queries together.

        Raises:
            UserError: where a task has one query, which has no others to learn from.
        """
        support, query = task.support["vector"], task.query["vector"]
        refuse_one_query(self.name, query)
        span, split = Span.of(support, query)[0].double(), support.shape[1]
        moves = self._moves(span)
        moved = Span(moves @ span.gram @ moves.transpose(1, 2))
        spreading = F.normalize(propagator(_graph(moved), self.label_alpha, ADDED), p=1, dim=2)
        shares = spreading[:, split:, :split] @ F.one_hot(task.support_y, task.way).double()
        return (shares + LEAST).log().to(query.dtype)

    def batch_logits(self, batch: Batch) -> Tensor:
        """Base-class logits [n, n_base] of the propagated vectors of a batch."""
        vectors = batch.inputs["vector"]
        moves = self._moves(Span((vectors @ vectors.T)[None]).double())
        return self.classifier(moves[0].to(vectors.dtype) @ vectors)

    def loss(self, item: Task | Batch) -> Loss:
        """The objective; in episodes also the cross-entropy of all images among the base classes."""
        loss = super().loss(item)
        if isinstance(item, Batch) or not self.base_weight:
            return loss
        vectors = torch.cat([item.support["vector"], item.query["vector"]], dim=1)
        classes = item.class_ids.gather(1, torch.cat([item.support_y, item.query_y], dim=1))
        of_base = F.cross_entropy(self.classifier(vectors).flatten(0, 1), classes.flatten())
        return replace(loss, value=loss.value + self.base_weight * of_base)

    def start_from(self, previous: Method) -> str:
        """All that a stage of EPNet learned; of any other method the backbone."""
        if isinstance(previous, EPNet):
            return load_matching(self, previous.state_dict(), "the stage before")
        return super().start_from(previous)

    def _moves(self, span: Span) -> Tensor:
        """The rows [T, n, n] of the moved vectors."""
        return propagator(_graph(span), self.alpha, ADDED)


def _graph(span: Span) -> Tensor:
    """Weights [T, n, n] between the vectors. The authors' unit of distance, the root of the width, cancels in them."""
    return gaussian_weights(span.squared_between_all())
