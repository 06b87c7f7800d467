"""Chromium without a window, driven over a pipe by its own protocol: what a page looks like to a reader."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAM = next((path for name in NAMES if (path := shutil.which(name))), None)

# Texts beyond the window's edge or too pale, and images without pixels. What scrolls sideways may be wider.
LOOK = """(async () => {
  const scrolls = element => element.closest(".scroll, pre");
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = colour => colour.slice(0, 3).map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const wide = [], pale = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.textContent.trim() || ["STYLE", "TITLE"].includes(element.tagName.toUpperCase())) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const right = Math.max(...[...range.getClientRects()].map(r => r.right), 0);
    const cut = getComputedStyle(element).textOverflow === "ellipsis";
    if (right > innerWidth + 1 && !scrolls(element) && !cut) wide.push(node.textContent.trim());
    const style = getComputedStyle(element), ink = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(parse(ink)), light(behind(element))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) pale.push(`${node.textContent.trim()} ${((a + .05) / (b + .05)).toFixed(1)}`);
  }
  const sources = [...document.querySelectorAll("img")].map(i => i.src);
  sources.push(...[...document.querySelectorAll("image")].map(i => i.getAttribute("href")));
  const empty = [];
  for (const source of new Set(sources)) {
    const image = new Image();
    image.src = source;
    try { await image.decode(); } catch { empty.push(source.slice(0, 60)); }
  }
  return JSON.stringify({width: innerWidth, overflow: document.documentElement.scrollWidth - innerWidth,
    wide, pale, images: sources.length, empty});
})()"""


@dataclass
class Look:
    """What a page was like."""

    width: int
    overflow: int  # pixels by which it is wider than the window
    wide: list[str]  # texts beyond the edge
    pale: list[str]  # texts with a contrast below 4.5
    images: int
    empty: list[str]  # images that did not load
    messages: list[str] = field(default_factory=list)  # of the console
    requests: list[str] = field(default_factory=list)  # beside the page and what it holds; not those it forbids


class Browser:
    """One Chromium with one tab, for use in a `with`."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM, "a test skips without Chromium"
        from_us, to_us = os.pipe(), os.pipe()

        def wire() -> None:  # Chromium reads descriptor 3 and writes 4
            ends = [os.dup(from_us[0]), os.dup(to_us[1])]
            for wanted, end in zip((3, 4), ends, strict=True):
                os.dup2(end, wanted)

        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            [PROGRAM, *options, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=wire,
            close_fds=False,
        )
        os.close(from_us[0])
        os.close(to_us[1])
        self._write, self._read = os.fdopen(from_us[1], "wb"), os.fdopen(to_us[0], "rb")
        self._number, self._events, self._rest = 0, [], b""
        self._session = ""
        pages = [t for t in self._ask("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        target = pages[0]["targetId"] if pages else self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for part in ("Page", "Network", "Runtime", "Log"):
            self._ask(f"{part}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._write.close()
        self._read.close()

    def look(self, page: Path, width: int, dark: bool = False, picture: Path | None = None, height: int = 0) -> Look:
        """Open a page at a width; `picture` receives a PNG of it, of its first `height` pixels or of all."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("Emulation.setEmulatedMedia", features=scheme)
        self._resize(width, height or 1000)
        self._events.clear()
        address = page.absolute().as_uri()
        self._ask("Page.navigate", url=address)
        self._wait("Page.loadEventFired")
        answer = self._ask("Runtime.evaluate", expression=LOOK, awaitPromise=True, returnByValue=True)
        look = Look(**json.loads(answer["result"]["value"]))
        refused = {e["params"]["requestId"] for e in self._events if e.get("params", {}).get("blockedReason") == "csp"}
        for event in self._events:
            if event["method"] == "Network.requestWillBeSent" and event["params"]["requestId"] not in refused:
                url = event["params"]["request"]["url"]
                look.requests += [url] if url != address and not url.startswith("data:") else []
            if event["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                look.messages.append(json.dumps(event["params"]))
        if picture:
            shot = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=not height)
            picture.write_bytes(base64.b64decode(shot["data"]))
        return look

    def _resize(self, width: int, height: int) -> None:
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def _ask(self, method: str, **params: object) -> dict:
        """A command and its answer; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._events.append(answer)

    def _wait(self, event: str) -> None:
        while not any(known.get("method") == event for known in self._events):
            self._events.append(self._next())

    def _next(self) -> dict:
        while b"\0" not in self._rest:
            part = os.read(self._read.fileno(), 2**16)
            assert part, "Chromium ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)
