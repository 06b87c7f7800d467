"""Published benchmarks in small: two or three classes a split, three images a class."""

import pickle
import shutil
import tarfile
import zipfile
from functools import partial

import numpy as np
import pytest
from tests.data.test_unpack import Malicious

from core.data.datasets import BENCHMARKS, Benchmark
from core.data.store import SPLITS
from core.errors import UserError
from core.prepare import catalogue
from core.prepare.collect import Options, Published
from core.prepare.prepare import check_prepared, prepare
from tests.prepare.fake_images import picture, write_classes

LISTS = {"train": ["n01", "n02", "n03"], "val": ["n04", "n05"], "test": ["n06", "n07"]}
ALL = [name for split in SPLITS for name in LISTS[split]]
WORDS = {name: f"bird {name}, Avis {name}" for name in ALL}
SMALL = Published(lambda: LISTS, per_class=3, words=lambda: WORDS)


def prepared(root, source, collect=catalogue.mini, published=SMALL, **options):
    found = Benchmark("Mini", 8, 3, published.lists, collect=partial(collect, published=published), terms="none")
    sources = tuple(source) if isinstance(source, list) else (source,)
    return prepare(root, found, Options(sources, workers=1, **options))


def as_published(splits):
    return [split.classes for split in splits] == [LISTS[split] for split in SPLITS] and all(
        (split.counts == 3).all() for split in splits
    )


@pytest.fixture
def flat(tmp_path):
    return write_classes(tmp_path / "flat", ALL)


@pytest.mark.parametrize("form", ["flat", "nested", "deep", "tar.gz", "zip", "csv", "csv by class", "more classes"])
def test_every_layout_gives_the_same_benchmark(tmp_path, flat, form):
    expected = [split.fingerprint for split in prepared(tmp_path / "expected", flat)]
    source = flat
    if form == "nested":
        for split in SPLITS:
            for name in LISTS[split]:
                shutil.copytree(flat / name, tmp_path / "nested" / split / name)
        source = tmp_path / "nested"
    elif form == "deep":
        shutil.copytree(flat, tmp_path / "CUB" / "CUB_200" / "images")
        (tmp_path / "CUB" / "CUB_200" / "parts").mkdir()
        source = tmp_path / "CUB"
    elif form == "tar.gz":
        source = tmp_path / "flat.tar.gz"
        with tarfile.open(source, "w:gz") as tar:
            tar.add(flat, "set/images")
    elif form == "zip":
        source = shutil.make_archive(tmp_path / "flat", "zip", tmp_path, "flat")
    elif form.startswith("csv"):
        source = write_csv_layout(tmp_path / "ravi", flat, form == "csv by class")
    elif form == "more classes":
        write_classes(flat, ["n99"])
    splits = prepared(tmp_path / "data", type(tmp_path)(source))
    assert as_published(splits)
    assert [split.fingerprint for split in splits] == expected
    assert "deviation" not in splits[0].manifest
    assert splits[2].manifest["words"] == {name: WORDS[name] for name in LISTS["test"]}


def write_csv_layout(folder, flat, by_class):
    (folder / "images").mkdir(parents=True)
    for split in SPLITS:
        lines = ["filename,label"]
        for name in LISTS[split]:
            lines += [f"{path.name},{name}" for path in (flat / name).iterdir()]
            shutil.copytree(flat / name, folder / "images" / (name if by_class else ""), dirs_exist_ok=True)
        (folder / f"{split}.csv").write_text("\n".join(lines))
    return folder


def test_a_deviation_is_refused_or_recorded(tmp_path, flat):
    next((flat / "n02").iterdir()).unlink()
    shutil.rmtree(flat / "n03")
    with pytest.raises(
        UserError, match=r"1 of 7 classes are missing, such as n03; 2 images of n02 instead of 3.*--allow-dev"
    ):
        prepared(tmp_path / "data", flat)
    assert not (tmp_path / "data").exists()
    splits = prepared(tmp_path / "data", flat, allow_deviation=True)
    assert all("n03; 2 images of n02" in split.manifest["deviation"] for split in splits)
    totals = Published(lambda: LISTS, per_split={"train": 9, "val": 6, "test": 6})
    with pytest.raises(UserError, match="5 images of train instead of 9"):
        prepared(tmp_path / "totals", flat, published=totals)


def test_check_compares_with_the_published_list(tmp_path, flat):
    prepared(tmp_path / "data", flat)
    other = LISTS | {"val": ["n04", "n08"]}
    check_prepared(tmp_path / "data", Benchmark("Mini", 8, 3, lambda: LISTS))
    with pytest.raises(UserError, match="val of Mini does not hold the classes"):
        check_prepared(tmp_path / "data", Benchmark("Mini", 8, 3, lambda: other))


def test_classes_in_other_splits_follow_the_list_and_are_noted(tmp_path, flat):
    for split, names in {"train": ALL[:3], "val": ["n06", "n05"], "test": ["n04", "n07"]}.items():
        for name in names:
            shutil.copytree(flat / name, tmp_path / "swapped" / split / name)
    splits = prepared(tmp_path / "data", tmp_path / "swapped")
    assert as_published(splits)
    assert splits[0].manifest["classes_the_source_had_in_other_splits"] == 2


def test_missing_images_of_a_csv_are_named(tmp_path, flat):
    source = write_csv_layout(tmp_path / "ravi", flat, False)
    (source / "images" / "n01_0.png").unlink()
    with pytest.raises(UserError, match=r"1 of 21 images of the CSV files are not in .*'n01_0.png'"):
        prepared(tmp_path / "data", source)


def test_lists_choose_images_of_a_larger_set(tmp_path):
    whole = write_classes(tmp_path / "train", [*ALL, "n99"], images=5)
    lists = []
    for split in SPLITS:
        lists.append(tmp_path / f"{split}_imagenet_filenames.csv")
        rows = [f"{name},{name}_{number}.png" for name in LISTS[split] for number in (0, 2, 4)]
        lists[-1].write_text("\n".join(["class_name,image_name", *rows]))
    splits = prepared(tmp_path / "data", [whole, *lists])
    assert as_published(splits)
    assert splits[0].names[:3] == ["n01_0.png", "n01_2.png", "n01_4.png"]


def mini_pickles(folder, **change):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, word in zip(SPLITS, ("train", "validation", "test"), strict=True):
        count = 3 * len(LISTS[split])
        rows = np.arange(count).reshape(-1, 3).tolist()
        content = {
            "image_data": rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8),
            "class_dict": dict(zip(LISTS[split], rows, strict=True)),
        }
        (folder / f"mini-imagenet-cache-{word}.pkl").write_bytes(pickle.dumps(content | change, 2))
    return folder


def test_mini_from_pickles(tmp_path):
    source = mini_pickles(tmp_path / "pickles")
    splits = prepared(tmp_path / "data", source)
    assert as_published(splits)
    original = pickle.loads((source / "mini-imagenet-cache-test.pkl").read_bytes())
    assert (splits[2].images == original["image_data"]).all()
    assert not [path for path in (tmp_path / "data" / "Mini").iterdir() if path.name.startswith(".")]
    (source / "mini-imagenet-cache-test.pkl").unlink()
    with pytest.raises(UserError, match=r"lacks mini-imagenet-cache-test\.pkl"):
        prepared(tmp_path / "other", source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_data": np.zeros((9, 8, 8, 3))}, "holds no image_data"),
        ({"image_data": np.zeros((9, 84, 84, 3), np.uint8)}, "84x84 px; give --size 84"),
        ({"class_dict": {"n01": [0, 1, 99]}}, "no class_dict of rows"),
        ({"class_dict": {"n01": [0, 1, 1]}}, "an image to two classes"),
        ({"class_dict": Malicious(eval, "1")}, "is refused: it asks for __builtin__.eval"),
    ],
)
def test_wrong_mini_pickles_are_explained(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        prepared(tmp_path / "data", mini_pickles(tmp_path / "pickles", **change))
    assert not (tmp_path / "data").exists()


def tiered_pickles(folder, flat):
    folder.mkdir()
    for split in SPLITS:
        paths = [path for name in LISTS[split] for path in sorted((flat / name).iterdir())]
        pngs = [np.frombuffer(path.read_bytes(), np.uint8) for path in paths]
        texts = [f"bird {name}" for name in LISTS[split]]
        labels = {"label_specific": np.arange(len(texts)).repeat(3), "label_specific_str": texts}
        (folder / f"{split}_images_png.pkl").write_bytes(pickle.dumps(pngs, 2))
        (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels, 2))
    return folder


def test_tiered_from_pickles_has_the_pixels_of_the_folders(tmp_path, flat):
    splits = prepared(tmp_path / "data", tiered_pickles(tmp_path / "pickles", flat), catalogue.tiered)
    assert as_published(splits)
    folders = prepared(tmp_path / "folders", flat, catalogue.tiered)
    assert all((a.images == b.images).all() for a, b in zip(splits, folders, strict=True))


CHARACTERS = {"train": ["Latin/character01", "Greek/character02"], "val": ["Greek/character01", "N_Ko/character01"]}
OMNIGLOT = Published(lambda: CHARACTERS | {"test": ["Ge_ez/character01", "Ge_ez/character02"]}, per_class=2)


def test_omniglot_from_folders_zips_and_bits(tmp_path):
    every = [name for names in OMNIGLOT.lists().values() for name in names]
    for name in every:
        part = tmp_path / ("images_evaluation" if name.startswith("Ge") else "images_background")
        (part / name).mkdir(parents=True)
        for number in range(2):
            picture(number, 105, 105, "1").save(part / name / f"0001_{number:02d}.png")
    parts = [tmp_path / "images_background", tmp_path / "images_evaluation"]
    splits = prepared(tmp_path / "data", parts, catalogue.omniglot, OMNIGLOT)
    assert [len(split.classes) for split in splits] == [2, 2, 2]
    zips = [shutil.make_archive(part, "zip", tmp_path, part.name) for part in parts]
    zipped = prepared(tmp_path / "zipped", [type(tmp_path)(z) for z in zips], catalogue.omniglot, OMNIGLOT)
    assert all((a.images == b.images).all() for a, b in zip(splits, zipped, strict=True))
    bits = np.packbits(np.eye(8, dtype=np.uint8).reshape(1, -1).repeat(12, 0), axis=1)
    labels = np.array([f"images_background__{name.replace('/', '__')}".encode() for name in every])
    np.savez(tmp_path / "bits.npz", bits=bits, names=labels, shape=np.array([6, 2, 8, 8]))
    packed = prepared(tmp_path / "packed", tmp_path / "bits.npz", catalogue.omniglot, OMNIGLOT)
    assert (packed[0].images[0, ..., 0] == 255 * (1 - np.eye(8))).all()
    with pytest.raises(UserError, match="no folders Alphabet/character"):
        prepared(tmp_path / "none", tmp_path / "data", catalogue.omniglot, OMNIGLOT)


@pytest.mark.parametrize(
    ("name", "classes", "total"),
    [
        ("miniImagenet", [64, 16, 20], 60_000),
        ("tieredImagenet", [351, 97, 160], 779_165),
        ("CUB", [100, 50, 50], 11_788),
        ("CUB-FEAT", [100, 50, 50], 11_788),
        ("FC100", [60, 20, 20], 60_000),
        ("Omniglot", [1028, 172, 423], 32_460),
    ],
)
def test_published_counts(name, classes, total):
    lists = BENCHMARKS[name].classes()
    assert [len(lists[split]) for split in SPLITS] == classes
    assert len({name for split in SPLITS for name in lists[split]}) == sum(classes)
    assert BENCHMARKS[name].total == total


def test_published_totals_agree():
    for published in (catalogue.TIERED, catalogue.CUB, catalogue.CUB_FEAT):
        assert sum(published.per_split.values()) in (779_165, 11_788)
    assert len(set(catalogue.CUB.lists()["test"]) & set(catalogue.CUB_FEAT.lists()["test"])) == 12


def hostile_tar(path, name, link=False):
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        if link:
            info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
    return path


def test_archives_cannot_leave_their_folder(tmp_path):
    for number, name in enumerate(("../out.png", "/abs.png", "a/../../out.png")):
        with pytest.raises(UserError, match="leads out of the folder"):
            prepared(tmp_path / "data", hostile_tar(tmp_path / f"{number}.tar", name))
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as opened:
        opened.writestr("../out.png", b"x")
    with pytest.raises(UserError, match="leads out of the folder"):
        prepared(tmp_path / "data", tmp_path / "bad.zip")
    with pytest.raises(UserError, match=r"link.tar' holds no class folders"):
        prepared(tmp_path / "data", hostile_tar(tmp_path / "link.tar", "link", link=True))
    assert not (tmp_path / "data").exists()


def test_broken_archives(tmp_path, flat):
    whole = type(tmp_path)(shutil.make_archive(tmp_path / "flat", "gztar", tmp_path, "flat")).read_bytes()
    for ending in ("tar.gz", "zip"):
        broken = tmp_path / f"broken.{ending}"
        broken.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match="not a readable archive, perhaps cut short"):
            prepared(tmp_path / "data", broken)
    assert not (tmp_path / "data").exists()
