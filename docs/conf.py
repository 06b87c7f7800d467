"""The site: `make docs` builds it from the Markdown of this folder and from pages that are generated for it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from make_pages import write_pages
from sphinx.application import Sphinx

project = "FiveWay"
copyright = "FiveWay's authors, MIT licence"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "FiveWay"
html_show_sphinx = False
html_copy_source = False
highlight_language = "text"  # of blocks without a language
myst_heading_anchors = 6  # links name headings as GitHub does


def setup(app: Sphinx) -> None:
    """Write the generated pages before the others are read."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "generated"))
