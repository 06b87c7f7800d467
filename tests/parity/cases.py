"""What is compared: each method on the inputs and, beside it, the equations of its authors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from core.backbones.blocks import Backbone, ConvBN, Norm, modulate
from core.episode import Batch, DataInfo
from core.methods.tadam import SkipLayers
from core.objectives.mse import MSE
from core.objectives.negmargin import NegMarginLoss
from core.ops import random
from core.registry import METHODS, import_all
from tests.helpers import make_task
from tests.parity import closed_form_equations as closed
from tests.parity import inner_equations as inner
from tests.parity import map_equations as maps
from tests.parity import vector_equations as vectors
from tests.parity.inputs import N_BASE, QUERIES, SIDE, WAY, WIDTH, WORD, Inputs, features, numbers

import_all("core.methods")
COUNTS = [1, 2, 3, 4, 25]  # images of each base class
CLASS_IDS = [3, 0, 4]


class Network(Backbone):
    """Features are given; only methods with an inner loop run it, on images."""

    channels, map_size = WIDTH, SIDE
    film_widths = (WIDTH,)

    def __init__(self, norm: Norm) -> None:
        super().__init__("mean")
        self.layer = nn.Sequential(*ConvBN(3, WIDTH, 3, bias=True, norm=norm), nn.Tanh())

    def maps(self, images, film=None):
        convolution, norm, tanh = self.layer
        return tanh(modulate(norm(convolution(images)), film[0] if film else None))


@dataclass(frozen=True)
class Case:
    """A method with its arguments, what it reads, and its equations; `learns` names parameters with a gradient."""

    method: str
    equation: Callable[[Inputs], vectors.Answer]
    arguments: dict[str, Any] = field(default_factory=dict)
    reads: tuple[str, ...] = ("vector",)
    shot: int = 2
    learns: tuple[str, ...] = ()
    towards: tuple[str, ...] = ("support", "query")
    batch: bool = False
    training: bool = False
    objective: Callable[[], nn.Module] | None = None
    log_softmax: bool = False  # whether the authors' logits are normalised
    differences: bool = False  # whether gradients are central differences of the loss, where a solver stands in between

    def module(self) -> nn.Module:
        """The method in float64, with numbers for parameters."""
        words = numbers(N_BASE, WORD, seed=90)
        info = DataInfo(N_BASE, 16, WAY, self.shot, 1, base_counts=COUNTS, words=lambda: words)
        network = Network("batch" if "image" in self.reads else "running")
        made = SkipLayers(WIDTH, 4) if self.method == "TEN" else METHODS[self.method](network, info, **self.arguments)
        if self.objective:
            made.objective = self.objective()
        made.double().train(self.training)
        with torch.no_grad():
            for name, p in made.named_parameters():
                p.copy_(0.5 * numbers(*p.shape, seed=sum(map(ord, name))))
        return made

    def inputs(self, module: nn.Module) -> Inputs:
        """The task or batch and the method's parameters."""
        labels = torch.arange(WAY).repeat_interleave(self.shot)
        queries = 4 if self.batch else QUERIES
        support, query = features(self.reads, len(labels), 0), features(self.reads, queries, 10)
        parameters = {n: p for n, p in module.named_parameters() if "image" in self.reads or "backbone." not in n}
        seed = torch.zeros(1, dtype=torch.long)
        start, bias = (2 * random.uniform(seed, tag, shape)[0].double() - 1 for tag, shape in HEADS)
        leaves = {
            f"{side}.{n}": x for side in self.towards for n, x in {"support": support, "query": query}[side].items()
        }
        return Inputs(
            support,
            labels,
            query,
            torch.arange(queries) if self.batch else torch.arange(queries) % WAY,
            parameters,
            features(("vector",), N_BASE, 20),
            COUNTS,
            numbers(WAY, WORD, seed=91),
            CLASS_IDS,
            features(("vector",), 2, 30),
            torch.tensor([1, 2]),
            start / WIDTH**0.5,
            bias / WIDTH**0.5,
            leaves | {name: parameters[name] for name in self.learns},
        )

    def ours(self) -> dict[str, torch.Tensor]:
        """Logits, loss and gradients of the method."""
        module = self.module()
        inputs = self.inputs(module)
        if self.method == "TEN":
            logits = module(inputs.query["vector"])
            return answers(logits, logits.square().sum(), inputs)
        if self.batch:
            batch = Batch(inputs.query, inputs.query_y)
            return answers(module.batch_logits(batch), module.loss(batch).value, inputs)
        side = [{name: x[None] for name, x in part.items()} for part in (inputs.support, inputs.query)]
        task = replace(
            make_task(*side, WAY, self.shot),
            semantics=inputs.words[None],
            base=inputs.base,
            class_ids=torch.tensor([CLASS_IDS]),
            base_query={"vector": inputs.base_query["vector"][None]},
            base_query_y=inputs.base_query_y[None],
        )
        logits = module(task)[0]
        return answers(logits.log_softmax(-1) if self.log_softmax else logits, module.loss(task).value, inputs)

    def theirs(self) -> dict[str, torch.Tensor]:
        """The same by the equations."""
        inputs = self.inputs(self.module())
        if not self.differences:
            return answers(*self.equation(inputs), inputs)
        with torch.no_grad():
            logits, loss = self.equation(inputs)
            slopes = {name: self._slope(inputs, leaf) for name, leaf in inputs.gradient_of.items()}
        return {"logits": logits, "loss": loss} | {f"gradient of {name}": slope for name, slope in slopes.items()}

    def _slope(self, inputs: Inputs, leaf: torch.Tensor, step: float = 1e-5) -> torch.Tensor:
        """The gradient of the loss by central differences, number by number."""
        slope, flat = torch.zeros_like(leaf), leaf.view(-1)
        for i in range(len(flat)):
            flat[i] += step
            above = self.equation(inputs)[1]
            flat[i] -= 2 * step
            slope.view(-1)[i] = (above - self.equation(inputs)[1]) / (2 * step)
            flat[i] += step
        return slope


HEADS = (("head", (WAY, WIDTH)), ("bias", (WAY,)))


def answers(logits, loss, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Everything that is compared, by name."""
    gradients = torch.autograd.grad(loss, list(inputs.gradient_of.values()), allow_unused=True)
    compared = {"logits": logits.detach(), "loss": loss.detach()}
    for (name, leaf), gradient in zip(inputs.gradient_of.items(), gradients, strict=True):
        compared[f"gradient of {name}"] = torch.zeros_like(leaf) if gradient is None else gradient
    return compared


MAP, ALL = ("map",), ("map", "vector", "parts")
WEIGHT, QUERY = ("classifier.weight",), ("query",)
HEAD = {"head_passes": 6, "head_batch": 6}
SFC = {"sfc_lr": 20.0, "sfc_update_step": 4, "sfc_bs": 6, "weight_grad": False}
ATTENTION = ("attention.query.weight", "attention.out.bias")
NETWORK = ("backbone.layer.0.weight", "head.weight", "head.bias")
RATE = "rates.tensors.backbone/layer/0/weight"
WHOLE: dict[str, Any] = {"reads": ("image",), "training": True, "towards": ()}

CASES = {
    "ProtoNet": Case("ProtoNet", vectors.prototypes(1.0)),
    "ProtoNet, 1/64": Case("ProtoNet", vectors.prototypes(1 / 64), {"scale": 1 / 64}),
    "CosineProtoNet": Case("CosineProtoNet", vectors.cosine_prototypes(32.0)),
    "MetaBaseline": Case("MetaBaseline", vectors.cosine_prototypes(None), learns=("scale",)),
    "MatchingNet": Case("MatchingNet", vectors.matching(10.0), log_softmax=True),
    "SimpleShot, UN": Case("SimpleShot", vectors.simpleshot("UN"), {"norm": "UN"}),
    "SimpleShot, L2N": Case("SimpleShot", vectors.simpleshot("L2N"), {"norm": "L2N"}),
    "SimpleShot, CL2N on unbalanced base classes": Case("SimpleShot", vectors.simpleshot("CL2N")),
    "FEAT": Case(
        "FEAT",
        vectors.feat(8.0, 4.0, 0.3),
        {"temperature": 8.0, "temperature2": 4.0, "balance": 0.3},
        learns=ATTENTION,
    ),
    "R2D2": Case("R2D2", closed.r2d2(0.7), {"penalty": 0.7}, learns=("scale",)),
    "LR-D2": Case("LR-D2", closed.lrd2(0.7, 3), {"penalty": 0.7, "iterations": 3}),
    "MetaOptNet-RR": Case("MetaOptNet-RR", closed.ridge(0.7), {"penalty": 0.7}, learns=("scale",)),
    "MetaOptNet-SVM": Case("MetaOptNet-SVM", closed.svm(0.1), learns=("scale",), differences=True),
    "TapNet": Case(
        "TapNet", closed.tapnet, training=True, learns=("references.weight", "references.bias"), towards=QUERY
    ),
    "DC": Case("DC", closed.dense, reads=MAP, learns=("scale",)),
    "DC, base classes": Case(
        "DC", closed.dense_classifier, reads=MAP, batch=True, towards=QUERY, learns=("scale", *WEIGHT)
    ),
    "ECM": Case("ECM", closed.nearest_models, learns=("scale",)),
    "ECM, base classes": Case(
        "ECM", closed.class_models, batch=True, towards=QUERY, learns=("scale", "classifier.models")
    ),
    "AM3": Case("AM3", vectors.am3, {"hidden": 5}, learns=("transform.0.weight", "weigh.3.weight")),
    "DynamicFSL": Case("DynamicFSL", vectors.dynamic_fsl, learns=("weight", "scale", "phi_avg", "attention.keys")),
    "Baseline, base classes": Case("Baseline", vectors.linear_classifier, batch=True, learns=WEIGHT, towards=QUERY),
    "Baseline++, base classes": Case(
        "Baseline++",
        vectors.cosine_classifier(2.0, norm=True),
        batch=True,
        learns=(*WEIGHT, "classifier.norm"),
        towards=QUERY,
    ),
    "NegMargin, base classes, cosine": Case(
        "NegMargin",
        vectors.cosine_classifier(30.0, -0.02),
        {"scale": 30.0},
        batch=True,
        learns=WEIGHT,
        towards=QUERY,
        objective=lambda: NegMarginLoss(margin=-0.02),
    ),
    "NegMargin, base classes, softmax": Case(
        "NegMargin",
        vectors.dot_classifier(5.0, -0.3),
        {"scale": 5.0, "metric": "softmax"},
        batch=True,
        learns=WEIGHT,
        towards=QUERY,
        objective=lambda: NegMarginLoss(margin=-0.3),
    ),
    "Baseline, fine-tuned": Case("Baseline", vectors.fine_tuned("linear", 1.0, 6), HEAD, towards=QUERY),
    "Baseline++, fine-tuned": Case("Baseline++", vectors.fine_tuned("norm", 2.0, 6), HEAD, towards=QUERY),
    "NegMargin, fine-tuned": Case("NegMargin", vectors.fine_tuned("cosine", 5.0, 6), HEAD, towards=QUERY),
    "RFS": Case("RFS", vectors.logistic_regression(1.0), towards=QUERY),
    "Ridge": Case("Ridge", closed.ridge_grid([0.01, 0.03, 0.1, 0.3, 1.0, 3.0], 10.0)),
    "TipAdapter": Case("TipAdapter", vectors.cache_of_supports(5.5)),
    "Ensemble": Case(
        "Ensemble",
        vectors.averaged(*(vectors.cache_of_supports(beta) for beta in (1.0, 5.5, 20.0))),
        {"of": "TipAdapter", "grid": [["beta", 1.0, 5.5, 20.0]]},
    ),
    "RFS, base classes": Case("RFS", vectors.linear_classifier, batch=True, learns=WEIGHT, towards=QUERY),
    "STLDeepBDC": Case(
        "STLDeepBDC",
        vectors.logistic_regression(2.0, maps.bdc_vectors),
        {"inverse_penalty": 2.0},
        reads=MAP,
        towards=QUERY,
    ),
    "MetaDeepBDC, 1 shot": Case("MetaDeepBDC", maps.meta_deepbdc, reads=MAP, shot=1, learns=("pooling.log_scale",)),
    "MetaDeepBDC": Case("MetaDeepBDC", maps.meta_deepbdc, reads=MAP, learns=("pooling.log_scale",)),
    "DN4, k = 1": Case("DN4", maps.dn4(1), {"k": 1}, reads=MAP),
    "DN4, k = 3": Case("DN4", maps.dn4(3), reads=MAP),
    "CovaMNet": Case("CovaMNet", maps.covamnet, {"dropout": 0.0}, reads=MAP, learns=("weight",)),
    "RelationNet": Case(
        "RelationNet",
        maps.relation,
        reads=MAP,
        training=True,
        objective=MSE,
        learns=("relation.blocks.0.0.weight", "relation.head.0.weight"),
    ),
    "FRN": Case("FRN", maps.frn, reads=MAP, learns=("alpha", "beta", "gamma")),
    "FRN, pretraining": Case(
        "FRN", maps.frn_pretraining, reads=MAP, batch=True, towards=QUERY, learns=("alpha", "gamma", "categories")
    ),
    "MML": Case("MML", maps.mml("prototype"), reads=ALL, learns=("graph.inner.weight", "graph.outer.bias")),
    "MML, kl": Case("MML", maps.mml("kl"), {"distribution": "kl"}, reads=("map", "parts")),
    "DeepEMD, exact gradient": Case("DeepEMD", maps.deepemd(), reads=MAP, shot=1, differences=True),
    "DeepEMD, constant weights": Case("DeepEMD", maps.deepemd(), {"weight_grad": False}, reads=MAP, shot=1),
    "DeepEMD, pyramid": Case(
        "DeepEMD", maps.deepemd((1,)), {"weight_grad": False, "feature_pyramid": (1,)}, reads=MAP, shot=1
    ),
    "DeepEMD, 2 shots": Case("DeepEMD", maps.deepemd((), 4, 20.0), SFC, reads=MAP, towards=QUERY),
    "DeepEMD, 2 shots, pyramid": Case(
        "DeepEMD", maps.deepemd((1,), 4, 20.0), SFC | {"feature_pyramid": (1,)}, reads=MAP, towards=QUERY
    ),
    "MAML": Case("MAML", inner.maml(2, 0.4), {"steps": 2, "inner_lr": 0.4}, learns=NETWORK, **WHOLE),
    "MetaSGD": Case("MetaSGD", inner.meta_sgd(2), {"steps": 2}, learns=(*NETWORK, RATE), **WHOLE),
    "MAML++": Case(
        "MAML++",
        inner.maml_plus_plus(2),
        {"steps": 2},
        learns=(*NETWORK, RATE, "norms.tensors.backbone/layer/1/weight"),
        **WHOLE,
    ),
    "BOIL": Case("BOIL", inner.boil(2, 0.4), {"steps": 2, "inner_lr": 0.4}, learns=NETWORK, **WHOLE),
    "ANIL": Case("ANIL", inner.anil(3, 0.4), {"steps": 3, "inner_lr": 0.4}, training=True, learns=NETWORK[1:]),
    "CAML": Case(
        "CAML", inner.caml(2, 0.4), {"steps": 2, "inner_lr": 0.4}, learns=(*NETWORK, "condition.0.weight"), **WHOLE
    ),
    "iMAML": Case("iMAML", inner.imaml(2.0), {"steps": 400, "cg_steps": 220}, learns=NETWORK, **WHOLE),
    "iMAMLHead": Case(
        "iMAMLHead", inner.imaml(0.3, inner.linear, "vector"), {"penalty": 0.3}, training=True, learns=NETWORK[1:]
    ),
    "MTL": Case("MTL", inner.mtl(3, 0.4), {"steps": 3, "inner_lr": 0.4}, learns=NETWORK[1:], towards=QUERY),
    "E3BM": Case("E3BM", inner.e3bm(3, 8.0), {"steps": 3}, learns=("rates.start", "weights.map.weight")),
    "TADAM, TEN": Case("TEN", maps.ten, learns=("middle.weight",), towards=QUERY),
}
