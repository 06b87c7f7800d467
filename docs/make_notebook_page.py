"""The page of docs/first_steps.ipynb on the site: its text, code and outputs as Markdown."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Outputs = list[dict[str, Any]]
LINK = re.compile(r"\]\((?!https?:)")  # to a page beside the notebook


def notebook_page(file: Path) -> tuple[str, dict[str, bytes]]:
    """The text of the page, and its pictures by the name that the text gives them."""
    pictures: dict[str, bytes] = {}
    parts = []
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(LINK.sub("](../", source))
        else:
            parts.append(f"```{_language(source)}\n{source}\n```")
            parts += _shown(cell["outputs"], file.stem, pictures)
    return "\n\n".join(parts) + "\n", pictures


def _language(source: str) -> str:
    return "bash" if source.startswith("%%bash") else "ipython3"


def _shown(outputs: Outputs, stem: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """What a cell printed and drew; a picture is added to `pictures`."""
    for output in outputs:
        if output["output_type"] == "stream":
            yield "```text\n" + "".join(output["text"]).rstrip() + "\n```"
        elif "image/png" in output.get("data", {}):
            name = f"{stem}_{len(pictures) + 1}.png"
            pictures[name] = base64.b64decode("".join(output["data"]["image/png"]))
            yield f"![what the cell above draws]({name})"
