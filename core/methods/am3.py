"""AM3: Xing, Rostamzadeh, Oreshkin and Pinheiro, "Adaptive Cross-Modal Few-shot Learning", NeurIPS 2019.

https://arxiv.org/abs/1902.07104
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..errors import UserError
from ..layers.scaled_normal import start_scaled_normal
from ..limits import NonNegative, ShareBelowOne, ZeroOrMore
from ..objectives.loss import Loss, Scalar
from ..ops.groups import class_mean
from ..pictures import ClassValues, Picture
from ..registry import METHODS
from .protonet import Prototypical

INPUTS = ("word", "proto", "query")


@METHODS.register("AM3")
class AM3(Prototypical):
    """Prototypes between what a class looks like and what it is called: lambda * p + (1 - lambda) * g(e) (eq. 5).

    p is the class's mean support vector, e its word vector, lambda = sigmoid(h(.)) its weight; g and h are networks of
    one hidden layer. lambda = 1 is ProtoNet. Classes at test need word vectors too.

    Args:
        metric: euclidean in the authors' code; the paper's text has the squared distance.
        scale, learn_scale: see `Prototypical`.
        inputs: what h reads: word, the transformed g(e) (the authors' commands), proto, query, or several, such as
            word+proto; with query every query weighs the classes anew.
        hidden: width of the hidden layers; 0 = none, g and h are linear.
        drop_rate: of the hidden units' dropout in training; the authors drop 0.7.
        use_bn: batch-norm behind every layer of g and h, in place of their biases, as the authors' code seems to have
            it; in a small task it normalises over few classes.
        word_decay: weight decay of g and h.

    g and h start as in the authors' code, see `start_scaled_normal`.

    Differs from the authors' code: biases of g and h are decayed too.

    miniImageNet, ResNet-12, 5-way: 65.21 +- 0.49 at 1 shot, 75.20 +- 0.36 at 5 shots (TRAML's table 1).
    """

    needs = ("vector", "semantics")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        metric: Literal["squared", "euclidean", "cosine"] = "euclidean",
        inputs: str = "word",
        hidden: ZeroOrMore = 300,
        drop_rate: ShareBelowOne = 0.7,
        use_bn: bool = False,
        word_decay: NonNegative = 1e-3,
        **scaling: Any,
    ) -> None:
        super().__init__(backbone, info, metric=metric, **scaling)
        self.inputs = inputs.split("+")
        if not set(self.inputs) <= set(INPUTS):
            raise UserError(f"METHOD.ARGS.inputs is {inputs!r}; join some of {', '.join(INPUTS)} by +.")
        if not info.word_dim:
            raise UserError(
                "AM3 reads word vectors, and the training classes have none; name a file of them in DATASET.SEMANTICS."
            )
        width = backbone.vector_dim
        self.transform = _mlp(info.word_dim, hidden, width, drop_rate, use_bn)
        self.weigh = _mlp(len(self.inputs) * width, hidden, 1, drop_rate, use_bn)
        start_scaled_normal(self.transform)
        start_scaled_normal(self.weigh)
        self.word_decay = word_decay
        self.register_buffer("base_words", info.semantics, persistent=False)

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        return self.weighed_logits(task)[0]

    def loss(self, item: Task) -> Loss:  # type: ignore[override]  # its one stream is episodes
        """The objective; in the curves, `lambda` is the mean weight of the visual prototypes in the last step."""
        logits, weight = self.weighed_logits(item)
        loss = self.judge(logits, item.query_y, item)
        return replace(loss, scalars={**loss.scalars, "lambda": Scalar(weight.detach().mean(), "last")})

    def weighed_logits(self, task: Task) -> tuple[Tensor, Tensor]:
        """Logits [T, Q, N] and the weights lambda: [T, N, 1], or [T * Q, N, 1] where every query has its own."""
        proto, query = class_mean(task, "vector"), task.query["vector"]
        assert task.semantics is not None, "`needs` names them"
        word = self._rows(self.transform, task.semantics.to(proto))
        if "query" not in self.inputs:
            prototypes, weight = self._mix(word, proto)
            return self.scale * self.similarity(query, prototypes), weight
        # Each query has prototypes of its own: as many tasks of one query.
        query = query.flatten(0, 1)[:, None]
        word, proto = (value.repeat_interleave(task.query_y.shape[1], 0) for value in (word, proto))
        prototypes, weight = self._mix(word, proto, query)
        logits = self.scale * self.similarity(query, prototypes)
        return logits.view(*task.query_y.shape, task.way), weight

    def pictures(self, task: Task) -> list[Picture]:
        """The weight lambda of each class's images against its name, its mean over the queries where each has one."""
        weight = self.weighed_logits(task)[1].view(-1, task.way).mean(0)
        note = "Share of the images in a class's prototype (λ); the rest is made of the class's name."
        return [ClassValues("Images or words", note, weight.cpu().numpy())]

    def base_logits(self, task: Task) -> Tensor:
        """Those of the base classes' means and words, [T, Q, n_base]."""
        return super().base_logits(replace(task, semantics=self.base_words.expand(task.tasks, -1, -1)))

    def _mix(self, word: Tensor, proto: Tensor, query: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix prototypes [T, N, C] of words and images; returns the mixture and the weights of the images."""
        vectors = {"word": word, "proto": proto, "query": None if query is None else query.expand_as(proto)}
        weight = self._rows(self.weigh, torch.cat([vectors[name] for name in self.inputs], dim=-1)).sigmoid()
        return weight * proto + (1 - weight) * word, weight

    @staticmethod
    def _rows(network: nn.Module, values: Tensor) -> Tensor:
        """A network on the last axis; batch-norm sees the classes of all tasks."""
        return network(values.flatten(0, -2)).unflatten(0, values.shape[:-1])

    def special_groups(self, lr: float) -> list[dict]:
        """g and h have their own weight decay."""
        words = [*self.transform.parameters(), *self.weigh.parameters()]
        return [{"params": words, "lr": lr, "weight_decay": self.word_decay}]


def _mlp(inputs: int, hidden: int, outputs: int, drop_rate: float, use_bn: bool) -> nn.Sequential:
    """A network from [n, inputs] to [n, outputs]; batch-norm has the constants of the authors' TensorFlow code."""

    def layer(start: int, end: int) -> list[nn.Module]:
        norm = [nn.BatchNorm1d(end, eps=1e-3, momentum=0.05)] if use_bn else []
        return [nn.Linear(start, end, bias=not use_bn), *norm]

    if not hidden:
        return nn.Sequential(*layer(inputs, outputs))
    return nn.Sequential(*layer(inputs, hidden), nn.ReLU(), nn.Dropout(drop_rate), *layer(hidden, outputs))
