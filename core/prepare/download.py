"""Downloads: an interrupted one is resumed, a finished one is checked, and where one mirror fails the next is tried."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..progress import BYTES, bar

BLOCK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
TRIES = 3  # of each mirror; a cut-off download goes on


@dataclass(frozen=True)
class Remote:
    """A file on the web: its addresses, the official one first, and its published MD5 ("" = none published)."""

    name: str
    urls: tuple[str, ...]
    md5: str = ""


class _Failed(Exception):
    """The reason why one attempt gave no file."""


def fetch(remote: Remote, folder: Path) -> Path:
    """Download a file into `folder`, unless it is there; it gets its name once it is complete.

    Raises:
        UserError: where no mirror gives it.
    """
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{remote.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits, and then finds the file
            reasons = [] if target.is_file() else _from_mirrors(remote, part, target)
    except OSError as error:
        raise UserError(f"{part} cannot be written ({error.strerror or error}); make room.") from error
    if target.is_file():
        return target
    raise UserError(
        f"{remote.name} cannot be downloaded ({'; '.join(dict.fromkeys(reasons))}); try again, or get it yourself and "
        "give it with --from."
    )


def _from_mirrors(remote: Remote, part: Path, target: Path) -> list[str]:
    """Try one mirror after another; returns the reasons of the attempts that failed."""
    reasons: list[str] = []
    for url in remote.urls:
        for _ in range(TRIES):
            try:
                _resume(url, part)
                _refuse_wrong_md5(part, remote.md5)
            except _Failed as error:
                reasons.append(f"{url}: {error}")
                continue
            os.replace(part, target)
            return reasons
    return reasons


def _resume(url: str, part: Path) -> None:
    """Download the part of a file that is not there yet."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            _receive(answer, part, have)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send; the checksum or the reader finds a damaged file
            return
        raise _Failed(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Failed(str(error.reason)) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _Failed(f"cut off ({error or type(error).__name__})") from error


def _receive(answer: http.client.HTTPResponse, part: Path, have: int) -> None:
    """Write what a server sends: the missing part where it answers with that, else the whole file anew."""
    resumed = answer.status == 206
    if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        part.unlink()
        raise _Failed("the server sent another part than the one asked for")
    start, length = have if resumed else 0, answer.headers.get("Content-Length")
    total = start + int(length) if length else None
    with bar(total, BYTES, initial=start, name=part.stem) as counter, part.open("ab" if resumed else "wb") as file:
        while block := answer.read(BLOCK):
            file.write(block)
            counter.update(len(block))
        size = file.tell()
    if total is not None and size < total:
        raise _Failed(f"cut off after {size} of {total} bytes")


def _refuse_wrong_md5(part: Path, md5: str) -> None:
    """Compare with the published checksum; a wrong file is removed, so that the next attempt begins anew."""
    if not md5:
        return
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    if digest != md5:
        part.unlink()
        raise _Failed(f"its MD5 is {digest} instead of {md5}")
