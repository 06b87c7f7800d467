"""Short trainings and evaluations give the files that were recorded: no change has moved a number."""

import json

import pytest

from tests.recorded.runs import CHECKOUT, EXPECTED, RUNS, digests, machine, record

RECORDED = json.loads(EXPECTED.read_text())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_the_recorded_files(name, tmp_path, glyphs):
    if machine() != RECORDED["machine"]:
        pytest.skip(f"recorded with {RECORDED['machine']}, here {machine()}: rounding may differ")
    record(CHECKOUT, tmp_path, glyphs, [name])
    assert digests(tmp_path, name) == RECORDED["runs"][name]
