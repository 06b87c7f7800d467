"""MML's three levels and their mixtures against loops in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.backbones.conv4 import Conv4
from core.backbones.resnet12 import ResNet12
from core.build.networks import build_method
from core.episode import DataInfo
from core.errors import UserError
from core.layers.part_graph import GRAPHS
from core.methods.mml import MML
from tests.helpers import make_task
from tests.ops.test_gaussians import kl_of_a_pair, wasserstein_of_a_pair

WAY, WIDTH, VIEWS, SIDE = 3, 4, 5, 2
INFO = DataInfo(n_base=6, image_size=16, way=WAY)
LEVELS = ("part", "pixel", "distribution")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(**options):
    torch.manual_seed(0)
    return MML(Conv4(16, "mean", width=WIDTH), INFO, **options).double().eval()


def features(tasks, images, seed):
    maps = drawn(tasks, images, WIDTH, SIDE, SIDE, seed=seed)
    return {"map": maps, "vector": maps.mean((3, 4)), "parts": drawn(tasks, images, VIEWS, WIDTH, seed=seed + 50)}


def task_of(shot=2, tasks=2, queries=6, counts=None):
    if counts is None:
        return make_task(features(tasks, WAY * shot, 0), features(tasks, queries, 1), WAY, shot)
    labels = torch.arange(WAY).repeat_interleave(torch.tensor(counts))[None]
    return make_task(features(1, sum(counts), 0), features(1, queries, 1), WAY, None, labels)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def nearest_sum(query, pool):
    """Every descriptor's best match in the pool, summed."""
    return sum(max(cosine(q, s) for s in pool) for q in query)


def level_of_a_pair(level, method, query, supports):
    """The score of one query's features for the features of one class's supports; `embedded` parts are given."""
    if level == "part":
        return nearest_sum(query["parts"].numpy(), supports["embedded"].flatten(0, 1).numpy())
    positions = query["map"].flatten(1).T
    pool = supports["map"].flatten(2).transpose(1, 2).flatten(0, 1)
    if level == "pixel":
        return nearest_sum(positions.numpy(), pool.numpy())
    if method.distribution == "prototype":
        return -float((positions.mean(0) - pool.mean(0)).square().sum())
    return -float({"kl": kl_of_a_pair, "wasserstein": wasserstein_of_a_pair}[method.distribution](positions, pool))


def naive(method, task, level):
    """[T][Q][N] of one level."""
    with torch.no_grad():
        embedded = method.graph(task.support["parts"], task.support_y) if level == "part" else task.support["vector"]
    support = task.support | {"embedded": embedded}
    tasks, queries = task.query_y.shape
    scores = np.zeros((tasks, queries, WAY))
    for t in range(tasks):
        for q in range(queries):
            query = {name: value[t, q] for name, value in task.query.items()}
            for n in range(WAY):
                members = {name: value[t, task.support_y[t] == n] for name, value in support.items()}
                scores[t, q, n] = level_of_a_pair(level, method, query, members)
    return scores


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def cross_entropy(scores, labels):
    return -np.log(np.take_along_axis(softmax(scores), labels.numpy()[..., None], 2)).mean()


TASKS = [{"shot": 1}, {"shot": 3}, {"counts": [1, 3, 2]}, {"counts": [4, 1, 1]}]


@pytest.mark.parametrize("shape", TASKS)
@pytest.mark.parametrize("distribution", ["prototype", "kl", "wasserstein"])
@pytest.mark.parametrize("graph", ["identity", "class"])
def test_the_three_levels_follow_their_equations(graph, distribution, shape):
    method, task = made(graph=graph, distribution=distribution), task_of(**shape)
    scores = method.scores(task)
    assert tuple(scores) == LEVELS
    for level in LEVELS:
        np.testing.assert_allclose(scores[level].detach().numpy(), naive(method, task, level), rtol=0, atol=1e-9)


def test_logits_are_the_log_of_the_weighted_mean_of_softmaxes():
    method, task = made(part_weight=2.0, pixel_weight=0.3, distribution_weight=0.7), task_of()
    mixed = sum(w * softmax(naive(method, task, level)) for w, level in zip((2, 0.3, 0.7), LEVELS, strict=True)) / 3
    logits = method(task).detach()
    np.testing.assert_allclose(logits.numpy(), np.log(mixed), rtol=0, atol=1e-10)
    np.testing.assert_allclose(logits.exp().sum(-1).numpy(), 1, atol=1e-12)


def test_the_answer_is_that_of_the_released_score():
    method, task = made(), task_of(queries=60)
    part, pixel, distribution = (softmax(naive(method, task, level)) for level in LEVELS)
    released = part + 0.5 * pixel + 0.5 * distribution
    assert (method(task).argmax(-1).numpy() == released.argmax(-1)).all()
    assert (released.argmax(-1) != part.argmax(-1)).any()


def test_logits_stay_finite_where_one_level_is_certain():
    method, task = made(), task_of()
    far = replace(task, query={name: 100 * value for name, value in task.query.items()})
    assert method(far).isfinite().all()


@pytest.mark.parametrize("distribution", ["prototype", "kl"])
def test_the_loss_is_the_weighted_sum_with_scaled_distances(distribution):
    method, task = made(distribution=distribution), task_of(shot=1)
    terms = [
        weight * cross_entropy(naive(method, task, level) * scale, task.query_y)
        for level, weight, scale in zip(LEVELS, (1, 0.5, 0.5), (1, 1, 1 / 64), strict=True)
    ]
    assert method.loss(task).value.item() == pytest.approx(sum(terms), abs=1e-9)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("fusion", ["fixed", "learned"])
def test_the_loss_reaches_the_graph_and_all_features(graph, fusion):
    method, task = made(graph=graph, fusion=fusion).train(), task_of()
    learned = [value.requires_grad_() for side in (task.support, task.query) for value in side.values()]
    method.loss(task).value.backward()
    assert all(value.grad.abs().sum() > 0 for value in learned)
    parameters = {name: p for name, p in method.named_parameters() if not name.startswith("backbone.")}
    assert all(p.grad.abs().sum() > 0 for p in parameters.values())
    assert any(name.startswith("graph.") for name in parameters)


def only(level):
    return {f"{other}_weight": 0.0 for other in LEVELS if other != level}


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        ({}, {"parts", "map", "vector"}),
        ({"distribution": "kl"}, {"parts", "map"}),
        (only("part"), {"parts"}),
        (only("pixel"), {"map"}),
        (only("distribution"), {"vector"}),
        (only("distribution") | {"distribution": "wasserstein"}, {"map"}),
    ],
)
def test_levels_without_weight_ask_for_nothing(options, needs):
    method = made(**options)
    assert set(method.needs) == needs
    assert (method.graph is None) == ("parts" not in needs)


@pytest.mark.parametrize("level", LEVELS)
def test_one_level_alone_is_its_softmax_whatever_its_weight(level):
    method, task = made(**only(level), **{f"{level}_weight": 0.25}), task_of()
    expected = np.log(softmax(naive(method, task, level)))
    np.testing.assert_allclose(method(task).detach().numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("levels", [LEVELS, LEVELS[1:], LEVELS[:1]])
def test_learned_fusion_is_batch_norm_and_a_dilated_convolution(levels):
    unused = {f"{level}_weight": 0.0 for level in LEVELS if level not in levels}
    method, task = made(fusion="learned", **unused).train(), task_of()
    norm, weights = method.fusion.norm, method.fusion.mix.weight.detach().flatten()
    assert weights.tolist() == [{"part": 1.0, "pixel": 0.5, "distribution": 0.5}[level] for level in levels]
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    if method.graph is not None:
        method.graph.eval()
    expected = torch.zeros(2, 6, WAY, dtype=torch.float64)
    for number, level in enumerate(levels):
        scores = torch.from_numpy(naive(method, task, level))
        for n in range(WAY):
            column, at = scores[..., n], number * WAY + n
            column = (column - column.mean()) / (column.var(correction=0) + norm.eps).sqrt()
            expected[..., n] += weights[number] * (norm.weight[at] * column + norm.bias[at]).detach()
    torch.testing.assert_close(method(task).detach(), expected, rtol=0, atol=1e-10)
    assert method.loss(task).value.item() == pytest.approx(
        F.cross_entropy(expected.flatten(0, 1), task.query_y.flatten()).item(), abs=1e-10
    )
    assert not method.class_symmetric


def test_learned_fusion_knows_one_way():
    method = MML(Conv4(16, "mean", width=WIDTH), replace(INFO, way=5), fusion="learned").double()
    with pytest.raises(UserError, match=r"^TASK\.TEST\.WAY is 3, but this MML learned to mix the scores of 5 classes"):
        method(task_of())


def test_base_classes_are_not_scored_apart():
    with pytest.raises(UserError, match="leave --generalized out"):
        made().base_logits(task_of())


def test_the_graph_of_resnet12_has_the_published_size():
    with torch.device("meta"):
        method = MML(ResNet12(84, "native"), INFO)
    size = sum(p.numel() for p in method.parameters()) - sum(p.numel() for p in method.backbone.parameters())
    assert size == 3_280_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"distribution": "wass"}, "METHOD.ARGS.distribution is 'wass', which is not one of: prototype, kl, wass"),
        ({"fusion": "sum"}, "METHOD.ARGS.fusion is 'sum', which is not one of: fixed, learned"),
        ({"temperature": 0.0}, "METHOD.ARGS.temperature is 0.0"),
        ({"pixel_weight": -1.0}, "METHOD.ARGS.pixel_weight is -1.0"),
        ({"part_weight": 0.0, "pixel_weight": 0.0, "distribution_weight": 0.0}, "all three levels"),
    ],
)
def test_wrong_arguments_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        made(**options)


def test_flattened_vectors_are_refused():
    with pytest.raises(UserError, match=r"^BACKBONE\.VECTOR is flatten, but MML .* set it to mean\.$"):
        MML(Conv4(16, "native", width=WIDTH), INFO)


@pytest.mark.parametrize(
    "override",
    [
        "METHOD.ARGS.graph=class",
        "METHOD.ARGS.graph=knn",
        "METHOD.ARGS.distribution=kl",
        "METHOD.ARGS.distribution=wasserstein",
        "METHOD.ARGS.fusion=learned",
    ],
)
def test_tasks_at_once_equal_tasks_alone_in_every_form(override, built, task_of):
    builder = built("configs/Glyphs/MML_N5K1_C4.yaml", override)
    method = build_method(builder)
    together, alone = task_of(builder, method, 3), [task_of(builder, method, 1)]
    with torch.no_grad():
        torch.testing.assert_close(method(together)[:1], method(alone[0]), rtol=1e-3, atol=1e-4)


def test_the_pictures_are_what_the_pixel_level_sums():
    task = task_of(tasks=1)
    for part in (task.query, task.support):
        part["map"] = part["map"].abs()
    method = made()
    (picture,) = method.pictures(task)
    scores = picture.strength.reshape(6, WAY, 2, -1).sum((2, 3))
    assert np.allclose(scores, method.scores(task)["pixel"][0].detach().numpy(), atol=1e-12)
    assert made(pixel_weight=0.0).pictures(task) == []
