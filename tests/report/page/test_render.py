"""A page is one file that asks for nothing, and says what it is given as text."""

import re

import jinja2
import pytest

from core.report.page.render import Section, page

HOSTILE = '<script>alert("1")</script>" onload="x'


def test_everything_from_outside_is_escaped():
    sections = [
        Section(HOSTILE, "text", {"text": HOSTILE}),
        Section("Figures", "facts", {"groups": {HOSTILE: {HOSTILE: HOSTILE}}}),
        Section("Table", "table", {"header": [HOSTILE], "rows": [[HOSTILE]], "note": HOSTILE}),
        Section("Classes", "classes", {"rows": [(HOSTILE, 50.0)], "note": HOSTILE}),
    ]
    html = page(HOSTILE, sections)
    assert "<script" not in html
    assert 'onload="' not in html
    assert html.count("&lt;script&gt;alert(&#34;1&#34;)") == 12


def test_a_page_names_no_address():
    html = page("A page", [Section("Words", "text", {"text": "of a file"})])
    assert re.findall(r"(?:src|href)=\"(?!data:)[^\"]*\"", html) == []
    assert "http:" not in html
    assert "https:" not in html
    assert "default-src 'none'" in html


def test_wide_sections_are_marked():
    html = page("A page", [Section("One", "text", {"text": ""}, wide=True), Section("Two", "text", {"text": ""})])
    assert re.findall(r'<section class="(\w+)">', html) == ["wide", "narrow"]


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="text"):
        page("A page", [Section("Words", "text")])
