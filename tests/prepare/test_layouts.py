"""Classes and images in the folders that people have."""

import os

import pytest

from core.data.store import SPLITS
from core.errors import UserError
from core.prepare.layouts import find_images, images_below, nested_folders


def touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def names(image_set):
    return {name: sorted(images) for name, images in image_set.images.items()}


def test_hidden_files_and_files_of_other_kinds_are_left_out(tmp_path):
    touch(tmp_path, "a.jpg", "deep/er/b.PNG", ".c.png", "__MACOSX/d.png", "e.txt", "one/two/three/f.png")
    assert sorted(images_below(tmp_path, 2)) == ["a.jpg", "deep/er/b.PNG"]
    touch(tmp_path, "two\nlines.png")
    with pytest.raises(UserError, match=r"an image named 'two\\nlines.png'; rename it"):
        images_below(tmp_path, 2)


@pytest.mark.parametrize("above", ["", "set", "set/more", "set/images"])
def test_class_folders_below_folders_that_hold_nothing_else(tmp_path, above):
    touch(tmp_path / above, "cat/1.png", "cat/kittens/2.png", "dog/1.png")
    image_set = find_images([tmp_path])
    assert names(image_set) == {"cat": ["1.png", "kittens/2.png"], "dog": ["1.png"]}
    assert image_set.split_of == {}


def test_folders_of_splits_name_the_split(tmp_path):
    touch(tmp_path, "base/cat/1.png", "validation/dog/1.png", "novel/cow/1.png")
    assert find_images([tmp_path]).split_of == {"cat": "train", "dog": "val", "cow": "test"}
    touch(tmp_path, "novel/cat/2.png")
    with pytest.raises(UserError, match=r"is a class of .* too; a class has one split"):
        find_images([tmp_path])


def test_an_image_folder_with_the_same_classes_in_train_and_val_is_explained(tmp_path):
    touch(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/cat/2.png", "val/dog/2.png")
    with pytest.raises(UserError) as caught:
        find_images([tmp_path])
    assert str(caught.value) == (
        f"{tmp_path}/val holds the classes of {tmp_path}/train: splits of few-shot learning part the classes, not the "
        f"images of each; prepare folder:{tmp_path}/train, whose classes are then split."
    )


def test_class_folders_lie_as_deep_as_one_says(tmp_path):
    touch(tmp_path, "animals/cat/1.png", "animals/cat/kittens/2.png", "tools/saw/1.png")
    assert names(find_images([tmp_path], 2)) == {"animals/cat": ["1.png", "kittens/2.png"], "tools/saw": ["1.png"]}
    assert sorted(find_images([tmp_path], 1).images) == ["animals", "tools"]
    touch(tmp_path, "tools/loose.png")
    with pytest.raises(UserError, match=r"tools holds images beside class folders; move them into one"):
        find_images([tmp_path], 2)
    touch(tmp_path / "flat", "cat/1.png", "dog/1.png")
    with pytest.raises(UserError, match=r"cat holds images and no class folders; give a smaller --depth, or leave it"):
        find_images([tmp_path / "flat"], 2)
    (tmp_path / "list.csv").write_text("filename,label\n1.png,cat\n")
    with pytest.raises(UserError, match=r"--depth is 2, but .*list.csv says which class"):
        find_images([tmp_path, tmp_path / "list.csv"], 2)


def test_images_of_a_class_in_one_place_or_several(tmp_path):
    assert nested_folders({"1.png": tmp_path, "2.png": tmp_path}) == []
    assert nested_folders({"images/1.png": tmp_path, "images/2.png": tmp_path}) == []
    assert nested_folders({"1.png": tmp_path, "more/2.png": tmp_path}) == ["more"]


def test_a_train_folder_alone_is_no_split(tmp_path):
    image_set = find_images([touch(tmp_path, "train/cat/1.png", "train/dog/1.png")])
    assert (names(image_set), image_set.split_of) == ({"cat": ["1.png"], "dog": ["1.png"]}, {})


def test_several_folders_are_one_set(tmp_path):
    first, second = touch(tmp_path / "a", "cat/1.png", "dog/1.png"), touch(tmp_path / "b", "cat/2.png", "cow/1.png")
    assert names(find_images([first, second])) == {"cat": ["1.png", "2.png"], "dog": ["1.png"], "cow": ["1.png"]}
    touch(second, "cat/1.png")
    with pytest.raises(UserError, match=r"and another folder that both hold cat/1.png; remove one"):
        find_images([first, second])


def test_a_class_in_two_splits_of_two_folders(tmp_path):
    first = touch(tmp_path / "a", "train/cat/1.png", "test/dog/1.png")
    second = touch(tmp_path / "b", "train/cow/1.png", "test/cat/2.png")
    with pytest.raises(UserError, match="that have class 'cat' in two splits; give it one split"):
        find_images([first, second])


def test_csv_lines_name_a_path_a_file_of_the_class_or_a_unique_file(tmp_path):
    touch(tmp_path / "images", "deep/1.png", "cat/2.png", "dog/2.png")
    lines = {"train": "deep\\1.png,cat", "val": "2.png,dog", "test": "1.png,cow"}
    for split in SPLITS:
        (tmp_path / f"{split}.csv").write_text(f"filename,label\n{lines[split]}\n")
    image_set = find_images([tmp_path])
    paths = {name: next(iter(images.values())) for name, images in image_set.images.items()}
    folder = tmp_path / "images"
    assert paths == {"cat": folder / "deep/1.png", "dog": folder / "dog/2.png", "cow": folder / "deep/1.png"}
    assert image_set.split_of == {"cat": "train", "dog": "val", "cow": "test"}
    (tmp_path / "val.csv").write_text("filename,label\n2.png,pig\n")
    with pytest.raises(UserError, match=r"1 of 3 images of the CSV files are not in .*, such as '2.png'"):
        find_images([tmp_path])


def test_sources_without_images(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for source, message in (
        ("nothing", "does not exist"),
        ("file", "neither a folder nor an archive"),
        ("empty", "no class folders"),
    ):
        with pytest.raises(UserError, match=message):
            find_images([tmp_path / source])


def test_links_that_lead_in_a_circle_are_no_images(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").touch()
    circle = tmp_path / "photos" / "a" / "circle"
    circle.symlink_to(circle)
    (tmp_path / "photos" / "b" / "up").symlink_to(tmp_path / "photos", target_is_directory=True)
    (tmp_path / "photos" / "loop").symlink_to(".", target_is_directory=True)
    assert names(find_images([tmp_path / "photos"])) == {"a": ["1.png"], "b": ["1.png"]}
    assert list(images_below(tmp_path / "photos", 8)) == ["a/1.png", "b/1.png"]


def test_a_link_to_another_folder_is_followed(tmp_path):
    touch(tmp_path, "photos/cat/1.png", "elsewhere/more/2.png")
    (tmp_path / "photos" / "dog").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert names(find_images([tmp_path / "photos"])) == {"cat": ["1.png"], "dog": ["more/2.png"]}
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "photos", target_is_directory=True)
    assert names(find_images([tmp_path / "photos"]))["dog"] == ["more/2.png"]


@pytest.mark.parametrize("name", [b"\xff", b"a\x1b[31m", "a\u202eb".encode()])
def test_class_folders_that_cannot_be_printed_are_named(tmp_path, name):
    (tmp_path / "a").mkdir()
    os.mkdir(os.path.join(os.fsencode(tmp_path), name))
    with pytest.raises(UserError, match="holds a folder named"):
        find_images([tmp_path])


def test_ordinary_names_with_rare_spaces_and_joiners_are_taken(tmp_path):
    screenshot = "Screenshot at 9.41\u202fAM.png"  # as macOS calls them
    touch(tmp_path, f"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645/{screenshot}", "dog/\u00a01.png")
    assert names(find_images([tmp_path])) == {
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645": [screenshot],
        "dog": ["\u00a01.png"],
    }
