"""Shards of an evaluation: joined by number they are the evaluation, bit for bit; what does not fit is a sentence."""

import json

import numpy as np
import pytest
import torch

from tests.workspace import files, result

HALVES = ("0:17", "17:40")


@pytest.fixture
def shards(trained, checkpoint, space):
    """Evaluate shards of the 40 episodes; returns what `space.evaluator` does for the last."""

    def shards(*ranges, options=()):
        return [space.evaluator(trained[0], "-c", checkpoint, "--episodes", shard, *options) for shard in ranges][-1]

    return shards


def without_clock(folder):
    """The files of a result, apart from its shards and from how long it took."""
    contents = {name: content for name, content in files(folder).items() if not name.startswith("shards")}
    return contents | {"result.json": {k: v for k, v in result(folder).items() if k != "seconds"}}


@pytest.mark.parametrize("options", [(), ("--shots", "1", "2", "--methods", "own,NegMargin"), ("--ways", "5")])
def test_joined_they_equal_the_evaluation(trained, checkpoint, space, shards, options):
    assert space.evaluator(trained[0], "-c", checkpoint, *options)[0] == 0
    folders = sorted((checkpoint.parent / "eval" / checkpoint.stem).iterdir())
    whole = [without_clock(folder) for folder in folders]
    for folder in folders:
        for file in folder.iterdir():
            file.unlink()
    code, out, err = shards(*reversed(HALVES), options=options)
    assert (code, err) == (0, "")
    assert "ProtoNet  episodes 0:17 of 40  " in out
    assert all([file.name for file in folder.iterdir()] == ["shards"] for folder in folders)
    code, out, err = space.evaluator(trained[0], "-c", checkpoint, "--merge", *options)
    assert (code, err) == (0, "")
    assert [without_clock(folder) for folder in folders] == whole


@pytest.mark.parametrize(
    ("ranges", "sentence"),
    [
        (["0:17"], "lacks episodes 17:40 of 40; evaluate them with --episodes 17:40."),
        (["17:40"], "lacks episodes 0:17 of 40; evaluate them with --episodes 0:17."),
        (["0:10", "12:40"], "lacks episodes 10:12 of 40"),
        (
            ["0:17", "15:40"],
            "holds episodes 15:17 twice; delete one of the shards that overlap, 15-40.npz for example.",
        ),
        (["0:40", "5:9"], "holds episodes 5:9 twice"),
    ],
)
def test_shards_that_overlap_or_are_missing_are_refused(trained, checkpoint, space, shards, ranges, sentence):
    assert shards(*ranges)[0] == 0
    code, _, err = space.evaluator(trained[0], "-c", checkpoint, "--merge")
    assert (code, sentence in err) == (2, True)


def test_without_shards_the_sentence_names_them_all(trained, checkpoint, space):
    code, _, err = space.evaluator(trained[0], "-c", checkpoint, "--merge")
    assert (code, "lacks episodes 0:40 of 40" in err) == (2, True)


def test_shards_of_another_checkpoint_are_refused(trained, checkpoint, space, shards):
    assert shards(*HALVES)[0] == 0
    saved = torch.load(checkpoint, weights_only=True)
    name, values = next(iter(saved["method"].items()))
    saved["method"][name] = values + 1
    torch.save(saved, checkpoint)
    code, _, err = space.evaluator(trained[0], "-c", checkpoint, "--merge")
    assert (code, "0-17.npz comes from another evaluation (differs in checkpoint_sha256)" in err) == (2, True)


def test_a_broken_shard_is_refused(trained, checkpoint, space, shards):
    assert shards("0:40")[0] == 0
    (file,) = checkpoint.parent.glob("eval/*/*/shards/0-40.npz")
    file.write_bytes(file.read_bytes()[:100])
    code, _, err = space.evaluator(trained[0], "-c", checkpoint, "--merge")
    assert (code, f"{file} is not a shard" in err) == (2, True)


@pytest.mark.parametrize("about", ["{}", "[]", '{"identity": [], "queries": 1, "seconds": {}}'])
def test_a_shard_that_says_nothing_of_itself_is_refused(trained, checkpoint, space, shards, about):
    assert shards("0:40")[0] == 0
    (file,) = checkpoint.parent.glob("eval/*/*/shards/0-40.npz")
    with np.load(file) as arrays:
        np.savez(file, **dict(arrays) | {"about": np.array(about)})
    code, _, err = space.evaluator(trained[0], "-c", checkpoint, "--merge")
    assert (code, f"{file} is not a shard" in err) == (2, True)


def test_an_empty_shard_is_refused(trained, checkpoint, space, shards):
    assert shards("0:40")[0] == 0
    (file,) = checkpoint.parent.glob("eval/*/*/shards/0-40.npz")
    file.write_bytes(b"")
    code, _, err = space.evaluator(trained[0], "-c", checkpoint, "--merge")
    assert (code, f"{file} is not a shard" in err) == (2, True)


@pytest.mark.parametrize("says_its_numbers", [True, False])
@pytest.mark.parametrize("name", ["20-40.npz", "20-45.npz"])
def test_a_shard_of_another_name_is_refused(trained, checkpoint, space, shards, name, says_its_numbers):
    """The first half as the second would give a result of 20 episodes, each counted twice."""
    episodes = f"EVAL.EPISODES={name[3:5]}"
    assert shards("0:20", options=[episodes])[0] == 0
    (file,) = checkpoint.parent.glob("eval/*/*/shards/0-20.npz")
    with np.load(file) as arrays:
        content = dict(arrays)
    if not says_its_numbers:
        about = json.loads(str(content["about"]))
        del about["numbers"]
        content["about"] = np.array(json.dumps(about))
    wrong = file.with_name(name)
    np.savez(wrong, **content)
    code, _, err = space.evaluator(trained[0], "-c", checkpoint, "--merge", episodes)
    if says_its_numbers or name == "20-45.npz":
        assert (code, f"{wrong} holds other episodes than its name says (20, " in err) == (2, True)
    else:
        assert code == 0  # of an earlier version, whose files do not tell


@pytest.mark.parametrize("shard", ["5", "5:5", "9:5", "0:41", "a:b", "-1:5"])
def test_what_is_no_range_is_a_sentence(unfit, checkpoint, shard):
    assert "but it must be A:B with 0 <= A < B <= EVAL.EPISODES (40)" in unfit(checkpoint, f"--episodes={shard}")


def test_what_does_not_go_together_is_refused(unfit, checkpoint, trained, refused):
    assert "--merge joins all of them; leave one of them out" in unfit(checkpoint, "--merge", "--episodes", "0:5")
    arguments = ("--cfg", trained[0], "-d", "cpu", "--untrained", "--episodes", "0:5")
    assert "keep shards beside a checkpoint" in refused("run_evaluator.py", *arguments)


def test_shards_of_earlier_versions_without_examples_are_joined(trained, checkpoint, space, shards):
    shards(*HALVES)
    for file in checkpoint.parent.glob("eval/*/*/shards/*.npz"):
        with np.load(file) as arrays:
            kept = {name: arrays[name] for name in arrays.files if name != "examples"}
        np.savez(file, **kept)
    code, out, _ = space.evaluator(trained[0], "-c", checkpoint, "--merge", "EVAL.PAGE=true")
    assert (code, "page  " in out) == (0, True)
