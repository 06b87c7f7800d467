"""The archives of DeepEMD's authors and the folders of M2L, in small, are the benchmarks that they say they are."""

import shutil
import tarfile

import pytest

from core.data.store import SPLITS
from core.prepare import catalogue
from tests.prepare.fake_benchmarks import LISTS, as_published, prepared
from tests.prepare.fake_cifar import write_pickles, write_pngs


def images_and_lists(folder, flat, path):
    """images/ beside split/{train,val,test}.csv; `path` gives the name of an image in both."""
    (folder / "split").mkdir(parents=True)
    for split in SPLITS:
        lines = ["filename,label"]
        for name in LISTS[split]:
            for file in sorted((flat / name).iterdir()):
                target = folder / path(name, file.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
                lines.append(f"{path(name, file.name).removeprefix('images/')},{name}")
        (folder / "split" / f"{split}.csv").write_text("\n".join(lines) + "\n")


def split_folders(folder, flat, prefix=""):
    """train/, val/ and test/ with class folders."""
    for split in SPLITS:
        for name in LISTS[split]:
            shutil.copytree(flat / name, folder / f"{prefix}{split}" / name)


def packed(tmp_path, folder):
    """The folder as a tar, as the authors give it."""
    archive = tmp_path / f"{folder.name}.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, folder.name)
    shutil.rmtree(folder)
    return archive


LAYOUTS = {
    "DeepEMD miniimagenet.tar": ("miniimagenet", lambda f, flat: images_and_lists(f, flat, lambda c, n: f"images/{n}")),
    "DeepEMD tieredimagenet.tar": ("tieredimagenet", split_folders),
    "DeepEMD cub.tar": ("cub", lambda f, flat: images_and_lists(f, flat, lambda c, n: f"images/{c}/{n}")),
    "M2L miniImagenet": ("miniImagenet", split_folders),
    "M2L tieredimagenet": ("tieredimagenet", split_folders),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("archive", [True, False])
def test_the_layout_is_read(tmp_path, flat, layout, archive):
    name, write = LAYOUTS[layout]
    folder = tmp_path / "theirs" / name
    folder.mkdir(parents=True)
    write(folder, flat)
    collect = {"cub": catalogue.cub, "tieredimagenet": catalogue.tiered}.get(name, catalogue.mini)
    source = packed(tmp_path, folder) if archive else folder
    splits = prepared(tmp_path / "data", source, collect)
    assert as_published(splits)
    expected = prepared(tmp_path / "expected", flat, collect)
    assert [split.manifest["pixels_sha256"] for split in splits] == [s.manifest["pixels_sha256"] for s in expected]
    assert "deviation" not in splits[0].manifest


@pytest.mark.parametrize(("name", "prefix"), [("cifar_fs", "meta-"), ("FC100", ""), ("FC100", "meta-")])
def test_cifar_is_read_from_the_folders_of_splits(tmp_path, parts, read_cifar, name, prefix):
    benchmark = {"cifar_fs": "CIFAR-FS", "FC100": "FC100"}[name]
    expected = read_cifar(write_pickles(tmp_path / "pickles", parts), benchmark)
    folder = tmp_path / "theirs" / name
    flat = write_pngs(tmp_path / "pngs", parts)
    for split, content in expected.items():
        for label in content.classes:
            shutil.copytree(flat / label, folder / f"{prefix}{split}" / label)
    splits = read_cifar(packed(tmp_path, folder), benchmark)
    for split, content in expected.items():
        assert splits[split].classes == content.classes
        assert splits[split].manifest["pixels_sha256"] == content.manifest["pixels_sha256"]
