import json

from core.report.page.render import page
from core.report.page.runs import curves, run_sections

RECORDS = [
    {"stage": "base", "epoch": 1, "loss": 2.0, "train_accuracy": 10.0, "lr": 0.1, "steps_per_second": 9},
    {"stage": "base", "epoch": 2, "loss": 1.0, "train_accuracy": 20.0, "lr": 0.1, "val": 40.0, "val_ci95": 1.0},
    {"stage": "meta", "epoch": 1, "loss": float("nan"), "lr": 0.1, "val": 50.0, "val_ci95": 1.0, "scale": 3.0},
]


def test_a_run_folder_is_shown(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    (tmp_path / "diff.txt").write_text("config  a.yaml\n  SEED 0 -> 1")
    (tmp_path / "env.json").write_text(
        json.dumps({"command": ["run.py", "--cfg", "<b>"], "torch": "2", "commit": None})
    )
    sections = run_sections(tmp_path, {"checkpoint": "ebest.pth", "at_test": {"scale": 2}, "seconds": {"total": 1.25}})
    assert [section.title for section in sections] == ["Training", "What the config changes", "Environment"]
    html = page("A run", sections)
    assert "SEED 0 -&gt; 1" in html
    assert "run.py --cfg &lt;b&gt;" in html
    assert "ebest.pth" in html
    assert "scale (changed at test)" in html
    assert "1.25" not in html  # a page of the same result is the same page
    assert "commit" not in html


def test_a_folder_without_files_has_its_result(tmp_path):
    (section,) = run_sections(tmp_path, {"checkpoint": "ebest.pth"})
    assert section.values["groups"] == {"Evaluation": {"checkpoint": "ebest.pth"}}


def test_damaged_files_are_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"stage": "base", "loss": 1.0, "epoch": 1}\n{"stage": "ba\n7\n')
    (tmp_path / "env.json").write_text("{")
    assert [section.title for section in run_sections(tmp_path, {"device": "cpu"})] == ["Training", "Environment"]


def test_curves_go_through_all_stages():
    charts = dict(curves(RECORDS))
    assert list(charts) == ["Loss", "Accuracy", "Learning rate", "scale"]
    assert "epoch (base → meta)" in charts["Loss"]
    assert charts["Loss"].count("<circle") == 2  # the epoch without a finite loss has none
    assert charts["Accuracy"].count("<polyline") == 2
    assert charts["Accuracy"].count("<polygon") == 1
    assert charts["Loss"].count('class="grid dashed"') == 1
    assert curves([]) == []
