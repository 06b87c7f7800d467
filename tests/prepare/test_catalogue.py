"""Published benchmarks of image files: every layout, deviations, and the published counts."""

import shutil
import tarfile

import numpy as np
import pytest

from core.data.datasets import Dataset
from core.data.store import SPLITS
from core.errors import UserError
from core.prepare import catalogue
from core.prepare.collect import Published
from core.prepare.prepare import check_prepared
from tests.prepare.fake_benchmarks import ALL, LISTS, WORDS, as_published, prepared, write_csv_layout
from tests.prepare.fake_images import picture, write_classes


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


@pytest.mark.parametrize("few", [0, 3])
def test_enlarged_benchmarks_are_refused_or_say_so(tmp_path, flat, few):
    for name in ALL[:few]:  # these are large enough
        for number, path in enumerate(sorted((flat / name).iterdir())):
            picture([number, few], 64, 64).save(path)
    with pytest.raises(UserError, match=r"of the first \d+ images of .* are smaller than --size 48, and would be enl"):
        prepared(tmp_path / "data", flat, size=48)
    assert not (tmp_path / "data").exists()
    splits = prepared(tmp_path / "data", flat, size=48, allow_deviation=True)
    text = f"{21 - 3 * few} of 21 images are enlarged to 48 px"
    assert all((s.manifest["deviation"], s.manifest["enlarged"]) == (text, text) for s in splits)
    shutil.rmtree(tmp_path / "data" / "Mini" / "48px" / "val")
    prepared(tmp_path / "data", flat, size=48, allow_deviation=True)  # what was interrupted is finished


def test_a_few_small_images_are_counted_alone(tmp_path, flat):
    splits = prepared(tmp_path / "data", flat, size=16)
    assert "enlarged" not in splits[0].manifest
    picture(3, 12, 12).save(next((flat / "n02").iterdir()))
    splits = prepared(tmp_path / "more", flat, size=16)
    assert splits[0].manifest["enlarged"] == "1 of 21 images are enlarged to 16 px"
    assert "deviation" not in splits[0].manifest


BIRDS = {"train": ["001.Black_Cat", "002.Red_Hen"], "val": ["003.Owl", "004.Jay"], "test": ["005.Emu", "006.Kea"]}


@pytest.mark.parametrize("spelled", [str, lambda name: name[4:], lambda name: name[4:].lower().replace("_", " ")])
def test_birds_are_known_without_their_numbers(tmp_path, spelled):
    every = [name for split in SPLITS for name in BIRDS[split]]
    flat = write_classes(tmp_path / "flat", [*map(spelled, every), "999.Dodo"])
    birds = Published(lambda: BIRDS, per_class=3, same_name=catalogue.bird)
    splits = prepared(tmp_path / "data", flat, catalogue.cub, birds)
    assert {split.name: split.classes for split in splits} == BIRDS
    for published in (catalogue.CUB, catalogue.CUB_FEAT):
        names = [name for names in published.lists().values() for name in names]
        assert published.named(map(catalogue.bird, names)) == {catalogue.bird(name): name for name in names}


def test_check_compares_with_the_published_list(tmp_path, flat):
    prepared(tmp_path / "data", flat)
    other = LISTS | {"val": ["n04", "n08"]}
    check_prepared(tmp_path / "data", Dataset("Mini", 8, lambda: LISTS))
    with pytest.raises(UserError, match="val of Mini does not hold the classes"):
        check_prepared(tmp_path / "data", Dataset("Mini", 8, lambda: other))


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


def test_published_totals_agree():
    for published in (catalogue.TIERED, catalogue.CUB, catalogue.CUB_FEAT):
        assert sum(published.per_split.values()) in (779_165, 11_788)
    assert len(set(catalogue.CUB.lists()["test"]) & set(catalogue.CUB_FEAT.lists()["test"])) == 12
