"""Where a user's photographs are found, and what is said of folders that hold none."""

import os

import numpy as np
import pytest

from core.errors import UserError
from core.predict.photos import photos_from, query_photos, readable, support_photos
from core.prepare.images import Decoding, decode
from tests.predict.photos import pattern, write_classes, write_photo


def test_supports_are_found_class_by_class(tmp_path):
    write_classes(tmp_path, {"cup": 2, "bowl": 1})
    (tmp_path / "cup" / "note.txt").write_text("no photo")
    (tmp_path / ".hidden").mkdir()
    photos = support_photos(tmp_path)
    assert [(photo.name, photo.label) for photo in photos] == [
        ("bowl/00.png", "bowl"),
        ("cup/00.png", "cup"),
        ("cup/01.png", "cup"),
    ]


def refused(folder, **options):
    with pytest.raises(UserError) as caught:
        support_photos(folder, **options)
    return str(caught.value)


def test_folders_without_classes_are_refused_with_what_to_do(tmp_path):
    assert "which does not exist; give a folder" in refused(tmp_path / "none")
    write_photo(tmp_path / "loose" / "a.png", 0)
    assert "which holds photos but no folders" in refused(tmp_path / "loose")
    write_classes(tmp_path / "one", {"cup": 2})
    assert "which holds 1 class folders; give two classes or more." in refused(tmp_path / "one")
    (tmp_path / "one" / "bowl").mkdir()
    assert "where bowl holds no photo (.jpg, " in refused(tmp_path / "one")
    assert "which is a file" in refused(write_photo(tmp_path / "a.png", 0))


def test_nested_folders_are_refused_not_flattened(tmp_path):
    write_classes(tmp_path / "fruit", {"apple": 1, "pear": 1})
    write_classes(tmp_path, {"cup": 1})
    sentence = f"the folder fruit holds folders (apple, pear); give --support {tmp_path}/fruit, or --depth 2"
    assert sentence in refused(tmp_path)
    assert "--depth" not in refused(tmp_path, option="--reference")
    assert f"{tmp_path}/cup holds photos and no class folders; give a smaller --depth" in refused(tmp_path, depth=2)
    write_classes(tmp_path / "cup", {"small": 1})
    assert f"{tmp_path}/cup holds photos beside class folders; move them" in refused(tmp_path, depth=2)


def test_nested_class_folders_are_classes_where_one_says_so(tmp_path):
    write_classes(tmp_path / "fruit", {"apple": 2, "pear": 1})
    write_classes(tmp_path / "toys", {"apple": 1})
    labels = [photo.label for photo in support_photos(tmp_path, depth=2)]
    assert labels == ["fruit/apple", "fruit/apple", "fruit/pear", "toys/apple"]
    queries = query_photos([tmp_path], ["fruit/apple", "fruit/pear"])
    assert [photo.label for photo in queries] == labels  # toys/apple is a photo of no class
    assert {photo.label for photo in query_photos([tmp_path / "toys"], ["fruit/apple"])} == {""}


def test_queries_are_found_at_any_depth_and_files_as_they_are(tmp_path):
    deep = write_photo(tmp_path / "new" / "a" / "b" / "1.png", 0)
    loose = write_photo(tmp_path / "2.png", 1)
    photos = query_photos([tmp_path / "new", loose, loose], ["cup"])
    assert [(photo.name, photo.label) for photo in photos] == [(str(deep), ""), (str(loose), "")]


def test_folders_called_like_classes_label_their_photos(tmp_path):
    write_classes(tmp_path, {"cup": 1, "other": 1})
    assert [photo.label for photo in query_photos([tmp_path], ["cup", "bowl"])] == ["cup", "other"]
    assert [photo.label for photo in query_photos([tmp_path], ["bowl"])] == ["", ""]


def test_an_accent_of_its_own_names_the_same_class(tmp_path):
    write_classes(tmp_path, {"Cre\u0300me": 1})
    assert [photo.label for photo in query_photos([tmp_path], ["Cr\u00e8me", "cup"])] == ["Cr\u00e8me"]


def test_a_photo_named_twice_keeps_its_label(tmp_path):
    write_classes(tmp_path, {"cup": 1})
    for paths in ([tmp_path, tmp_path / "cup"], [tmp_path / "cup", tmp_path]):
        assert [photo.label for photo in query_photos(paths, ["cup"])] == ["cup"]


def test_queries_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"--query names .*none, which does not exist"):
        query_photos([tmp_path / "none"], [])
    (tmp_path / "note.txt").write_text("no photo")
    with pytest.raises(UserError, match="which holds no photo"):
        query_photos([tmp_path], [])


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.png").mkdir()
    (tmp_path / "b.png").write_bytes(b"x")
    good, bad = readable(photos_from([tmp_path / "a.png", tmp_path / "b.png"]))
    assert [photo.name for photo in good] == [str(tmp_path / "b.png")]
    assert bad == {str(tmp_path / "a.png"): "cannot be read (Is a directory)"}


def test_an_array_loses_nothing():
    (photo,) = photos_from([pattern(3)], ["cup"])
    assert photo.label == "cup"
    assert np.array_equal(decode(photo.source, Decoding(48)), pattern(3))
    assert photo.sha256 == photos_from([pattern(3)])[0].sha256


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)])
def test_other_arrays_are_refused(array):
    with pytest.raises(UserError, match="image 0 is an array"):
        photos_from([array])


def test_a_pipe_among_the_photos_is_named_and_nothing_hangs(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    good, bad = readable(query_photos([tmp_path], []))
    assert good == []
    assert bad == {str(tmp_path / "pipe.jpg"): "cannot be read (it is no regular file)"}
