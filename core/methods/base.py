"""The contract of a method: all that code outside `core/methods` may rely on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from ..backbones.blocks import Backbone, fold
from ..episode import Batch, DataInfo, Features, Task
from ..errors import UserError
from ..objectives.base import CrossEntropy, Objective
from ..objectives.loss import Loss
from ..pictures import Picture

DECLARATIONS = (  # that a method which answers through others has from them
    *("needs", "train_needs", "streams", "cosine_logits", "base_from_means", "scores_base", "loss_over_base"),
    *("transductive", "reads_previous", "class_symmetric", "order_free", "frozen_backbone"),
)


class Method(nn.Module):
    """A few-shot method: how images become features, and how a task becomes logits.

    A new method is a subclass with `forward`, entered by `@METHODS.register("Name")`. Its keyword-only arguments of
    `__init__` are its hyper-parameters: names, defaults and types of METHOD.ARGS come from the signature.

    Declarations are class attributes, or set in `__init__`; they are read from the instance. Some decide what a
    method is handed and where it may be used:

        needs            features that `forward` reads: image | vector | map | parts, and semantics | base
        train_needs      what `encode` gives in training, where that is less or more than `needs`
        streams          what `loss` accepts: episodes | batches
        cosine_logits    logits / scale are cosines, so that objectives on angles may be used
        base_from_means  `base_logits` reads the base classes' means, which are therefore computed
        scores_base      `base_logits` and `forward` have one scale, so that a query can be classified among base and
                         novel classes
        loss_over_base   the loss of an episode is over all base classes, in their order
        transductive     a query's logits depend on the other queries, which are therefore never split into parts
        reads_previous   training reads the network of the stage before, which the method's own state does not contain

    Others are promises. They are reported and tested, and nothing depends on them:

        class_symmetric  permuting the classes permutes the logits
        order_free       permuting the supports of a class changes nothing
        frozen_backbone  no gradient reaches the backbone

    Two are about the arguments of the class:

        test_arguments   those that may be changed at test time
        renamed          {former name: present name} of arguments and parameters, for old YAMLs and checkpoints

    `scale` is what multiplies the similarities in the logits, a number or a learned tensor; 1 unless a method sets it
    or makes it a property. Objectives give their margins in its units.
    """

    name: ClassVar[str]
    needs: tuple[str, ...] = ("vector",)
    train_needs: tuple[str, ...] | None = None
    streams: tuple[str, ...] = ("episodes",)
    transductive = False
    class_symmetric = True
    order_free = True
    frozen_backbone = False
    cosine_logits = False
    base_from_means = True
    scores_base = True
    loss_over_base = False
    reads_previous = False
    test_arguments: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[Mapping[str, str]] = {}
    scale: float | Tensor

    def __init__(self, backbone: Backbone, info: DataInfo) -> None:
        super().__init__()
        self.backbone = backbone
        self.objective: Objective = CrossEntropy()
        if not hasattr(type(self), "scale"):  # a property of some methods
            self.scale = 1.0

    def declare_as(self, other: Method) -> None:
        """Take over the declarations of another method, through which this one answers."""
        for name in DECLARATIONS:
            setattr(self, name, getattr(other, name))

    @property
    def follows_progress(self) -> bool:
        """Whether the loss depends on the share of the stage that is done, and so on the stage's number of epochs."""
        return self.objective.follows_progress

    def needed(self, training: bool) -> tuple[str, ...]:
        """Names of the features that `encode` returns: `needs`, or in training `train_needs` where it is set."""
        return self.needs if not training or self.train_needs is None else self.train_needs

    def encode(self, pixels: Features) -> Features:
        """The features that `needed` names, from `image` [..., 3, H, W] and `crops`; in eval mode, image by image."""
        needs = self.needed(self.training)
        features = {"image": pixels["image"]} if "image" in needs else {}
        if "vector" in needs or "map" in needs:
            features |= _apply(self.backbone, pixels["image"])
        if "parts" in needs:
            features["parts"] = _apply(self.backbone, pixels["crops"])["vector"]
        return {name: features[name] for name in needs if name in features}

    @property
    def encodes_by_backbone(self) -> bool:
        """Whether in eval mode `encode` gives what the backbone gives, so that methods may share frozen features.

        Default: where a method does not override `encode`.
        """
        return type(self).encode is Method.encode

    def for_evaluation(self) -> Self:
        """A copy in eval mode, with batch-norms folded into convolutions.

        A method that reads images may train its network on a task, which goes another way from folded weights: its
        copy is not folded.
        """
        return copy.deepcopy(self).eval() if "image" in self.needs else fold(self)

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N] of an encoded task."""
        raise NotImplementedError

    def answer(self, task: Task) -> Tensor:
        """The logits of `forward`, which is not told the labels of the queries: `query_y` is -1 there.

        Raises:
            UserError: where a new method returns something else.
        """
        logits = self(replace(task, query_y=torch.full_like(task.query_y, -1)))
        self.refuse_shape(logits, task.query_y, task.way)
        return logits

    def base_logits(self, task: Task) -> Tensor:
        """Logits [T, Q, n_base] of base classes on the scale of `forward` (default: their means as 1-shot supports).

        Raises:
            UserError: where the method has no features whose mean could stand for a class.
        """
        if "image" in self.needs:
            raise UserError(
                f"{self.name} adapts its network to the classes of a task, so it cannot score base classes; "
                "evaluate it without them."
            )
        assert task.base is not None, "the evaluator gives the base means"
        n_base = len(next(iter(task.base.values())))
        labels = torch.arange(n_base, device=task.support_y.device).expand(task.tasks, -1)
        means = {name: value.expand(task.tasks, *value.shape) for name, value in task.base.items()}
        return self(replace(task, support=means, support_y=labels, class_ids=labels, way=n_base, shot=1))

    def batch_logits(self, batch: Batch) -> Tensor:
        """Logits [n, n_base] of an encoded batch, for methods with "batches" among their streams."""
        raise NotImplementedError

    def loss(self, item: Task | Batch) -> Loss:
        """The objective on an encoded task or batch; a method with further terms adds them to its value."""
        if isinstance(item, Batch):
            return self.judge(self.batch_logits(item), item.labels, item)
        return self.judge(self.answer(item), item.query_y, item)

    def judge(self, logits: Tensor, y: Tensor, item: Task | Batch) -> Loss:
        """The objective on logits [..., N] for right classes y [...]; the item tells word vectors and progress.

        Raises:
            UserError: where a new method or objective returns something else.
        """
        self.refuse_shape(logits, y)
        loss = self.objective(logits, y, self.scale, item.semantics, item.progress)
        if not isinstance(loss, Loss):
            kind = type(self.objective).__name__
            raise UserError(f"The objective {kind} returns a {type(loss).__name__}, but must return a Loss.")
        return loss

    def refuse_shape(self, logits: Tensor, y: Tensor, classes: int = 0) -> None:
        """Refuse logits that are not numbers [..., N] where right classes are [...]; `classes` is N, 0 = any."""
        expected = ", ".join(map(str, [*y.shape, classes or "N"]))
        if not isinstance(logits, Tensor) or not logits.is_floating_point():
            kind = f"logits of type {logits.dtype}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            expected = f"a tensor of floats, [{expected}]"
        elif logits.shape[:-1] != y.shape or classes not in (0, logits.shape[-1]):
            kind, expected = f"logits of shape {list(logits.shape)}", f"[{expected}]"
        else:
            return
        raise UserError(f"The method {type(self).__name__} returns {kind}, but must return {expected}.")

    def start_from(self, previous: Method) -> str:
        """Take over what the previous stage learned (default: its backbone); returns a line for the log."""
        return load_matching(self.backbone, previous.backbone.state_dict(), "the previous stage's backbone")

    def special_groups(self, lr: float) -> list[dict]:
        """Optimiser groups with another learning rate or weight decay than the rest (default: none)."""
        return []

    def param_groups(self, lr: float) -> list[dict]:
        """All optimiser groups: parameters at `lr`, then `special_groups`, then the groups of the objective.

        Raises:
            UserError: where a group of a new method or objective has no parameters or no rate.
        """
        groups = [*self.special_groups(lr), *self.objective.param_groups(lr)]
        missing = [key for group in groups for key in ("params", "lr") if key not in group]
        if missing:
            raise UserError(
                f"An optimiser group of the method {type(self).__name__}, or of its objective "
                f"{type(self.objective).__name__}, has no {missing[0]}; give each group params and lr."
            )
        for group in groups:  # PyTorch takes one tensor, or any iterable of them
            params = group["params"]
            group["params"] = [params] if isinstance(params, Tensor) else list(params)
        grouped = {id(p) for group in groups for p in group["params"]}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in grouped]
        return [{"params": rest, "lr": lr}, *groups]

    def scalars(self, progress: float = 1.0) -> dict[str, float]:
        """Numbers read from the parameters for the training curves (default: the objective's).

        What is measured in a step, such as a mean weight, is a `Scalar` of its `Loss` instead.
        """
        return self.objective.scalars(self.scale, progress)

    def pictures(self, task: Task) -> list[Picture]:
        """What can be shown of an encoded task, T = 1, with the queries that are looked at (default: nothing).

        It is called in eval mode and without gradients.
        """
        return []


def _apply(backbone: Backbone, images: Tensor) -> Features:
    """A backbone's features of images, or of stored features, with any leading axes."""
    leading = images.shape[: -backbone.input_dims]
    flat = images.flatten(0, -backbone.input_dims - 1)
    return {name: value.unflatten(0, leading) for name, value in backbone(flat).items()}


def load_matching(module: nn.Module, state: dict[str, Tensor], source: str) -> str:
    """Load the entries of `state` that fit, and say how many did.

    Raises:
        UserError: where no weight fits.
    """
    entries = module.state_dict()
    matched = {name: v for name, v in state.items() if name in entries and entries[name].shape == v.shape}
    counts = f"{len(matched)} matched, {len(entries) - len(matched)} missing, {len(state) - len(matched)} unexpected"
    if entries and not any(value.dim() for value in matched.values()):  # counters of batch-norm fit every network
        raise UserError(f"{source} does not fit this backbone ({counts}); use the BACKBONE it was trained with.")
    with torch.no_grad():
        module.load_state_dict(entries | matched)
    return f"{source}: {counts}"
