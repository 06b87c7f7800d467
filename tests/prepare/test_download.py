import hashlib
import http.server
import threading
from functools import partial

import numpy as np
import pytest

from core.errors import UserError
from core.prepare import download
from core.prepare.collect import Options
from core.prepare.download import Remote, fetch
from core.prepare.prepare import prepare
from tests.prepare.fake_cifar import make_parts, small_cifar, write_tar

CONTENT = np.random.default_rng(0).bytes(100_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; /cut sends 30,000 bytes at a time, /whole ignores Range, /other has other content."""

    requests = []
    content = CONTENT

    def do_GET(self):
        self.requests.append((self.path, self.headers.get("Range")))
        kind, content = self.path.strip("/"), self.content
        if kind == "missing":
            return self.send_error(404)
        if kind == "other":
            content = content[::-1]
        start = int(self.headers["Range"][6:-1]) if "Range" in self.headers and kind != "whole" else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start : start + 30_000] if kind == "cut" else content[start:])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=partial(server.serve_forever, 0.01), daemon=True)
    thread.start()
    Server.requests, Server.content = [], CONTENT
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_download(tmp_path, url):
    file = fetch(Remote("set.zip", (f"{url}/good",), MD5), tmp_path / "downloads")
    assert file.read_bytes() == CONTENT
    fetch(Remote("set.zip", (f"{url}/good",), MD5), tmp_path / "downloads")
    assert len(Server.requests) == 1


def test_a_cut_off_download_goes_on(tmp_path, url, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 5)
    assert fetch(Remote("set.zip", (f"{url}/cut",), MD5), tmp_path).read_bytes() == CONTENT
    assert [range_ for _, range_ in Server.requests] == [None, "bytes=30000-", "bytes=60000-", "bytes=90000-"]


def test_another_run_goes_on(tmp_path, url):
    (tmp_path / "set.zip.part").write_bytes(CONTENT[:70_000])
    assert fetch(Remote("set.zip", (f"{url}/good",), MD5), tmp_path).read_bytes() == CONTENT
    assert Server.requests == [("/good", "bytes=70000-")]
    (tmp_path / "whole.zip.part").write_bytes(CONTENT[:70_000])
    assert fetch(Remote("whole.zip", (f"{url}/whole",), MD5), tmp_path).read_bytes() == CONTENT
    (tmp_path / "done.zip.part").write_bytes(CONTENT)
    assert fetch(Remote("done.zip", (f"{url}/good",), MD5), tmp_path).read_bytes() == CONTENT


def test_mirrors_come_in_order_and_wrong_files_are_dropped(tmp_path, url):
    remote = Remote("set.zip", (f"{url}/missing", f"{url}/other", f"{url}/good"), MD5)
    assert fetch(remote, tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in Server.requests] == ["/missing"] * 3 + ["/other"] * 3 + ["/good"]


def test_no_mirror_gives_the_file(tmp_path, url):
    with pytest.raises(UserError, match=r"404 Not Found; .*/other: its MD5 is .* instead of .*--from\.$") as caught:
        fetch(Remote("set.zip", (f"{url}/missing", f"{url}/other"), MD5), tmp_path)
    assert str(caught.value).count("404") == 1
    assert not (tmp_path / "set.zip").exists()
    assert not (tmp_path / "set.zip.part").exists()
    with pytest.raises(UserError, match="cannot be downloaded"):
        fetch(Remote("set.zip", ("http://127.0.0.1:1/nothing",)), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        fetch(Remote("set.zip", (f"{url}/good",)), tmp_path / "file")


def test_a_data_set_is_downloaded_and_prepared(tmp_path, url):
    Server.content = write_tar(tmp_path, make_parts(), "gz").read_bytes()
    remote = Remote("cifar.tar.gz", (f"{url}/good",), hashlib.md5(Server.content).hexdigest())
    splits = prepare(tmp_path / "data", small_cifar(remotes=(remote,)), Options(workers=1))
    assert [len(split.classes) for split in splits] == [64, 16, 20]
    assert splits[0].manifest["source_sha256"] == {"cifar.tar.gz": hashlib.sha256(Server.content).hexdigest()}
