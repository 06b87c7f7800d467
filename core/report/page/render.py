"""A page from its sections: one HTML file that asks for nothing outside itself.

Templates escape every value. Only the markup of charts is taken as it stands; charts escape their own texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2


@dataclass(frozen=True)
class Section:
    """A titled part of a page."""

    title: str
    template: str  # a file of templates/, without .html
    values: Mapping[str, Any] = field(default_factory=dict)  # what the template shows
    wide: bool = False  # takes the whole width of a broad window


def page(title: str, sections: Sequence[Section]) -> str:
    """The HTML of a page."""
    return _templates().get_template("page.html").render(title=title, sections=sections)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
