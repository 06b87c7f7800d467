"""Methods with their backbone and objective, as a configuration names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from ..backbones.blocks import VECTORS, Backbone, ExternalData
from ..config import Config
from ..data.views import WHOLE
from ..engine.encoder_weights import load_weights
from ..episode import DataInfo
from ..errors import UserError
from ..methods.base import Method
from ..methods.declarations import PARENTS, refuse_declarations, without_parent
from ..objectives.base import Objective
from ..ops import random
from ..registry import BACKBONES, METHODS, OBJECTIVES, Registry
from .config import last_stage, stage_node
from .data import Data, training_shapes

Network = TypeVar("Network", bound=nn.Module)

# What layers raise where an argument is no width, no share or too large.
UNBUILDABLE = (ValueError, RuntimeError, TypeError, ZeroDivisionError, OverflowError, MemoryError, IndexError)


def build_method(data: Data, stage: str = "", *, weights: bool = True) -> Method:
    """A freshly initialised method: that of a stage, or of the last one.

    An encoder has the weights that BACKBONE.WEIGHTS names, unless `weights` is not set: a checkpoint brings its own.
    """
    cfg, last = data.cfg, last_stage(data.cfg)
    stage = stage or last
    info = data_info(data, stage)
    try:
        method = make_method(cfg, stage, info)
    except UNBUILDABLE as error:
        node = cfg.STAGE.get(stage, cfg.METHOD)
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"{cfg.METHOD.NAME} on {cfg.BACKBONE.NAME} cannot be built ({reason}); check BACKBONE.ARGS, which are "
            f"{dict(cfg.BACKBONE.ARGS)}, and the method's, which are {dict(node.ARGS)}."
        ) from error
    _refuse_views(data, method, final=stage == last)
    if weights and cfg.BACKBONE.WEIGHTS:
        load_weights(method.backbone, cfg.BACKBONE.WEIGHTS)
    if described := data.split("train").manifest.get("external_data"):  # of features
        method.backbone.external = ExternalData(**described)
    return method.to(data.device).to(memory_format=torch.channels_last)


def build_head(data: Data, name: str) -> Method:
    """Another registered method around the same backbone, with its default arguments, untrained."""
    return make_head(data.cfg, data_info(data, last_stage(data.cfg)), name).to(data.device)


def make_head(cfg: Config, info: DataInfo, name: str) -> Method:
    """As `build_head`, without data."""
    return _on_backbone(cfg, info, name, {})


def make_method(cfg: Config, stage: str, info: DataInfo) -> Method:
    """The method of a stage with its backbone and objective, initialised from SEED; of no stage, METHOD itself."""
    node = stage_node(cfg, stage)
    torch.manual_seed(random.key("initialise", cfg.SEED, node.METHOD) & 0x7FFFFFFF)
    method = _on_backbone(cfg, info, node.METHOD, node.ARGS)
    objective = _made(_class_of(OBJECTIVES, node.OBJECTIVE.NAME, Objective), "", **node.OBJECTIVE.ARGS)
    if objective.needs_cosine and not method.cosine_logits:
        raise UserError(
            f"OBJECTIVE.NAME is {node.OBJECTIVE.NAME}, which needs logits that are cosines, but those of "
            f"{node.METHOD} are not; choose another objective or a cosine method."
        )
    objective.refuse(method.scale)
    objective.prepare(step_classes(cfg, stage, method, info))
    method.objective = objective
    return method


def step_classes(cfg: Config, stage: str, method: Method, info: DataInfo) -> int:
    """The number of classes in the logits of a training step."""
    return info.n_base if stage_node(cfg, stage).STREAM == "batches" or method.loss_over_base else info.way


def _on_backbone(cfg: Config, info: DataInfo, name: str, arguments: Mapping[str, Any]) -> Method:
    """A method around the config's backbone, with plain cross-entropy; what it needs must be there."""
    kind: type[Method] = _class_of(METHODS, name, Method)
    _refuse_vectors(cfg, info, kind)  # some methods cannot even be built on vectors
    method = _made(kind, PARENTS, make_backbone(cfg, info), info, **arguments)
    refuse_declarations(method)
    _refuse_vectors(cfg, info, method)
    return method


def _refuse_vectors(cfg: Config, info: DataInfo, method: Method | type[Method]) -> None:
    """Refuse a method on maps or crops for a data set of vectors."""
    missing = [need for need in method.needs if need in ("map", "parts")]
    if info.features and missing:
        raise UserError(
            f"METHOD.NAME is {method.name}, which needs {missing[0]!r} of images, but DATASET.TRAIN.NAME "
            f"{cfg.DATASET.TRAIN.NAME} holds vectors; choose a method on vectors, such as ProtoNet."
        )


def make_backbone(cfg: Config, info: DataInfo) -> Backbone:
    """The backbone, which must fit what the data set holds."""
    name = cfg.BACKBONE.NAME
    kind: type[Backbone] = _class_of(BACKBONES, name, Backbone)
    if not (cfg.STAGES or cfg.BACKBONE.WEIGHTS or info.features):
        raise UserError("STAGES is empty, which trains nothing; name a stage, e.g. [meta], or set BACKBONE.WEIGHTS.")
    if (kind.input_dims == 1) != bool(info.features):
        hint = "set it to Features" if info.features else "choose a network, such as Conv4"
        raise UserError(
            f"BACKBONE.NAME is {name}, but DATASET.TRAIN.NAME {cfg.DATASET.TRAIN.NAME} holds "
            f"{'features' if info.features else 'images'}; {hint}."
        )
    if cfg.BACKBONE.WEIGHTS and not kind.preprocessing:
        raise UserError(
            f"BACKBONE.WEIGHTS is {cfg.BACKBONE.WEIGHTS}, but BACKBONE.NAME {name} is no encoder of another library; "
            f"set STAGE.{(cfg.STAGES or ['meta'])[0]}.INIT to the file instead."
        )
    if kind.forward is Backbone.forward and cfg.BACKBONE.VECTOR not in ("native", *VECTORS):
        raise UserError(
            f"BACKBONE.VECTOR is {cfg.BACKBONE.VECTOR}, but BACKBONE.NAME {name} has no class token; set it to native "
            "or mean."
        )
    size = cfg.DATASET.SIZE if kind.preprocessing else info.features or info.image_size
    return _made(kind, "vector", size, cfg.BACKBONE.VECTOR, **cfg.BACKBONE.ARGS)


def _class_of(registry: Registry[Any], name: str, base: type) -> Any:
    """The class of a name, which must be a subclass of `base`."""
    kind: type = registry[name]
    if not issubclass(kind, base):
        module = base.__module__
        raise UserError(
            f"{registry.key} is {name}, but class {kind.__name__} is no {base.__name__}; derive it from "
            f"{base.__name__} of {module}."
        )
    return kind


def _made(kind: type[Network], parents: str, *arguments: Any, **options: Any) -> Network:
    """A network of this class; `parents` are what the `__init__` of its base class takes.

    Raises:
        UserError: where its `__init__` does not call that of its base class.
    """
    network = kind.__new__(kind)
    try:
        network.__init__(*arguments, **options)  # type: ignore[misc]  # apart from __new__, to see how far it comes
    except AttributeError as error:
        if "_modules" in vars(network):
            raise
        raise without_parent(kind, parents) from error
    if "_modules" not in vars(network):
        raise without_parent(kind, parents)
    return network


def data_info(data: Data, stage: str) -> DataInfo:
    """What the method of a stage may know of the data."""
    train = data.split("train")
    way, shot, query = _training_shape(data.cfg) if draws_episodes(data.cfg, stage) else (0, 0, 0)
    return DataInfo(
        len(train.classes),
        data.image_size,
        way,
        shot,
        query,
        features=train.features,
        base_counts=np.bincount(train.labels, minlength=len(train.classes)).tolist(),
        words=lambda: data.words("train"),
    )


def _training_shape(cfg: Config) -> tuple[int, int, int]:
    """Way, shot and queries of a class of training episodes; those of the largest shot of a range."""
    shape = training_shapes(cfg)[-1]
    return shape.way, shape.shot, shape.query


def draws_episodes(cfg: Config, stage: str) -> bool:
    """Whether a stage trains on episodes, alone or beside batches."""
    return stage_node(cfg, stage).STREAM != "batches"


def trains_on_words(method: Method) -> bool:
    """Whether a training step needs the classes' word vectors."""
    return "semantics" in method.needs or method.objective.needs_semantics


def _refuse_views(data: Data, method: Method, final: bool) -> None:
    """Say where DATASET.VIEWS and what a method reads do not fit."""
    views, crops = data.cfg.DATASET.VIEWS, data.views is not None
    if "parts" in method.needs and not crops:
        raise UserError(f"DATASET.VIEWS is {views}, but {method.name} compares crops; add some, such as grid-3.")
    if final and crops and "parts" not in method.needs:
        raise UserError(f"DATASET.VIEWS is {views}, but {method.name} looks at no crops; set it to [{WHOLE}].")
    if WHOLE not in views and {"image", "vector", "map"} & set(method.needs):
        raise UserError(f"DATASET.VIEWS is {views}, but {method.name} looks at the whole image too; add {WHOLE}.")
