"""Data that the documents ask their reader for, made up.

python -m tests.docs.made_up FOLDER
"""

import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np

from tests.predict.photos import write_photo
from tests.prepare.fake_cifar import make_parts, write_tar

PHOTOS = Path(__file__).parents[3] / "shared/data/photos.tar"
CLASSES, LABELLED, NEW = 6, 5, 4


def write_cifar(folder):
    """An archive like CIFAR-100's, with as many images, below `folder`; they are blocks of colours."""
    parts = make_parts(copies=(5, 1))
    rng = np.random.default_rng(0)
    for name, count in (("train", 500), ("test", 100)):
        labels = np.repeat(np.arange(100), count).tolist()
        blocks = rng.integers(0, 256, (len(labels), 3, 4, 1, 4, 1), dtype=np.uint8)
        pixels = np.broadcast_to(blocks, (len(labels), 3, 4, 8, 4, 8)).reshape(len(labels), 3072)
        names = [f"{name}_{row:05d}.png" for row in range(len(labels))]
        parts[name] |= {"filenames": names, "fine_labels": labels, "data": pixels}
        parts[name]["coarse_labels"] = [label // 5 for label in labels]
    return write_tar(folder, parts, "gz")


def write_photographs(folder):
    """Labelled and new photographs: of products where they are at hand, else drawn."""
    if PHOTOS.is_file():
        with tarfile.open(PHOTOS) as archive:
            archive.extractall(folder, filter="data")
        for kind in sorted((folder / "photos").iterdir())[:CLASSES]:
            files = sorted(kind.iterdir())
            for part, some in (("labelled", files[:LABELLED]), ("new", files[20 : 20 + NEW])):
                (folder / part / kind.name).mkdir(parents=True)
                for file in some:
                    shutil.copy(file, folder / part / kind.name)
        shutil.rmtree(folder / "photos")
        (folder / "photos").mkdir()
        for part in ("labelled", "new"):
            (folder / part).rename(folder / "photos" / part)
        return
    for kind in range(CLASSES):
        for number in range(LABELLED + NEW):
            part = "labelled" if number < LABELLED else "new"
            write_photo(folder / f"photos/{part}/kind{kind}/{number}.jpg", kind, number, quality=90)


if __name__ == "__main__":
    write_cifar(Path(sys.argv[1]))
    write_photographs(Path(sys.argv[1]))
