"""report.html of an evaluation: its images and answers are those of the result."""

import csv
import re
import time

import pytest

from core import commands
from tests.workspace import PROTONET, best, result


@pytest.fixture
def evaluated(trained, checkpoint, space):
    """Evaluate with a page; returns the folder and the page."""

    def evaluated(*overrides, cfg=trained[0], checkpoint=checkpoint, **options):
        folder = space.evaluate(cfg, checkpoint, "EVAL.PAGE=true", *overrides, **options)
        return folder, (folder / "report.html").read_text()

    return evaluated


def section(html, title):
    return html.split(f"<h2>{title}</h2>")[1].split("</section>")[0]


def test_the_page_shows_what_the_files_say(evaluated):
    folder, html = evaluated()
    record = result(folder)
    assert f"{record['mean']:.2f} ± {record['ci95']:.2f} %" in html
    with (folder / "per_class.csv").open() as file:
        for row in csv.DictReader(file):
            assert row["name"] in section(html, "Classes")
    for kind in ("hardest", "easiest"):
        titles = re.findall(r"Episode (\d+): ([\d.]+) %", section(html, f"The {kind} episodes"))
        expected = [(str(e["episode"]), f"{e['accuracy']:.1f}") for e in record[kind][:3]]
        assert titles == expected  # the shown answers are counted anew
    with (folder / "confusion.csv").open() as file:
        header, *rows = csv.reader(file)
    pairs = {(row[0], name): int(count) for row in rows for name, count in zip(header[1:], row[1:], strict=True)}
    cells = re.findall(r'alt="(\w+) taken for (\w+): (\d+) of', section(html, "What is taken for what"))
    assert {(a, b): int(count) for a, b, count in cells} == {pair: n for pair, n in pairs.items() if n}
    assert section(html, "Where the test classes lie").count("<image") == len(rows)


def test_a_page_repeats(evaluated):
    first = evaluated()[1]
    assert evaluated("EVAL.BATCH=7", "EVAL.CACHE=false")[1] == first


def test_the_page_can_be_left_out_and_that_of_an_earlier_result_goes(evaluated, trained, checkpoint, space):
    before, _ = evaluated()
    folder = space.evaluate(trained[0], checkpoint, "EVAL.PAGE=false")
    assert folder == before
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("method", ["MAML", "DN4"])
def test_other_features_and_none_have_pages_too(method, space, evaluated):
    norm = {"norm": "batch"} if method == "MAML" else {}
    backbone = {"NAME": "Conv4", "ARGS": {"width": 8, "pools": 2, **norm}}
    cfg = space.config(PROTONET | {"METHOD": {"NAME": method}, "BACKBONE": backbone}, f"{method}.yaml")
    checkpoint = best(space.train(cfg, "STAGE.meta.EPOCHS=1"))
    html = evaluated("EVAL.EPISODES=9", cfg=cfg, checkpoint=checkpoint)[1]
    assert ("Where the test classes lie" in html) == (method == "DN4")
    assert "The hardest episodes" in html


def test_every_protocol_has_a_page(evaluated):
    folder, html = evaluated("EVAL.TRIALS=3", "EVAL.ALLWAY_QUERIES=5", protocol="allway", shots=[1])
    assert folder.name.startswith("allway")
    assert "<h2>Figures</h2>" in html
    assert "<h2>Training</h2>" not in html  # the copied checkpoint lies in no run folder


@pytest.mark.slow
def test_a_page_of_5000_episodes_is_small_and_quick(space, glyphs, monkeypatch):
    cfg = "configs/Glyphs/ProtoNet_N5K1_C4.yaml"
    keys = [f"DATASET.ROOT={glyphs}", "BACKBONE.ARGS.width=8", "TASK.TRAIN.WAY=5", "STAGE.meta.EPOCHS=1"]
    run = space.train(cfg, *keys, "STAGE.meta.STEPS=2", "STAGE.meta.VAL.EPISODES=5")
    seconds, write = [], commands._write_page

    def timed(*arguments):
        start = time.perf_counter()
        file = write(*arguments)
        seconds.append(time.perf_counter() - start)
        return file

    monkeypatch.setattr(commands, "_write_page", timed)
    folder = space.evaluate(cfg, best(run), *keys, "EVAL.EPISODES=5000", "EVAL.PAGE=true")
    assert (folder / "report.html").stat().st_size < 3_000_000
    assert len(seconds) == 1
    assert seconds[0] < 5
