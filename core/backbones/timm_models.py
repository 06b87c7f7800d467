"""Models of timm (extra package) as encoders: timm:vit_small_patch14_dinov2.lvd142m, timm:resnet18.a1_in1k, ..."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Literal

from torch import Tensor

from ..errors import UserError
from ..limits import ZeroOrMore
from ..names import nearest
from ..registry import BACKBONES
from .blocks import Preprocessing
from .encoders import Encoder, Published, Seen, patch_map, refuse_partial_patches

# What the last word of a name says of the images: timm's own convention.
DATA = {"in21k": "ImageNet-21k", "in22k": "ImageNet-22k", "in12k": "ImageNet-12k", "in1k": "ImageNet-1k"}
DATA |= {"lvd142m": "LVD-142M", "lvd1689m": "LVD-1689M", "laion2b": "LAION-2B", "openai": "OpenAI's CLIP images"}
DATA |= {"dino": "ImageNet-1k, without labels", "mae": "ImageNet-1k, without labels", "webli": "WebLI"}
DATA |= {"laion400m": "LAION-400M", "swag": "Instagram photos with hashtags", "datacompxl": "DataComp-XL"}


def library() -> ModuleType:
    """The package timm.

    Raises:
        UserError: where it is not installed.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise UserError(
            "BACKBONE.NAME names a model of timm, which is not installed; run `python -m pip install timm`, or take "
            "one of torchvision's, such as torchvision:resnet18."
        ) from error
    return timm


@BACKBONES.register_family("timm")
class Timm(Encoder):
    """Any model of timm that makes maps or tokens; the native vector is what timm's own classifier reads."""

    library = "timm"

    def __init__(self, image_size: int, vector: str, *, size: ZeroOrMore = 0) -> None:
        super().__init__(image_size, vector, size=size)
        fixed = library().get_pretrained_cfg(self.model).fixed_input_size  # others take images of any size
        sized = {"img_size": self.size} if fixed else {}
        self.network: Any = library().create_model(self.model, num_classes=0, **sized)
        self.prefix = getattr(self.network, "num_prefix_tokens", 0)
        self.has_cls = getattr(self.network, "cls_token", None) is not None
        if not self.has_cls:
            self.refuse_tokens()
        if self.prefix:
            refuse_partial_patches(self.size, self.network.patch_embed.patch_size[0], f"timm:{self.model}")
            side, _ = self.network.patch_embed.grid_size
            width = self.network.num_features
            self.measure(width, side, getattr(self.network, "head_hidden_size", width))
        else:
            self.measure()

    @classmethod
    def member(cls, model: str) -> type[Encoder]:
        timm = library()
        if not timm.is_model(model):
            names = timm.list_models() + timm.list_pretrained()
            raise UserError(
                f"BACKBONE.NAME is 'timm:{model}', but timm has no such model{nearest(model, names)}; "
                'python -c "import timm; print(timm.list_models())" lists them.'
            )
        published = timm.get_pretrained_cfg(model)
        if published is None:
            raise UserError(
                f"BACKBONE.NAME is 'timm:{model}', of which timm does not say what images it takes; choose "
                "another model."
            )
        interpolation: Literal["bilinear", "bicubic"] = (
            "bicubic" if published.interpolation == "bicubic" else "bilinear"
        )
        preprocessing = Preprocessing(
            published.input_size[1], tuple(published.mean), tuple(published.std), interpolation
        )
        return type(cls.__name__, (cls,), {"model": model, "preprocessing": preprocessing, "__module__": __name__})

    def publications(self) -> Iterable[Published]:
        published = library().get_pretrained_cfg(self.model)
        words = (published.tag or "").split("_")
        data = list(dict.fromkeys(DATA[word] for word in words if word in DATA))
        name = f"timm/{published.architecture}.{published.tag}"
        yield Published(name, published.hf_hub_id or published.url or "", ", then ".join(data), published.license or "")

    def download(self) -> dict[str, Tensor]:
        return library().create_model(self.model, pretrained=True).state_dict()

    def see(self, images: Tensor) -> Seen:
        seen = self.network.forward_features(images)
        native = self.network.forward_head(seen, pre_logits=True)
        if seen.dim() == 3:
            cls = seen[:, 0] if self.has_cls else None
            return Seen(patch_map(seen[:, self.prefix :], self.model), native, cls)
        if getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            seen = seen.permute(0, 3, 1, 2)
        return Seen(seen, native)

    def fitted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        fit = getattr(sys.modules[type(self.network).__module__], "checkpoint_filter_fn", None)
        state = fit(state, self.network) if fit else state
        published = library().get_pretrained_cfg(self.model)
        heads = (published.classifier,) if isinstance(published.classifier, str) else tuple(published.classifier or ())
        kept = {name: value for name, value in state.items() if not name.startswith(tuple(f"{h}." for h in heads if h))}
        return {f"network.{name}": value for name, value in kept.items()}
