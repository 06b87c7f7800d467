"""Matching Networks: Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra, NeurIPS 2016.

https://arxiv.org/abs/1606.04080
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, cat, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Count, Positive
from ..ops.distances import cosine
from ..registry import METHODS
from .base import Method


@METHODS.register("MatchingNet")
class MatchingNet(Method):
    """Attention over the shots: p(n | q) = sum of a(q, s_i) over the supports of class n.

    a(q, s_i) = softmax_i(scale * cos(f(q), g(s_i))) over all supports (eqs. 1 and 2). Logits are log p before it is
    normalised, log sum_i exp(scale * cos) over a class, so their softmax is p itself, and classes that are scored
    apart can be put side by side. Classes need not have equally many shots.

    Args:
        scale: of the cosine; the paper has none, with which little is learned. Later code takes 10 to 100.
        fce: full context embeddings. g(s_i) = g'(s_i) + forward_i + backward_i of an LSTM in both directions over
            the supports, and f(q) is the state after `steps` steps of an LSTM that starts at f'(q) and reads the
            supports with attention softmax_i(h . g(s_i)) (appendices A.1 and A.2).
        steps: of the query's LSTM, K in the paper.

    With `fce` the answer depends on the order of the supports, which is the task's: class by class. Hence neither
    `order_free` nor `class_symmetric` holds then; the paper has the same defect.
    Differs from later code, which adds 1e-6 to p before the logarithm, and in one version clips the cosine at 0: we
    sum in the log domain. FEAT and M2L call the cosine to the class mean by this name: see `CosineProtoNet`.

    Shapes: vectors [T, n, D], cosines [T, Q, n_s], logits [T, Q, N].
    """

    def __init__(
        self, backbone: Backbone, info: DataInfo, *, scale: Positive = 10.0, fce: bool = False, steps: Count = 5
    ) -> None:
        super().__init__(backbone, info)
        self.sharpness, self.fce, self.steps = scale, fce, steps  # logits are log probabilities: their own scale is 1
        self.order_free = self.class_symmetric = not fce
        if fce:
            width = backbone.vector_dim
            self.over_supports = nn.LSTM(width, width, batch_first=True, bidirectional=True)
            self.over_query = nn.LSTMCell(2 * width, width)

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        query, support = task.query["vector"], task.support["vector"]
        if self.fce:
            support = self._supports_in_context(support)
            query = self._queries_in_context(query, support)
        similarity = self.sharpness * cosine(query, support)
        member = F.one_hot(task.support_y, task.way).transpose(1, 2).bool()
        return similarity[:, :, None].masked_fill(~member[:, None], -float("inf")).logsumexp(3)

    def _supports_in_context(self, support: Tensor) -> Tensor:
        """g of supports [T, n_s, D], in the same shape."""
        forward, backward = self.over_supports(support)[0].chunk(2, dim=2)
        return support + forward + backward

    def _queries_in_context(self, query: Tensor, support: Tensor) -> Tensor:
        """f of queries [T, Q, D] given supports [T, n_s, D], in the shape of the queries."""
        plain = query.flatten(0, 1)
        hidden, cell = plain, plain.new_zeros(plain.shape)
        for _ in range(self.steps):
            attention = (hidden.view_as(query) @ support.transpose(1, 2)).softmax(2)
            read = (attention @ support).flatten(0, 1)
            hidden, cell = self.over_query(cat([plain, read], 1), (hidden, cell))
            hidden = hidden + plain
        return hidden.view_as(query)
