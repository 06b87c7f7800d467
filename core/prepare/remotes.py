"""The benchmarks' files on the web, with the checksums that their users publish.

Files on Google Drive are not downloaded: its links answer with pages that ask a person to confirm, and have quotas.
They are listed with what their publishers and users say about them, for `--from`.
"""

from dataclasses import dataclass

from .download import Remote


@dataclass(frozen=True)
class DriveFile:
    """A file on Google Drive, which a person downloads and gives with `--from`."""

    name: str
    id: str
    publisher: str
    size: str = ""  # as its users state it; "" = nobody does
    md5: str = ""

    def describe(self) -> str:
        """One line for `--list`."""
        facts = ", ".join(filter(None, [self.size or "size not stated", self.md5 and f"md5 {self.md5}"]))
        return f"{self.name} ({self.publisher}; {facts})  https://drive.google.com/file/d/{self.id}"


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

DRIVE = {
    "CIFAR-FS": (DriveFile("cifar_fs.tar", "1Lq2USoQmbFgCFJlGx3huFSfjqwtxMCL8", "DeepEMD"),),
    "FC100": (DriveFile("FC100.tar", "1nEh3O2RJ5zTbWj7luyQCNcklpX0_5KlS", "DeepEMD"),),
    "miniImagenet": (
        DriveFile("miniimagenet.tar", "191cFzwwNTzG_mHUDABF0Nh77cI6pa-qq", "DeepEMD"),
        DriveFile(
            "mini-imagenet.tar.gz",
            "16V_ZlkW4SsnNDtnGmaBRq2OoPmUOc5mY",
            "Ren et al.",
            "1.1 GB",
            "b38f1eb4251fb9459ecc8e7febf9b2eb",
        ),
    ),
    "tieredImagenet": (
        DriveFile(
            "tieredimagenet.tar",
            "1ANczVwnI1BDHIF65TgulaGALFnXBvRfs",
            "DeepEMD",
            md5="7828a6dc2889e226ba575d2ba9624753",
        ),
        DriveFile(
            "tiered-imagenet.tar",
            "1g1aIDy2Ar_MViF2gDXFYDBTR-HYecV07",
            "Ren et al.",
            "12.9 GB",
            "e07e811b9f29362d159a9edd0d838c62",
        ),
    ),
    "CUB": (
        DriveFile(
            "CUB_200_2011.tgz",
            "1hbzc_P1FuxMkcabkgn9ZKinBwW683j45",
            "Wah et al.",
            md5="97eceeb196236b17998738112f37df78",
        ),
    ),
    "CUB-FEAT": (DriveFile("cub.tar", "1B8jmZin9teye7Lte9ZKsQ3lyMASbxune", "DeepEMD"),),
}
