"""Queries of base classes beside an episode's own."""

import torch

from core.data.base_queries import BaseQueries
from core.data.episodes import EpisodeSampler, Shape
from core.data.loaders import Augmentation, EpisodeStream, TaskBuilder
from core.data.pixels import Pixels
from core.ops import random
from tests.helpers import make_split

SPLIT = make_split(9, [5, 4, 7, 6, 5, 8, 4, 5, 6])
LABELS = torch.from_numpy(SPLIT.labels)
SEEDS = random.hashes(torch.tensor(1), "episodes", 300)


def test_rows_belong_to_the_classes_that_are_named():
    rows, classes = BaseQueries(SPLIT, 11).draw(SEEDS)
    assert rows.shape == classes.shape == (300, 11)
    assert torch.equal(LABELS[rows], classes)


def test_the_classes_of_the_episode_are_left_out_and_all_others_are_equally_likely():
    taken = torch.tensor([7, 0, 3]).expand(300, -1)
    _, classes = BaseQueries(SPLIT, 60).draw(SEEDS, taken)
    counts = classes.flatten().bincount(minlength=9)
    assert counts[[0, 3, 7]].sum() == 0
    kept = counts[[1, 2, 4, 5, 6, 8]].float()
    assert (kept / kept.mean() - 1).abs().max() < 0.06  # 3,000 a class: one standard deviation is 1.7 %


def test_every_image_of_a_class_is_drawn():
    rows, _ = BaseQueries(SPLIT, 60).draw(SEEDS)
    assert set(rows.flatten().tolist()) == set(range(len(LABELS)))


def test_queries_follow_the_seed_of_their_episode_alone():
    queries = BaseQueries(SPLIT, 11)
    together = queries.draw(SEEDS, torch.tensor([7, 0, 3]).expand(300, -1))[0]
    alone = torch.cat([queries.draw(SEEDS[i : i + 1], torch.tensor([[7, 0, 3]]))[0] for i in range(300)])
    assert torch.equal(together, alone)


def test_a_training_task_carries_images_of_the_other_classes():
    cpu = torch.device("cpu")
    sampler, pixels = EpisodeSampler(SPLIT, Shape(3, 1, 2), seed=0), Pixels(SPLIT, cpu)
    stream = EpisodeStream(
        pixels, sampler, TaskBuilder(sampler.shape, cpu), 4, Augmentation([], 0), BaseQueries(SPLIT, 5)
    )
    task = stream.at(3, 0.5)
    assert task.base_query["image"].shape == (4, 5, 3, 16, 16)
    assert not (task.base_query_y[:, :, None] == task.class_ids[:, None]).any()
    images = pixels.gather(torch.arange(50)).flatten(1).tolist()
    of_class = dict(zip(map(tuple, images), LABELS.tolist(), strict=True))
    classes_of_images = [of_class[tuple(image.flatten().tolist())] for image in task.base_query["image"].flatten(0, 1)]
    assert classes_of_images == task.base_query_y.flatten().tolist()


def test_all_queries_pass_the_encoder_and_stand_in_order():
    cpu = torch.device("cpu")
    sampler = EpisodeSampler(SPLIT, Shape(3, 1, 2), seed=0)
    builder = TaskBuilder(sampler.shape, cpu)
    task = EpisodeStream(Pixels(SPLIT, cpu), sampler, builder, 2, Augmentation([], 0), BaseQueries(SPLIT, 5)).at(0, 0.0)
    encoded = task.encoded(lambda pixels: {"vector": pixels["image"].mean((-1, -2))})
    assert encoded.base_query["vector"].shape == (2, 5, 3)
    both = encoded.all_queries()
    assert torch.equal(both.query["vector"][:, 6:], encoded.base_query["vector"])
    assert both.query_y[:, 6:].eq(-1).all()
    assert torch.equal(both.query_y[:, :6], task.query_y)
