"""CAML: Jiang et al., "Learning to Learn with Conditional Class Dependencies", ICLR 2019.

https://openreview.net/forum?id=BJfOXnActQ
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..backbones.blocks import Backbone, Film
from ..episode import DataInfo
from ..errors import UserError
from ..limits import NonNegative
from ..registry import METHODS
from .base import Method, load_matching
from .inner_loop import InnerLoop, Weights


@METHODS.register("CAML")
class CAML(InnerLoop):
    """MAML whose network is conditioned, image by image, on where the image lies in a metric space of all base classes.

    A first stage trains the metric network on the base classes; here it is frozen. Linear maps of its vector of an
    image give a gain 1 + g and an offset b behind every batch-norm of the network that adapts (`film_widths`). The
    inner steps move that network and its head; the maps are learned by the loss on the queries alone, and start at 0.

    Args:
        inner_lr: of the inner steps.
        steps: inner steps in training.
        test_steps: inner steps at test.
        first_order: treat the inner gradients as constants.

    Transductive by its batch-norm, see `AdaptedNetwork`.
    Differs from the paper in what its abstract does not say, since no code of the authors is known: that a base learner
    takes MAML's inner steps on features transformed by a metric space is the abstract's; that the metric network is
    frozen and conditions every convolution image by image is recalled from the paper; that the maps are linear, start
    at 0 and take no inner step, that the network starts anew, and all numbers of the recipe are ours.
    """

    def __init__(self, backbone: Backbone, info: DataInfo, *, inner_lr: NonNegative = 0.01, **loop: Any) -> None:
        super().__init__(backbone, info, **loop)
        if not backbone.film_widths:
            raise UserError(
                f"METHOD.NAME is CAML, which changes the convolutions of its backbone by the image, but BACKBONE.NAME "
                f"{backbone.name} has no place for that; choose ResNet12T or Conv4."
            )
        self.inner_lr = inner_lr
        self.metric = copy.deepcopy(backbone).requires_grad_(False)
        self.condition = nn.ModuleList(nn.Linear(backbone.vector_dim, 2 * width) for width in backbone.film_widths)
        for layer in self.condition.parameters():
            nn.init.zeros_(layer)

    def rate(self, name: str, step: int) -> float:
        """The same for all."""
        return self.inner_lr

    def start_from(self, previous: Method) -> str:
        """The previous stage's backbone is the metric network; the network that adapts starts anew."""
        source = "the previous stage's backbone, as metric network"
        return load_matching(self.metric, previous.backbone.state_dict(), source)

    def run(self, weights: Weights, images: Tensor, step: int = 0) -> Tensor:
        """As `AdaptedNetwork`, on the conditioned backbone."""
        backbone = {n.removeprefix("backbone."): w for n, w in weights.items() if n.startswith("backbone.")}
        vector = functional_call(self.backbone, backbone, (images, self.film(images)))["vector"]
        return F.linear(vector, weights["head.weight"], weights["head.bias"])

    def film(self, images: Tensor) -> Film:
        """A gain and an offset [n, C] for each convolution, of images [n, 3, H, W]."""
        with torch.no_grad():
            place = self.metric(images)["vector"]
        changes = [layer(place).chunk(2, dim=1) for layer in self.condition]
        return [(1 + gain, offset) for gain, offset in changes]
