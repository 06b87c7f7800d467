from core.report.page.files import file_sections, page_title
from core.report.page.render import page

RESULT = {"method": "ProtoNet", "dataset": "Glyphs", "split": "test", "accuracy": 51.23456, "nested": {"a": 1}}


def test_title():
    assert page_title(RESULT, "a line") == "ProtoNet · Glyphs test"
    assert page_title(RESULT | {"way": 5, "shot": 1}, "a line") == "ProtoNet · Glyphs test · 5-way 1-shot"
    assert page_title({"a": 1}, "a line") == "a line"


def test_results_and_tables_are_shown():
    table = "name,count\n" + "".join(f'"<i>, {n}",{n}\n' for n in range(300))
    html = page("Files", file_sections("51 %", {"result.json": RESULT, "classes.csv": table, "features.bin": len}))
    assert "51.23" in html
    assert "nested" not in html
    assert "The first 200 of 300 rows." in html
    assert "&lt;i&gt;, 199" in html
    assert "&lt;i&gt;, 200" not in html
