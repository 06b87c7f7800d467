import pytest

from core.data.datasets import DATASETS
from core.errors import UserError
from core.prepare.sources import SOURCES, source


def test_every_data_set_has_a_source_and_one_way_to_its_splits():
    assert SOURCES.keys() == DATASETS.keys()
    for name, known in SOURCES.items():
        assert (known.dataset.name, known.dataset.native_size) == (name, DATASETS[name].native_size)
        assert (known.make is None) != (known.collect is None)
        assert known.dataset.drawn == (known.make is not None)


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("CIFAR-FS", 60_000),
        ("FC100", 60_000),
        ("miniImagenet", 60_000),
        ("tieredImagenet", 779_165),
        ("CUB", 11_788),
        ("CUB-FEAT", 11_788),
        ("Omniglot", 32_460),
        ("ImageNet-LowShot", 1_331_167),
    ],
)
def test_published_images(name, images):
    assert SOURCES[name].images() == images


def test_names_ignore_case_and_a_folder_is_a_source(tmp_path):
    assert source("cifar-fs") is SOURCES["CIFAR-FS"]
    assert source(f"folder:{tmp_path}").dataset.path == tmp_path
    with pytest.raises(UserError, match=r"NAME is 'CIFARFS', which is not one of.*did you mean CIFAR-FS"):
        source("CIFARFS")
