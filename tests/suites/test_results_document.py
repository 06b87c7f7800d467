"""docs/results.md, results/*.csv and the pictures are what `make results` writes."""

import re
import runpy

import pytest

from core.paths import ROOT

SCRIPT = runpy.run_path(str(ROOT / "docs/make_results.py"))
PLACES = ("/home/", "/root/", "/tmp/", "/work/")
LARGEST = 300_000  # bytes of a picture


@pytest.fixture(scope="module", autouse=True)
def methods():
    SCRIPT["schemas"]()


def test_the_document_is_up_to_date():
    text = SCRIPT["FILE"].read_text()
    assert SCRIPT["document"](text) == text, "docs/results.md is stale; run `make results`"


@pytest.mark.parametrize("suite", SCRIPT["suites"]())
def test_tables_and_pictures_are_up_to_date(suite):
    assert f"<!-- standings: {suite} -->" in SCRIPT["FILE"].read_text()
    rows, _ = SCRIPT["standings"](SCRIPT["RESULTS"] / suite)
    table = SCRIPT["csv_text"](rows)
    assert (SCRIPT["RESULTS"] / f"{suite}.csv").read_text() == table, "stale; run `make results`"
    for name in SCRIPT["drawn"](rows):
        picture = (SCRIPT["IMAGES"] / f"{suite}_{name}.svg").read_text()
        assert SCRIPT["digest"](table) in picture, f"the picture {name} is stale; run `make results`"
        assert len(picture) < LARGEST


@pytest.mark.parametrize("suite", SCRIPT["suites"]())
def test_the_sentences_have_their_numbers_from_the_tables(suite):
    text = SCRIPT["FILE"].read_text()
    sentences = re.search(rf"<!-- sentences: {suite} -->(.*?)<!-- end of sentences -->", text, re.S)[1]
    tables = re.search(rf"<!-- standings: {suite} -->(.*?)<!-- end -->", text, re.S)[1]
    numbers = re.findall(r"[+−]?\d+\.\d\d ± \d+\.\d\d", sentences)
    opens = re.findall(r"(?<!\d )± (\d+\.\d\d)", sentences)
    assert numbers
    assert not [number for number in numbers + opens if f"| {number} |" not in tables]


@pytest.mark.parametrize("suite", SCRIPT["suites"]())
def test_results_hold_no_checkpoint_and_no_place_on_a_machine(suite):
    files = [path for path in (SCRIPT["RESULTS"] / suite).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".yaml", ".gz"}
    for path in files:
        places = [place for place in PLACES if path.suffix != ".gz" and place in path.read_text()]
        assert not places, path
