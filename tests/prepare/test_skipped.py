"""Files among photographs that are not read are named, and those that nobody expects to be read are not."""

import os

import pytest

from core.prepare.collect import Options
from core.prepare.skipped import skipped_files, skipped_note
from tests.prepare.fake_images import names, picture, write_classes
from tests.prepare.folders import prepared

HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"


def test_what_is_not_read_has_a_reason_and_what_is_to_be_converted_comes_first(tmp_path):
    used = tmp_path / "cup" / "1.png"
    (tmp_path / "cup").mkdir()
    for path in (used, tmp_path / "0.JPG", tmp_path / "bare", tmp_path / "cup" / "2.jfif"):
        path.touch()
    (tmp_path / "cup" / "phone.HEIC").write_bytes(HEIC)
    assert list(skipped_files(tmp_path, [used]).items()) == [
        ("cup/phone.HEIC", "HEIC: save it as JPEG"),
        ("0.JPG", "where no photos are looked for"),
        ("bare", "ending not known"),
        ("cup/2.jfif", "ending not known"),
    ]
    assert skipped_note(tmp_path, [used]).startswith(f"4 files are skipped in {tmp_path}: cup/phone.HEIC (HEIC: save")


@pytest.mark.parametrize("name", [".DS_Store", "._a.jpg", "Thumbs.db", "desktop.ini", "note.TXT", "a.json", "b.csv"])
def test_what_lies_beside_photos_by_custom_is_not_named(tmp_path, name):
    (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to("nowhere")
    assert skipped_note(tmp_path, []) == ""


def test_a_few_names_stand_for_many_and_none_spoils_the_terminal(tmp_path):
    for name in ("a\x1b[31m", *(f"b{number}" for number in range(6))):
        (tmp_path / name).touch()
    note = skipped_note(tmp_path, [])
    assert note.startswith(f"7 files are skipped in {tmp_path}: 'a\\x1b[31m' (ending not known), b0 ")
    assert note.endswith(", b3 (ending not known) and 2 more")


def test_a_prepared_folder_says_what_it_skipped_unless_a_list_chose_the_images(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    picture(0).save(photos / "loose.png")
    manifest = prepared(photos, tmp_path / "data")[0].manifest
    assert manifest["skipped"] == f"1 file is skipped in {photos}: loose.png (where no photos are looked for)"
    rows = [f"{path.name},{path.parent.name}" for path in photos.glob("*/*.png")]
    (tmp_path / "list.csv").write_text("\n".join(["filename,label", *rows]) + "\n")
    listed = Options(size=12, workers=1, sources=(tmp_path / "list.csv",))
    assert "skipped" not in prepared(photos, tmp_path / "other", listed)[0].manifest
