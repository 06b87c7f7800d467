"""DATASET.SEMANTICS, DATASET.BASE_HOLDOUT and deviations, through the commands."""

import json

import numpy as np
import pytest
import torch

from core.build.config import load_config
from core.build.data import Data, open_split
from core.build.networks import build_method, data_info
from core.errors import UserError
from core.log import start_log
from tests.workspace import TWO_STAGES

CPU = torch.device("cpu")


def builder(cfg, *overrides):
    return Data(load_config(str(cfg), overrides).cfg, CPU)


def test_word_vectors_come_from_the_file_when_they_are_read(space, tmp_path):
    names = [f"{split}{c}" for split, count in (("train", 8), ("val", 6), ("test", 6)) for c in range(count)]
    file = tmp_path / "vectors.txt"
    file.write_text("".join(f"{name} {number} 1 2\n" for number, name in enumerate(names)))
    cfg = space.config()
    named = builder(cfg, f"DATASET.SEMANTICS={file}")
    assert named.words("test")[:, 0].tolist() == [14, 15, 16, 17, 18, 19]
    assert data_info(named, "meta").word_dim == 3
    build_method(builder(cfg))  # asks for no words
    with pytest.raises(UserError, match=r"class_vectors\.tsv', which has no word of 'train0'"):
        builder(cfg).words("train")
    table = tmp_path / "names.tsv"
    table.write_text("".join(f"{name}\toak tree\n" for name in names))
    mapped = builder(cfg, f"DATASET.SEMANTICS_NAMES={table}").words("val")
    assert mapped.shape == (6, 100)
    assert (mapped == mapped[0]).all()


def test_images_of_every_split_are_normalised_as_the_base_images(space):
    data = builder(space.config(), "DATASET.BASE_HOLDOUT=4")
    base = data._whole("train").manifest
    for split, pixels in [(data.split(name), data.pixels(name)) for name in ("val", "test")] + [data.held_out()]:
        images = split.images if split.rows is None else split.images[split.rows[:3]]
        level = torch.from_numpy(images[:3].astype(np.float64)) / 255
        expected = (level - torch.tensor(base["mean"])) / torch.tensor(base["std"])
        seen = pixels.gather(torch.arange(3)).permute(0, 2, 3, 1).double()
        torch.testing.assert_close(seen, expected, rtol=0, atol=1e-5)
    assert data.split("test").manifest["mean"] != base["mean"]


def test_held_out_images_are_base_images(space):
    data = builder(space.config(TWO_STAGES, "Two.yaml"), "DATASET.BASE_HOLDOUT=4")
    assert data.split("train").counts.tolist() == [16] * 8
    assert data.split("test").counts.tolist() == [20] * 6
    assert len(data.pixels("train")) == 8 * 16


def test_training_with_held_out_images(space):
    run = space.train(space.config(), "DATASET.BASE_HOLDOUT=4", "STAGE.meta.EPOCHS=1")
    assert (run / "last.pth").is_file()
    with pytest.raises(UserError, match="BASE_HOLDOUT is -1"):
        space.train(space.config(), "DATASET.BASE_HOLDOUT=-1")


def test_a_deviation_shows_in_the_result(space, tmp_path, tiny_root):
    root = tmp_path / "data"
    for split in ("train", "val", "test"):
        source, target = (base / "Glyphs" / "16px" / split for base in (tiny_root, root))
        target.mkdir(parents=True)
        for file in source.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    (target / "manifest.json").write_text(
        json.dumps(manifest | {"deviation": "2 images are missing"}), encoding="utf-8"
    )
    run = space.train(space.config(), f"DATASET.ROOT={root}", "STAGE.meta.EPOCHS=1", evaluate_after=True)
    assert "DATA DEVIATES from the published benchmark" in (run / "train.log").read_text(encoding="utf-8")
    result = json.loads(next(run.rglob("result.json")).read_text(encoding="utf-8"))
    assert result["deviation"] == "Glyphs: 2 images are missing"
    assert np.isfinite(result["mean"])


def test_the_first_use_of_glyphs_says_what_it_does(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("core.prepare.glyphs.alphabets", lambda: dict.fromkeys(("train", "val", "test"), "ab"))
    start_log()
    for _ in range(2):
        open_split(tmp_path, "Glyphs", "val", 16)
    out = capsys.readouterr().out
    assert out == f"drawing Glyphs at 16 px, once, to {tmp_path / 'Glyphs/16px'}\n"
