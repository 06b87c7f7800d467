"""Every published number that a YAML claims stands in data/published.csv, for the setting of that YAML."""

from collections import Counter

import pytest

from core.build.config import load_config
from core.registry import BACKBONES
from tests.configs.leaves import DATASETS, ROOT, leaves, loaded
from tests.configs.published import published, published_row, setting


@pytest.fixture(scope="module")
def rows():
    return published()


def claims(dataset="*"):
    """The leaves that claim a published number."""
    return [leaf for leaf in leaves(dataset) if loaded(leaf).cfg.REFERENCE.ACCURACY]


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_reference_is_in_the_table(dataset, rows):
    assert [leaf for leaf in claims(dataset) if published_row(leaf) not in rows] == []


def test_the_table_is_in_order_and_has_no_row_twice(rows):
    assert rows == sorted(rows)
    assert [row for row, count in Counter(rows).items() if count > 1] == []


def test_one_source_prints_one_number_of_a_setting(rows):
    settings = Counter((*row[:8], row.source, row.status) for row in rows)
    assert [key for key, count in settings.items() if count > 1] == []


def test_rows_are_well_formed(rows):
    assert len(rows) >= 229
    for row in rows:
        assert 10 < float(row.value) < 100, row
        assert row.interval == "" or 0 < float(row.interval) < 5, row
        assert row.status in ("paper", "author-repo", "secondary"), row
        assert row.backbone in BACKBONES, row
        assert row.source, row


@pytest.mark.parametrize(
    "override",
    ["DATASET.SIZE=84", "TASK.TEST.SHOT=5", "TASK.TEST.WAY=10", "BACKBONE.NAME=ResNet12", "DATASET.NAME=FC100"],
)
def test_another_setting_is_not_in_the_table(override, rows, tmp_path):
    """What the table is for: the number of one setting under another is no row of it."""
    leaf = "CIFAR-FS/ProtoNet_N5K1_C4.yaml"
    claim = published_row(leaf)
    assert setting(leaf, load_config(ROOT / leaf).cfg) == claim
    file = tmp_path / "leaf.yaml"
    key, value = override.split("=")
    file.write_text(f"_BASE_: {ROOT / leaf}\n{key}: {value}\n")
    changed = setting(leaf, load_config(file).cfg)
    assert changed.value == claim.value
    assert changed not in rows
