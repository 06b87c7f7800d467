import numpy as np
import pytest

from core.data import writer
from core.data.store import prepared, read_split, split_dir
from core.errors import UserError
from tests.data.fake_split import fruit, write_fruit


def test_manifest_statistics(tmp_path):
    images = fruit()[0]
    manifest = read_split(write_fruit(tmp_path, *fruit())).manifest
    assert np.allclose(manifest["mean"], (images / 255).mean((0, 1, 2)), atol=1e-6)
    assert np.allclose(manifest["std"], (images / 255).std((0, 1, 2)), atol=1e-6)
    assert manifest["counts"] == [3, 2, 1]
    assert manifest["source"] == "nowhere"


def test_repeated_names_are_our_bug(tmp_path):
    with pytest.raises(ValueError, match="repeat"):
        write_fruit(tmp_path, *fruit()[:3], ["same"] * 6, "nowhere")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_leaves_nothing_behind(tmp_path, monkeypatch, error):
    save = np.save

    def fail(path, array):
        if path.name == "labels.npy":
            raise error
        save(path, array)

    monkeypatch.setattr(writer.np, "save", fail)
    with pytest.raises((UserError, KeyboardInterrupt), match=r"No space left|^$"):
        write_fruit(tmp_path, *fruit())
    folder = split_dir(tmp_path, "Fruit", 4, "val")
    assert not prepared([folder])
    assert not list(tmp_path.iterdir())


def test_second_writer_keeps_the_first_result(tmp_path):
    folder = write_fruit(tmp_path, *fruit())
    first = read_split(folder).manifest
    write_fruit(tmp_path, *fruit(seed=1))
    assert read_split(folder).manifest == first
    assert [entry.name for entry in folder.parent.iterdir()] == ["val"]


def test_incomplete_folder_in_the_way(tmp_path):
    folder = write_fruit(tmp_path, *fruit())
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="delete the folder and prepare it again"):
        write_fruit(tmp_path, *fruit())


def test_a_writer_that_does_not_finish_leaves_nothing(tmp_path):
    images, labels = fruit()[:2]
    with writer.SplitWriter(tmp_path / "Fruit" / "val", "Fruit", np.sort(labels), list("abc"), list("abcdef")) as split:
        split.add(images[:4])
        with pytest.raises(ValueError, match="4 images for 6 names"):
            split.finish("nowhere")
    assert not list(tmp_path.iterdir())
