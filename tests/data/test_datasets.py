import pytest

from core.data.datasets import Dataset, dataset, is_prepared, split_folders
from core.errors import UserError


@pytest.mark.parametrize("name", ["/photos", "my/photos"])
def test_a_path_is_told_how_a_folder_is_named(name):
    with pytest.raises(UserError, match=rf"for a folder of your own images write folder:{name}\.$"):
        dataset(name)


def test_names_ignore_case():
    assert dataset("cifar-fs").name == "CIFAR-FS"
    with pytest.raises(UserError, match=r"DATASET.NAME is 'CIFARFS', which is not one of.*did you mean CIFAR-FS"):
        dataset("CIFARFS")


def test_a_folder_is_named_by_its_last_part_and_its_whole_path(tmp_path):
    named = dataset(f"FOLDER:{tmp_path}/my photos")
    assert named.name.startswith("folder-my_photos-")
    assert named.path == tmp_path / "my photos"
    assert named.name != dataset(f"folder:{tmp_path}/more/my photos").name
    assert dataset("folder:photos").name == dataset("folder:./photos").name


def test_split_folders(tmp_path):
    fruit = Dataset("Fruit", 32)
    assert split_folders(tmp_path, fruit)[1] == tmp_path / "Fruit" / "32px" / "val"
    assert split_folders(tmp_path, fruit, 84)[0] == tmp_path / "Fruit" / "84px" / "train"
    assert split_folders(tmp_path, dataset("ImageNet-LowShot"))[5].parts[-2:] == ("features", "test-queries")
    assert not is_prepared(tmp_path, fruit)
    for folder in split_folders(tmp_path, fruit):
        folder.mkdir(parents=True)
        (folder / "manifest.json").touch()
    assert is_prepared(tmp_path, fruit)
    assert not is_prepared(tmp_path, fruit, 84)
