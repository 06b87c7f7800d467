import pytest

from core.prepare import isolated
from core.prepare.collect import Options
from core.prepare.prepare import prepare
from tests.prepare.fake_benchmarks import ALL
from tests.prepare.fake_cifar import PER_CLASS, make_parts, small_cifar
from tests.prepare.fake_images import write_classes


@pytest.fixture(autouse=True)
def no_process(request, monkeypatch):
    """Pickles are read in this process, as starting one takes longer; test_isolated.py starts them."""
    if "test_isolated" not in request.node.nodeid:
        monkeypatch.setattr(isolated, "read", isolated.read_here)


@pytest.fixture(scope="module")
def parts():
    """The pickled dicts of a small CIFAR-100."""
    return make_parts()


@pytest.fixture
def read_cifar(tmp_path_factory):
    """Prepare CIFAR-FS or FC100 in small from a file or folder; returns its splits by name."""

    def read(path, name="CIFAR-FS", per_class=PER_CLASS, **options):
        source, options = small_cifar(name, per_class), Options((path,), workers=1, **options)
        return {split.name: split for split in prepare(tmp_path_factory.mktemp("data"), source, options)}

    return read


@pytest.fixture
def flat(tmp_path):
    """Class folders of a small published benchmark."""
    return write_classes(tmp_path / "flat", ALL)
