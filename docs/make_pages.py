"""Write the pages of the site that no file holds: `docs/conf.py` calls this before each build."""

from __future__ import annotations

from pathlib import Path

import make_methods
from make_configuration import manual
from make_method_pages import method_pages
from make_notebook_page import notebook_page

from core.build.config import load_config

# Links of the files at the root, as the pages below docs/generated have them.
LINKS = {"](docs/": "](../", "](LICENSE)": "](path:../../LICENSE)"}


def write_pages(folder: Path) -> None:
    """Write docs/methods.md, and into `folder` a page for each method, the configuration and the files of the root.

    A page that is there already with this text is left as it is, so that it is not built again.
    """
    configs = {leaf: load_config(make_methods.ROOT / "configs" / leaf).cfg for leaf in make_methods.leaves()}
    pages = {folder / "methods" / name: text for name, text in method_pages(configs).items()}
    pages[make_methods.FILE] = make_methods.document(configs.__getitem__)
    pages[folder / "configuration.md"] = manual()
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        text = (make_methods.ROOT / name).read_text(encoding="utf-8")
        for link, here in LINKS.items():
            text = text.replace(link, here)
        pages[folder / name.lower()] = text
    notebook = make_methods.ROOT / "docs/first_steps.ipynb"
    pages[folder / "first_steps.md"], pictures = notebook_page(notebook)
    for path in {*folder.glob("**/*.md")} - pages.keys():
        path.unlink()
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for name, picture in pictures.items():
        (folder / name).write_bytes(picture)
