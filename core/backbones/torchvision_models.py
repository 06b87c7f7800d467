"""Models of torchvision as encoders: torchvision:resnet18, torchvision:mobilenet_v2, torchvision:vit_b_16, ..."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..limits import ZeroOrMore
from ..names import nearest
from ..registry import BACKBONES
from .blocks import Preprocessing
from .encoders import Encoder, Published, Seen, patch_map, refuse_partial_patches

END = ("avgpool", "classifier", "fc", "head", "heads")  # the first child that is no part of the map
AUXILIARY = ("AuxLogits", "aux1", "aux2")  # classifiers of training in the middle of Inception networks
HALVED = ("googlenet", "inception_v3")  # their weights undo ImageNet's normalisation, and map 0..1 to -1..1
HALF = (0.5, 0.5, 0.5)
SWAG = "Instagram photos with hashtags (SWAG), then ImageNet-1k"


class Torchvision(Encoder):
    """The head of every torchvision encoder: names, weights and what they ask for."""

    library = "torchvision"

    @classmethod
    def member(cls, model: str) -> type[Encoder]:
        from torchvision import models

        names = models.list_models(module=models)
        if model not in names:
            raise UserError(
                f"BACKBONE.NAME is 'torchvision:{model}', but torchvision has no such model{nearest(model, names)}; "
                f"it has {', '.join(names)}."
            )
        kind = TorchvisionViT if model.startswith("vit_") else TorchvisionCNN
        transforms = models.get_model_weights(model).DEFAULT.transforms()
        mean, std = (HALF, HALF) if model in HALVED else (tuple(transforms.mean), tuple(transforms.std))
        preprocessing = Preprocessing(transforms.crop_size[0], mean, std, transforms.interpolation.value)
        return type(kind.__name__, (kind,), {"model": model, "preprocessing": preprocessing, "__module__": __name__})

    def publications(self) -> Iterable[Published]:
        from torchvision import models

        kinds = models.get_model_weights(self.model)
        for weights in sorted(kinds, key=lambda one: one is not kinds.DEFAULT):
            swag = "SWAG" in weights.name
            licence = "CC-BY-NC-4.0" if swag else "BSD-3-Clause (torchvision)"
            yield Published(str(weights), weights.url, SWAG if swag else "ImageNet-1k", licence)

    @classmethod
    def owner(cls, digest: str) -> str:
        from torchvision import models

        for model in models.list_models(module=models):
            if any(f"-{digest[:8]}." in weights.url for weights in models.get_model_weights(model)):
                return f"torchvision:{model}"
        return ""

    def download(self) -> dict[str, Tensor]:
        from torchvision import models

        return models.get_model_weights(self.model).DEFAULT.get_state_dict(progress=True, check_hash=True)

    def _whole(self, **arguments: Any) -> Any:
        """The library's model, initialised from torch's generator."""
        from torchvision import models

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The default weight initialization", FutureWarning)
            return models.get_model(self.model, weights=None, **arguments)


@BACKBONES.register_family("torchvision")
class TorchvisionCNN(Torchvision):
    """A model whose children up to the pooling make a map [n, C, h, w]: CNNs, and Swin and MaxViT.

    The native vector is the map's mean; ConvNeXt's is normalised, as before its own classifier.
    """

    norm: nn.Module

    def __init__(self, image_size: int, vector: str, *, size: ZeroOrMore = 0) -> None:
        super().__init__(image_size, vector, size=size)
        self.refuse_tokens()
        whole = self._whole(**({"input_size": (self.size, self.size)} if self.model.startswith("maxvit") else {}))
        children = OrderedDict(whole.named_children())
        names = list(children)
        end = next(number for number, name in enumerate(names) if name in END)
        kept = OrderedDict((name, children[name]) for name in names[:end] if name not in AUXILIARY)
        if self.model.startswith("densenet"):
            kept["relu"] = nn.ReLU(inplace=True)  # a function in the library
        self.network = nn.Sequential(kept)
        self.norm = whole.classifier[0] if self.model.startswith("convnext") else nn.Identity()
        self.measure()

    def see(self, images: Tensor) -> Seen:
        maps = self.network(images)
        return Seen(maps, self.norm(maps.mean((2, 3), keepdim=True)).flatten(1))

    def fitted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        kept = {f"network.{name}": value for name, value in state.items() if name.split(".")[0] not in END + AUXILIARY}
        if self.model.startswith("convnext"):
            kept |= {
                f"norm.{e}": state[f"classifier.0.{e}"] for e in ("weight", "bias") if f"classifier.0.{e}" in state
            }
        return kept


class TorchvisionViT(Torchvision):
    """A vision transformer (Dosovitskiy et al., ICLR 2021); the native vector is the class token."""

    def __init__(self, image_size: int, vector: str, *, size: ZeroOrMore = 0) -> None:
        super().__init__(image_size, vector, size=size)
        patch = int(self.model.rsplit("_", 1)[-1])
        refuse_partial_patches(self.size, patch, f"torchvision:{self.model}")
        self.network: Any = self._whole(image_size=self.size)
        self.network.heads = nn.Identity()
        width = self.network.hidden_dim
        self.measure(width, self.size // patch, width)

    def see(self, images: Tensor) -> Seen:
        patches = self.network._process_input(images)
        cls = self.network.class_token.expand(len(images), -1, -1)
        tokens = self.network.encoder(torch.cat([cls, patches], dim=1))
        return Seen(patch_map(tokens[:, 1:], self.model), tokens[:, 0], tokens[:, 0])

    def fitted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        from torchvision.models.vision_transformer import interpolate_embeddings

        if state.get("encoder.pos_embedding") is not None:
            state = dict(interpolate_embeddings(self.size, self.network.patch_size, OrderedDict(state)))
        return {f"network.{name}": value for name, value in state.items() if not name.startswith("heads.")}
