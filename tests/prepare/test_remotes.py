from core.prepare import remotes
from core.prepare.sources import SOURCES


def test_files_have_one_name_and_an_address_each():
    files = {remote.name: remote for source in SOURCES.values() for remote in source.remotes}
    assert len(files) == len({*remotes.CIFAR, *remotes.CUB, *remotes.MINI, *remotes.TIERED, *remotes.OMNIGLOT})
    for name, remote in files.items():
        assert remote.urls
        assert all(url.startswith("https://") and url.endswith(name) for url in remote.urls)
        assert len(remote.md5) in (0, 32)
