"""The benchmarks' files on the web, with the checksums that their users publish."""

from .download import Remote

_ZENODO = "https://zenodo.org/record/7978538/files"
_OMNIGLOT = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"

CIFAR = (
    Remote(
        "cifar-100-python.tar.gz",
        ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
        "eb9058c3a382ffc7106e4002c42a8d85",
    ),
)
CUB = (
    Remote(
        "CUB_200_2011.tgz",
        ("https://zenodo.org/record/8000562/files/CUB_200_2011.tgz",),
        "97eceeb196236b17998738112f37df78",
    ),
)
MINI = tuple(
    Remote(f"mini-imagenet-cache-{word}.pkl", (f"{_ZENODO}/mini-imagenet-cache-{word}.pkl",))
    for word in ("train", "validation", "test")
)
TIERED = tuple(
    Remote(f"{split}_{end}.pkl", (f"{_ZENODO}/tiered-imagenet-{split}_{end}.pkl",))
    for split in ("train", "val", "test")
    for end in ("images_png", "labels")
)
OMNIGLOT = (
    Remote("images_background.zip", (f"{_OMNIGLOT}/images_background.zip",), "68d2efa1b9178cc56df9314c21c6e718"),
    Remote("images_evaluation.zip", (f"{_OMNIGLOT}/images_evaluation.zip",), "6b91aef0f799c5bb55b94e3f2daec811"),
)
