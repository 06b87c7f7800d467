"""Pixels, and streams that are pure functions of the step."""

import dataclasses

import numpy as np
import pytest
import torch

from core.data.augment import Crop, Flip, Jitter
from core.data.episodes import EpisodeSampler, Shape
from core.data.loaders import Augmentation, BatchStream, EpisodeStream, ShotRange, TaskBuilder
from core.data.pixels import Pixels
from core.ranks import Ranks
from tests.helpers import make_split

CPU = torch.device("cpu")
SPLIT = make_split(6, 9, size=8)
PLAIN = Augmentation((), 0)
AUGMENTED = Augmentation((Crop(1), Flip(), Jitter(0.4)), 3)


def episodes(tasks, augmentation=PLAIN, **options):
    sampler = EpisodeSampler(SPLIT, Shape(3, 2, 4), 5)
    return EpisodeStream(Pixels(SPLIT, CPU), sampler, TaskBuilder(sampler.shape, CPU, **options), tasks, augmentation)


def shots(least, most, seed=0):
    streams = [
        EpisodeStream(
            Pixels(SPLIT, CPU), EpisodeSampler(SPLIT, shape, 5), TaskBuilder(shape, CPU), 2, Augmentation((), 0)
        )
        for shape in (Shape(3, shot, 6 - shot) for shot in range(least, most + 1))
    ]
    return streams, ShotRange(streams, seed)


def batches(size, augmentation=PLAIN, split=SPLIT):
    return BatchStream(Pixels(split, CPU), split, size, augmentation)


def normalised(ids):
    """[n, 3, H, W] in float64, one image at a time."""
    mean, std = np.array(SPLIT.manifest["mean"]), np.array(SPLIT.manifest["std"])
    return np.stack([((SPLIT.images[i] / 255 - mean) / std).transpose(2, 0, 1) for i in ids])


def same(one, other):
    assert torch.equal(one.support["image"], other.support["image"])
    assert torch.equal(one.query["image"], other.query["image"])
    assert torch.equal(one.class_ids, other.class_ids)
    assert torch.equal(one.seed, other.seed)


def test_gather_normalises():
    pixels = Pixels(SPLIT, CPU)
    ids = torch.tensor([3, 50, 3, 0])
    gathered = pixels.gather(ids)
    assert len(pixels) == 54
    assert gathered.dtype == torch.float32
    assert np.allclose(gathered.numpy(), normalised(ids.tolist()), rtol=0, atol=1e-5)
    assert gathered.is_contiguous(memory_format=torch.channels_last)
    everything = pixels.gather(torch.arange(54))
    assert torch.allclose(everything.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(everything.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


def test_gather_applies_transforms_in_order_before_normalising():
    ids, seed = torch.tensor([1, 2]), torch.tensor([10, 11])
    raw = torch.from_numpy(SPLIT.images[:3]).float() / 255
    expected = raw[ids]
    for transform in AUGMENTED.transforms:
        expected = transform(expected, seed)
    mean, std = (torch.tensor(SPLIT.manifest[name]) for name in ("mean", "std"))
    gathered = Pixels(SPLIT, CPU).gather(ids, seed, AUGMENTED.transforms)
    assert torch.allclose(gathered, ((expected - mean) / std).permute(0, 3, 1, 2), rtol=0, atol=1e-5)


def test_seeds_differ_between_images_steps_and_runs():
    drawn = [Augmentation((), seed).seeds(step, 50, CPU) for seed in (0, 1) for step in (0, 1)]
    assert torch.cat(drawn).unique().numel() == 200


@pytest.mark.parametrize("augmentation", [PLAIN, AUGMENTED], ids=["plain", "augmented"])
@pytest.mark.parametrize("make", [episodes, batches])
def test_streams_are_pure_functions_of_the_step(make, augmentation):
    def images(item):
        return item.inputs["image"] if hasattr(item, "inputs") else item.query["image"]

    stream = make(4, augmentation)
    steps = [0, 1, 15, 16, 30, 3, 0]
    first = [images(stream.at(step, 0.0)) for step in steps]
    for step, before in zip(steps, first, strict=True):
        assert torch.equal(images(make(4, augmentation).at(step, 0.7)), before)
    assert torch.equal(first[0], first[-1])
    assert not torch.equal(first[0], first[1])


def test_task_holds_the_drawn_episodes():
    drawn = EpisodeSampler(SPLIT, Shape(3, 2, 4), 5).draw(torch.tensor([4, 5]))
    task = episodes(2, first_class=10, words=torch.from_numpy(SPLIT.vectors)).at(2, 0.25)
    for t in range(2):
        assert np.allclose(task.support["image"][t].numpy(), normalised(drawn.support[t].tolist()), atol=1e-5)
        assert np.allclose(task.query["image"][t].numpy(), normalised(drawn.query[t].tolist()), atol=1e-5)
    assert task.support_y.tolist() == [[0, 0, 1, 1, 2, 2]] * 2
    assert task.query_y.tolist() == [[0] * 4 + [1] * 4 + [2] * 4] * 2
    assert (task.way, task.shot, task.tasks, task.progress) == (3, 2, 2, 0.25)
    assert torch.equal(task.class_ids, drawn.classes + 10)
    assert torch.equal(task.seed, drawn.seed)
    assert np.array_equal(task.semantics.numpy(), SPLIT.vectors[drawn.classes.numpy()])


def test_tasks_of_a_step_are_the_single_episodes():
    together = episodes(4).at(3, 0.5)
    for t in range(4):
        alone = episodes(1).at(12 + t, 0.5)
        chosen = {name: value[t : t + 1] for name, value in together.support.items()}
        query = {name: value[t : t + 1] for name, value in together.query.items()}
        at_t = dataclasses.replace(
            together,
            support=chosen,
            query=query,
            class_ids=together.class_ids[t : t + 1],
            seed=together.seed[t : t + 1],
        )
        same(at_t, alone)


def test_word_vectors_only_where_asked_for():
    assert episodes(1).at(0, 0.0).semantics is None


def marked_split(n):
    """A split whose image i has the value i in its first pixel."""
    split = make_split(3, n // 3, size=2)
    split.images[:, 0, 0, 0] = np.arange(n)
    return split


def ids_of(batch, split):
    mean, std = split.manifest["mean"][0], split.manifest["std"][0]
    return ((batch.inputs["image"][:, 0, 0, 0].double() * std + mean) * 255).round().long()


@pytest.mark.parametrize(("size", "sizes"), [(10, [10, 10, 10]), (8, [8, 8, 8, 6]), (40, [30]), (1, [1] * 30)])
def test_an_epoch_covers_every_image_once(size, sizes):
    split = marked_split(30)
    stream = batches(size, split=split)
    assert len(stream) == len(sizes)
    for epoch in range(3):
        epoch_batches = [stream.at(epoch * len(sizes) + position, 0.0) for position in range(len(sizes))]
        assert [len(batch.labels) for batch in epoch_batches] == sizes
        ids = torch.cat([ids_of(batch, split) for batch in epoch_batches])
        assert ids.sort().values.tolist() == list(range(30))
        assert torch.equal(torch.cat([batch.labels for batch in epoch_batches]), torch.from_numpy(split.labels)[ids])


def test_order_changes_between_epochs_and_seeds():
    split = marked_split(30)
    orders = [
        tuple(ids_of(batches(30, Augmentation((), seed), split).at(epoch, 0.0), split).tolist())
        for seed in (0, 1)
        for epoch in range(3)
    ]
    assert len(set(orders)) == 6
    assert tuple(range(30)) not in orders


def test_pixels_of_features_are_as_stored():
    split = dataclasses.replace(
        SPLIT, images=np.random.default_rng(0).normal(size=(len(SPLIT.names), 8)).astype(np.float32)
    )
    gathered = Pixels(split, CPU).gather(torch.tensor([5, 0]))
    assert (gathered.numpy() == split.images[[5, 0]]).all()
    half = dataclasses.replace(split, images=split.images.astype(np.float16))
    assert Pixels(half, CPU).gather(torch.tensor([1])).dtype == torch.float32


def test_a_range_of_shots_draws_the_shot_of_each_step():
    """Every step is a step of one shot's own episodes, whatever was drawn before; all shots are as likely."""
    streams, drawn = shots(1, 3)
    tasks = [drawn.at(step, 0.5) for step in range(90)]
    counts = torch.tensor([task.shot for task in tasks]).bincount(minlength=4)
    assert counts[0] == 0
    assert counts[1:].min() >= 18
    for step in (0, 7, 89):
        task = shots(1, 3)[1].at(step, 0.5)
        same(task, tasks[step])
        same(task, streams[task.shot - 1].at(step, 0.5))
        assert task.query_y.shape == (2, 3 * (6 - task.shot))
    other = shots(1, 3, seed=1)[1]
    assert [other.at(step, 0.5).shot for step in range(20)] != [task.shot for task in tasks[:20]]


def test_the_seed_of_a_batch_is_that_of_its_step_in_every_process():
    streams = [BatchStream(Pixels(SPLIT, CPU), SPLIT, 9, PLAIN, ranks=Ranks(number, 2)) for number in range(2)]
    seeds = [[stream.at(step, 0.0).seed for step in range(4)] for stream in streams]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 4
