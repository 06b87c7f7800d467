"""The standings of a suite, from run folders written by hand."""

import gzip

import numpy as np
import pytest

from core.errors import UserError
from core.report.stats import t_interval
from core.suites.standings import against, baseline, seeds_ci95, standings
from tests.suites.conftest import BASE_STEPS, META_STEPS


def test_seeds_share_a_row_beside_the_published_number(collected):
    for seed in range(3):
        folder = collected("ProtoNet_N5K1_C4", seed)
    ((row,), failed) = standings(folder)
    means = [collected.accuracies["ProtoNet_N5K1_C4", seed].mean() for seed in range(3)]
    assert not failed
    assert row.group.episodes.mean == pytest.approx(np.mean(means))
    assert row.group.over_seeds.ci95 == pytest.approx(t_interval(np.array(means)).ci95)
    assert (row.published.value, row.published.interval, row.band) == (55.5, 0.7, 2.0)
    assert row.gap == pytest.approx(np.mean(means) - 55.5)
    assert row.verdict == ("within" if abs(row.gap) <= 2 else "above" if row.gap > 0 else "below")
    assert (row.trained_at, row.trained_on, row.minutes) == ("1", "episodes", pytest.approx(1.0))


def test_a_published_number_stands_over_its_own_shots_alone(collected):
    collected("ProtoNet_N5K1_C4", shot=5)
    collected("RFS_N5K1_C4", shot=5, method="SimpleShot", features_of="RFS")
    folder = collected("RFS_N5K1_C4", shot=5)
    rows = {row.name: row for row in standings(folder)[0]}
    assert rows["ProtoNet"].published is None
    assert rows["SimpleShot on RFS's features"].published is None
    assert (rows["RFS"].published.value, rows["RFS"].band, rows["RFS"].trained_at) == (78.7, 1.5, "")


def test_a_row_is_compared_on_the_episodes_that_both_have(collected):
    collected("ProtoNet_N5K1_C4")
    folder = collected("DeepEMD_FCN_N5K1_C4", gain=4.0, episodes=25)
    rows, _ = standings(folder)
    base = baseline(rows)
    (other,) = [row for row in rows if row is not base]
    difference, wide = against(other, base)
    assert (difference.difference, difference.win, wide) == (pytest.approx(4.0), 25, None)
    assert base.name == "ProtoNet"
    assert baseline([other]) is None
    assert not base.is_unbalanced


def test_the_row_to_compare_with_is_trained_for_the_test_where_there_are_several(collected):
    for shot in (1, 5):
        folder = collected("ProtoNet_N5K1_C4", shot=shot)
    rows = {row.result["shot"]: row for row in standings(folder)[0]}
    assert baseline([rows[5]]) is rows[5]
    collected("ProtoNet_N5K5_C4", shot=5)
    five = [row for row in standings(folder)[0] if row.result["shot"] == 5]
    assert baseline(five).trained_at == "5"


def test_a_difference_over_seeds_needs_the_same_ones(collected):
    for seed, gain in enumerate((0.0, 4.0, 8.0)):
        collected("NegMargin_N5K1_C4", seed, gain=gain)
        folder = collected("ProtoNet_N5K1_C4", seed)
    rows = {row.name: row for row in standings(folder)[0]}
    wide = seeds_ci95(rows["NegMargin"], rows["ProtoNet"])
    assert wide == pytest.approx(t_interval(np.array([0.0, 4.0, 8.0])).ci95)
    collected("ProtoNet_N5K1_C4", 3)
    rows = {row.name: row for row in standings(folder)[0]}
    assert seeds_ci95(rows["NegMargin"], rows["ProtoNet"]) is None


def test_a_run_that_the_suite_names_is_a_variant_without_a_published_number(collected):
    folder = collected("ProtoNet_N5K1_C4", row="five times the queries")
    ((row,), _) = standings(folder)
    assert (row.name, row.published) == ("five times the queries", None)


def test_external_data_are_those_of_the_test_and_of_the_training(collected):
    for stem in ("ProtoNet_N5K1_C4", "ProtoNet_NAML_N5K1_C4", "ProtoNet_TRAML_N5K1_C4", "AM3_none_N5K1_C4"):
        folder = collected(stem)
    collected("AM3_none_N5K1_C4", method="SimpleShot", features_of="AM3")
    collected("RFS_N5K1_C4", external_data={"weights": "MobileNetV2"})
    external = {row.name: row.external for row in standings(folder)[0]}
    assert external == {
        "ProtoNet": "",
        "ProtoNet NAML": "",
        "ProtoNet TRAML": "word vectors in training",
        "AM3 none": "word vectors",
        "SimpleShot on AM3's features": "word vectors in training",
        "RFS": "MobileNetV2",
    }


def test_other_episodes_are_refused(collected):
    folder = collected("ProtoNet_N5K1_C4")
    file = next(collected("NegMargin_N5K1_C4").glob("*NegMargin*/eval/*/*/episodes.csv.gz"))
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b"0 1 2 3 4", b"0 1 2 3 9")))
    rows, _ = standings(folder)
    with pytest.raises(UserError, match="not tested on the same episodes"):
        against(rows[0], rows[1])


def test_minutes_count_a_shared_stage_for_all_and_failures_stay(collected):
    collected("DeepEMD_FCN_N5K1_C4", steps=BASE_STEPS + META_STEPS, shared=["x"])
    folder = collected("MML_N5K1_C4", shared=["x"])
    (folder / "wild").mkdir()
    (folder / "wild" / "cell.json").write_text('{"state": "failed", "reason": "the loss became nan"}')
    rows, failed = standings(folder)
    assert [row.minutes for row in rows] == pytest.approx([3.0, 3.0])
    assert [run.path.name for run in failed] == ["wild"]
    ((row,), _) = standings(collected("FEAT_N5K1_C4", shared=["x"], suite="other"))
    assert row.minutes == pytest.approx(3.0)


def test_an_empty_folder_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="holds no collected run"):
        standings(tmp_path)
