"""The standings of a suite, from run folders written by hand."""

import gzip
import json

import numpy as np
import pytest

from core.build.config import load_config
from core.errors import UserError
from core.report.stats import t_interval
from core.suites.standings import against, baseline, standings

SETTING = {"dataset": "CIFAR-FS", "split": "test", "fingerprint": "f", "way": 5, "query": 15, "queries": 75, "seed": 0}
BASE_STEPS = [{"stage": "base", "epoch": 1, "step": 60, "steps_per_second": 0.5}]  # two minutes
META_STEPS = [{"stage": "meta", "epoch": n + 1, "step": 30 * (n + 1), "steps_per_second": 1.0} for n in range(2)]  # one


@pytest.fixture
def collected(tmp_path):
    """Write collected runs; returns the folder of the suite and the accuracies of each run."""
    accuracies = {}

    def add(stem, seed=0, shot=1, gain=0.0, method=None, steps=META_STEPS, shared=(), episodes=40, **changes):
        folder = tmp_path / "suite" / f"CIFAR-FS_{stem}_s{seed}"
        cfg = load_config(f"CIFAR-FS/{stem}.yaml", [f"SEED={seed}"]).cfg
        about = {"cfg": f"CIFAR-FS/{stem}.yaml", "state": "done", "shared": list(shared)}
        correct = np.random.default_rng(5).integers(30, 50, 40) + round(gain * 0.75) + seed
        accuracy = (correct / 0.75)[:episodes]
        result = SETTING | {"method": method or stem.split("_")[0], "shot": shot, "training_seed": seed}
        result |= {"transductive": False, "episodes": episodes, "mean": accuracy.mean(), "features_of": None} | changes
        place = folder / "eval" / "ebest" / f"{shot}_{result['method']}_{episodes}"
        place.mkdir(parents=True, exist_ok=True)
        rows = [f"{i},{c},75,0 1 2 3 {4 + i % 3},0\n" for i, c in enumerate(correct[:episodes])]
        text = "index,correct,queries,classes,top2\n" + "".join(rows)
        (place / "episodes.csv.gz").write_bytes(gzip.compress(text.encode()))
        (place / "result.json").write_text(json.dumps(result))
        (folder / "config.yaml").write_text(cfg.dump())
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps))
        (folder / "env.json").write_text(json.dumps({"cpus": 2, "threads": 1, "commit": "c" * 40}))
        (folder / "cell.json").write_text(json.dumps(about))
        accuracies[stem, seed] = accuracy
        return tmp_path / "suite"

    add.accuracies = accuracies
    return add


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
    assert (row.trained_shot, row.trained_on, row.minutes) == (1, "episodes", pytest.approx(1.0))


def test_a_published_number_stands_over_its_own_shots_alone(collected):
    collected("ProtoNet_N5K1_C4", shot=5)
    collected("RFS_N5K1_C4", shot=5, method="SimpleShot", features_of="RFS")
    folder = collected("RFS_N5K1_C4", shot=5)
    rows = {row.name: row for row in standings(folder)[0]}
    assert rows["ProtoNet"].published is None
    assert rows["SimpleShot on RFS's features"].published is None
    assert (rows["RFS"].published.value, rows["RFS"].band, rows["RFS"].trained_shot) == (78.7, 1.5, 0)


def test_a_row_is_compared_on_the_episodes_that_both_have(collected):
    collected("ProtoNet_N5K1_C4")
    folder = collected("DeepEMD_FCN_N5K1_C4", gain=4.0, episodes=25)
    rows, _ = standings(folder)
    base = baseline(rows, ["SimpleShot", "ProtoNet"])
    (other,) = [row for row in rows if row is not base]
    difference, wide = against(other, base)
    assert (difference.difference, difference.win, wide) == (pytest.approx(4.0), 25, None)
    assert base.name == "ProtoNet"
    assert baseline(rows, ["SimpleShot"]) is None
    assert not base.is_unbalanced


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


def test_an_empty_folder_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="holds no collected run"):
        standings(tmp_path)
