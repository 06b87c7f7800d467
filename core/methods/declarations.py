"""What a new method may get wrong about itself: each mistake is one sentence, as soon as it can be seen."""

from __future__ import annotations

from typing import get_args

from torch import Tensor

from ..episode import Batch, Features, Task
from ..errors import UserError
from ..names import not_one_of
from ..objectives.loss import Loss, Over, Scalar
from .base import Method

OF_IMAGES = ("image", "vector", "map", "parts")
OF_CLASSES = ("semantics", "base")
STREAMS = ("episodes", "batches")
PARENTS = "backbone, info"  # what the `__init__` of Method takes


def without_parent(kind: type, arguments: str) -> UserError:
    """The error of a class whose `__init__` does not call that of its base class, which takes these arguments."""
    return UserError(
        f"The __init__ of {kind.__name__} does not call super().__init__({arguments}); call it there, before anything "
        "is assigned to self."
    )


def refuse_declarations(method: Method) -> None:
    """Refuse a method without backbone or `forward`, and declarations that name what there is not.

    Features may have other names where the method encodes by itself.

    Raises:
        UserError: with the method and the first such declaration.
    """
    kind = type(method)
    if not hasattr(method, "backbone"):
        raise without_parent(kind, PARENTS)
    if kind.forward is Method.forward:
        raise UserError(
            f"The method {kind.__name__} has no forward; write forward(task), which gives logits [T, Q, N]."
        )
    features = (*OF_IMAGES, *OF_CLASSES) if kind.encode is Method.encode else ()
    _refuse_names(method, "needs", features)
    if method.train_needs is not None:
        _refuse_names(method, "train_needs", features)
    _refuse_names(method, "streams", STREAMS)
    if not set(method.needs) - set(OF_CLASSES):
        raise UserError(f"The method {kind.__name__} needs no feature of images; name one in needs, e.g. 'vector'.")
    learns_alike = kind.batch_logits is Method.batch_logits and kind.loss is Method.loss
    if "batches" in method.streams and learns_alike:
        raise UserError(
            f"The method {kind.__name__} has batches among its streams, but no batch_logits; write "
            "batch_logits(batch), which gives logits [n, n_base], or leave batches out."
        )


def _refuse_names(method: Method, declaration: str, words: tuple[str, ...]) -> None:
    """Refuse a declaration that is no tuple of some of these words; without words, of any."""
    names, kind = getattr(method, declaration), type(method).__name__
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        single = names if isinstance(names, str) else (words or ("vector",))[0]
        raise UserError(
            f"`{declaration}` of the method {kind} is {names!r}, which is no tuple of names; write ({single!r},) for a "
            "single one."
        )
    unknown = [name for name in names if words and name not in words]
    if unknown:
        raise UserError(not_one_of(f"A name in {declaration} of the method {kind}", unknown[0], words))


def refuse_unencoded(method: Method, features: Features) -> None:
    """Refuse features, as a method in eval mode encodes them, that lack what its `forward` needs."""
    missing = [name for name in method.needs if name not in features and name not in OF_CLASSES]
    if missing:
        raise UserError(
            f"The method {type(method).__name__} needs {missing[0]!r}, but its encode gives "
            f"{', '.join(features) or 'nothing'}; have it give {missing[0]!r}, or correct needs."
        )


def loss_of(method: Method, item: Task | Batch) -> Loss:
    """The method's loss on an encoded task or batch.

    Raises:
        UserError: where a new method returns something else than a Loss, or measures what cannot be reduced.
    """
    loss, kind = method.loss(item), type(method).__name__
    if not isinstance(loss, Loss):
        raise UserError(f"The loss of the method {kind} returns a {type(loss).__name__}, but must return a Loss.")
    if loss.value.numel() != 1:
        raise UserError(f"The loss of the method {kind} has a value of shape {list(loss.value.shape)}; take its mean.")
    for name, scalar in loss.scalars.items():
        if not isinstance(scalar, Scalar) or not isinstance(scalar.value, Tensor):
            raise UserError(
                f"The loss of the method {kind} measures {name}, which is no Scalar of a tensor; make it one."
            )
        if scalar.over not in get_args(Over):
            raise UserError(
                not_one_of(f"`over` of {name} in the loss of the method {kind}", scalar.over, get_args(Over))
            )
    return loss
