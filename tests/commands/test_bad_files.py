"""Checkpoints and data that are damaged, missing or of something else: one sentence, and nothing written."""

import json
import os
import shutil

import pytest
import torch

from tests.conftest import write_tiny_split
from tests.workspace import best


def test_checkpoint_of_another_backbone_names_the_argument(unfit, trained):
    sentence = unfit(best(trained[1]), "BACKBONE.ARGS.width=16")
    assert 'was trained with BACKBONE {"NAME": "Conv4", "ARGS": {"width": 8, ' in sentence
    assert 'but the config asks for {"NAME": "Conv4", "ARGS": {"width": 16, ' in sentence


def test_checkpoint_of_other_tensors_counts_them(unfit, trained, tmp_path):
    saved = torch.load(best(trained[1]), weights_only=True)
    names = list(saved["method"])
    saved["method"] = {name: saved["method"][name] for name in names[:-2]} | {"more": torch.ones(1)}
    file = tmp_path / "ebest_3way_1shot.pth"
    torch.save(saved, file)
    assert f"({len(names) - 2} entries matched, 2 missing, 1 unexpected)" in unfit(file)


def test_checkpoint_of_other_arguments_with_the_same_tensors(unfit, trained):
    said = unfit(best(trained[1]), "METHOD.ARGS.scale=2")
    arguments = '{"metric": "squared", "scale": 1.0, "learn_scale": false}'
    assert f'was trained with METHOD {{"NAME": "ProtoNet", "ARGS": {arguments}}}, but the config asks for ' in said
    assert 'was trained with BACKBONE {"NAME": "Conv4", ' in unfit(best(trained[1]), "BACKBONE.VECTOR=mean")


def foreign(path, trained):
    torch.save(torch.load(best(trained[1]), weights_only=True)["method"], path)


def truncated(path, trained):
    path.write_bytes(best(trained[1]).read_bytes()[:-1000])


def corrupted(path, trained):
    content = best(trained[1]).read_bytes()
    weight = torch.load(best(trained[1]), weights_only=True)["method"]["backbone.layers.3.0.weight"]
    weight = weight.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).numpy().tobytes()
    assert content.count(weight) == 1
    path.write_bytes(content.replace(weight, bytes(len(weight))))


def hostile(path, trained):
    torch.save({"method": {}, "meta": {}, "x": Hostile()}, path)


class Hostile:
    def __reduce__(self):
        return os.system, ("exit 3",)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda path, trained: None,
            "does not exist; give --checkpoint (-c) a checkpoint file (.pth), or a run folder.",
        ),
        (lambda path, trained: path.mkdir(), "holds no best checkpoint (ebest_*.pth): give --checkpoint (-c) a run"),
        (lambda path, trained: path.write_bytes(b""), "is not a readable checkpoint ("),
        (lambda path, trained: path.write_text("hello"), "is not a readable checkpoint ("),
        (truncated, "is not a readable checkpoint ("),
        (corrupted, "is not a readable checkpoint ("),
        (hostile, "is not a readable checkpoint ("),
        (foreign, "is not a checkpoint of FiveWay: it lacks the entries 'method' and 'meta'."),
        (lambda path, trained: torch.save([1], path), "is not a checkpoint of FiveWay"),
        (lambda path, trained: torch.save({"method": 1, "meta": 2}, path), "is not a checkpoint of FiveWay"),
    ],
)
def test_damaged_and_foreign_checkpoints(unfit, trained, space, make, reason):
    path = space.path / "x.pth"
    make(path, trained)
    said = unfit(path)
    assert said.startswith(f"{path} {reason}")
    assert "\n" not in said


def test_resuming_from_a_damaged_checkpoint_is_refused(space):
    run = space.train(space.config())
    (run / "last.pth").write_bytes((run / "last.pth").read_bytes()[:-1000])
    code, _, err = space.trainer(space.config(), "--resume")
    assert code == 2
    assert err.startswith(f"error: {run / 'last.pth'} is not a readable checkpoint (")


def damage_pixels(split):
    (split / "images.npy").write_bytes((split / "images.npy").read_bytes()[:-100])


def damage_names(split):
    (split / "names.txt").write_text("one\n")


def damage_manifest(split):
    manifest = json.loads((split / "manifest.json").read_text())
    del manifest["mean"]
    (split / "manifest.json").write_text(json.dumps(manifest))


def damage_everything(split):
    for name in ("images.npy", "labels.npy", "names.txt"):
        (split / name).unlink()


@pytest.mark.parametrize("damage", [damage_pixels, damage_names, damage_manifest, damage_everything])
@pytest.mark.parametrize("split", ["train", "test"])
def test_damaged_data(untrainable, space, tiny_root, damage, split):
    root = space.path / "data"
    shutil.copytree(tiny_root, root)
    folder = root / "Glyphs" / "16px" / split
    damage(folder)
    said = untrainable(space.config(), f"DATASET.ROOT={root}")
    assert said.startswith(str(folder))
    assert said.endswith("delete the folder and prepare it again.")


def test_smallest_class_counts(untrainable, space, tiny_root):
    root = space.path / "data"
    shutil.copytree(tiny_root, root)
    shutil.rmtree(root / "Glyphs" / "16px" / "test")
    write_tiny_split(root, "test", 6, 5)
    assert "1 + 5 = 6, but class 'test0' of the test split of Glyphs has 5 images" in untrainable(
        space.config(), f"DATASET.ROOT={root}"
    )


def test_an_argument_younger_than_a_checkpoint_counts_as_its_default(trained, space, tmp_path):
    older = tmp_path / "older.pth"
    content = torch.load(best(trained[1]), weights_only=True)
    del content["meta"]["method"]["ARGS"]["scale"]
    torch.save(content, older)
    assert space.evaluator(trained[0], "-c", older)[0] == 0
    code, _, err = space.evaluator(trained[0], "-c", older, "METHOD.ARGS.scale=0.5")
    assert code == 2
    assert "was trained with METHOD" in err
