"""DeepEMD against its equations, written as loops in float64 with SciPy's linear programs."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.conv4 import Conv4
from core.engine.selection import changed_arguments, refuse_different_network
from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods.deepemd import DeepEMD
from core.ops import random
from core.ops.adapt import HeadSGD
from core.ops.emd.distance import emd_logits
from core.ops.emd.node_similarity import node_similarity
from tests.configs.leaves import leaves, loaded
from tests.helpers import make_task
from tests.ops.emd.problems import optimum

INFO = DataInfo(n_base=6, image_size=32)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def deepemd(vector="native", **arguments):
    torch.manual_seed(0)
    return DeepEMD(Conv4(32, vector, width=6, pools=3), INFO, **arguments).double()


def logit(u, v, temperature=12.5, centred=True):
    """Nodes [n, C] of a query and of a class to a number."""
    n = len(u)
    rows = torch.stack([F.relu(node @ v.mean(0)) + 1e-3 for node in u])
    columns = torch.stack([F.relu(node @ u.mean(0)) + 1e-3 for node in v])
    if centred:
        u, v = (nodes - nodes.mean(1, keepdim=True) for nodes in (u, v))
    cosines = torch.stack([F.cosine_similarity(node[None], v) for node in u])
    value = optimum(1 - cosines, n * rows / rows.sum(), n * columns / columns.sum())
    return temperature * (1 - value / n)


def nodes_of(maps, pyramid):
    """A map [C, h, w] to nodes [P, C]."""
    levels = [F.adaptive_avg_pool2d(maps, side) for side in pyramid] + [maps]
    return torch.cat([level.flatten(1).T for level in levels])


def expected_logits(query, classes, pyramid=(), **options):
    rows = [[logit(nodes_of(q, pyramid), nodes_of(c, pyramid), **options) for c in classes] for q in query]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["center", "none"])
@pytest.mark.parametrize("pyramid", [(), (2, 1)])
def test_logits_of_maps(norm, pyramid):
    method = deepemd(norm=norm, feature_pyramid=pyramid, temperature=7.0)
    support, query = drawn(2, 3, 6, 3, 3), drawn(2, 4, 6, 3, 3, seed=1)
    logits = method(make_task({"map": support}, {"map": query}, 3, 1))
    for t in range(2):
        expected = expected_logits(query[t], support[t], pyramid, temperature=7.0, centred=norm == "center")
        torch.testing.assert_close(logits[t], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", ["grid", "sampling"])
def test_logits_of_crops(variant):
    method = deepemd("mean", variant=variant)
    assert method.needs == ("parts",)
    support, query = drawn(2, 3, 5, 6), drawn(2, 4, 5, 6, seed=1)
    logits = method(make_task({"parts": support}, {"parts": query}, 3, 1))
    expected = torch.tensor([[logit(q, c) for c in support[1]] for q in query[1]], dtype=torch.float64)
    torch.testing.assert_close(logits[1], expected, rtol=0, atol=1e-10)


def test_dead_nodes_are_no_trouble():
    support, query = torch.zeros(1, 3, 6, 3, 3), torch.zeros(1, 4, 6, 3, 3)
    support[:, 1:] = drawn(2, 6, 3, 3).float()
    logits = deepemd().float()(make_task({"map": support.requires_grad_()}, {"map": query}, 3, 1))
    logits.sum().backward()
    assert logits.isfinite().all()
    assert support.grad.isfinite().all()


def fine_tuned(start, support, labels, method, nodes=lambda learned: learned, weight_grad=True):
    """The SFC by torch.optim: from `start` [N, ...], with the nodes that `nodes` makes of what is learned."""
    learned = nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([learned], lr=20.0, momentum=0.9, dampening=0.9, weight_decay=0.01)
    for seed in random.hashes(torch.tensor(0), "head-passes", 3):
        for ids in random.permutation(seed, "order", len(labels)).split(4):
            similarity, weights = node_similarity(support[:, ids], nodes(learned)[None], centred=True)
            logits = emd_logits(similarity, weights, 12.5, weight_grad=weight_grad)[0]
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[ids]).backward()
            optimizer.step()
    assert (learned - start).abs().max() > 1e-2
    return nodes(learned).detach()


@pytest.mark.parametrize("weight_grad", [True, False])
@pytest.mark.parametrize(("pyramid", "learns"), [((), "nodes"), ((1,), "nodes"), ((1,), "map")])
@pytest.mark.parametrize("counts", [[2, 2, 2], [1, 3, 2]])
def test_class_nodes_are_fine_tuned_as_by_torch(pyramid, learns, counts, weight_grad):
    sfc = {"sfc_lr": 20.0, "sfc_wd": 0.01, "sfc_update_step": 3, "sfc_learns": learns, "sfc_weight_grad": weight_grad}
    method = deepemd(**sfc, feature_pyramid=pyramid)
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts))
    support, query = drawn(1, 6, 6, 2, 2), drawn(1, 4, 6, 2, 2, seed=1)
    shot = None if len(set(counts)) > 1 else 2
    logits = method(make_task({"map": support}, {"map": query}, 3, shot, labels[None]))
    maps = torch.stack([support[0, labels == n].mean(0) for n in range(3)])
    of_maps = lambda maps: torch.stack([nodes_of(one, pyramid) for one in maps])  # noqa: E731
    start, nodes = (maps, of_maps) if learns == "map" else (of_maps(maps), lambda learned: learned)
    classes = fine_tuned(start, of_maps(support[0])[None], labels, method, nodes, weight_grad)
    expected = [[logit(nodes_of(q, pyramid), nodes) for nodes in classes] for q in query[0]]
    torch.testing.assert_close(logits[0], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-8)


def test_constant_weights_everywhere_are_constant_in_the_fine_tuning():
    support, query = drawn(1, 6, 6, 2, 2), drawn(1, 4, 6, 2, 2, seed=1)
    task = make_task({"map": support}, {"map": query}, 3, 2)
    sfc = {"sfc_lr": 20.0, "sfc_update_step": 3}
    exact, everywhere, in_sfc = (
        deepemd(**sfc, **switch)(task) for switch in ({}, {"weight_grad": False}, {"sfc_weight_grad": False})
    )
    assert torch.equal(everywhere, in_sfc)
    assert (exact - in_sfc).abs().max() > 1e-3


def test_validation_has_a_solver_of_its_own():
    task = make_task({"map": drawn(1, 3, 6, 3, 3)}, {"map": drawn(1, 4, 6, 3, 3, seed=1)}, 3, 1)
    trained, plain = deepemd(solver="qpth", l2_strength=0.1, solver_val="simplex"), deepemd()
    assert (trained.train()(task) - plain(task)).abs().max() > 1e-3
    assert torch.equal(trained.eval()(task), plain.eval()(task))
    quadratic = deepemd(solver="qpth", l2_strength=0.1)
    assert torch.equal(quadratic.eval()(task), trained.train()(task))


def test_fine_tuning_classifies_the_supports_better():
    support = drawn(3, 15, 6, 2, 2)
    task = make_task({"map": support}, {"map": support}, 3, 5)
    losses = [
        F.cross_entropy(deepemd(sfc_lr=1.0, sfc_update_step=passes)(task).flatten(0, 1), task.support_y.flatten())
        for passes in (0, 20)
    ]
    assert losses[1] < losses[0] - 0.01


def test_no_gradient_of_the_fine_tuning_reaches_the_supports():
    support, query = drawn(1, 6, 6, 2, 2).requires_grad_(), drawn(1, 4, 6, 2, 2, seed=1).requires_grad_()
    deepemd(sfc_update_step=2)(make_task({"map": support}, {"map": query}, 3, 2)).sum().backward()
    assert support.grad is None
    assert query.grad.abs().sum() > 0


def test_weights_matter_to_the_gradient_unless_switched_off():
    slopes = []
    for exact in (True, False):
        query = drawn(1, 4, 6, 3, 3, seed=1).requires_grad_()
        task = make_task({"map": drawn(1, 3, 6, 3, 3)}, {"map": query}, 3, 1)
        deepemd(weight_grad=exact).loss(task).value.backward()
        slopes.append(query.grad)
    assert 0.01 < (slopes[0] - slopes[1]).norm() / slopes[0].norm() < 1.5


def test_gradients_at_the_features_are_exact():
    method = deepemd()
    support, query = drawn(1, 2, 6, 2, 2).requires_grad_(), drawn(1, 3, 6, 2, 2, seed=1).requires_grad_()
    loss = lambda s, q: method.loss(make_task({"map": s}, {"map": q}, 2, 1)).value  # noqa: E731
    assert torch.autograd.gradcheck(loss, [support, query], eps=1e-6, atol=1e-6, rtol=1e-4)


def test_a_few_tasks_at_a_time_change_nothing(monkeypatch):
    method, task = deepemd(), make_task({"map": drawn(5, 3, 6, 3, 3)}, {"map": drawn(5, 4, 6, 3, 3, seed=1)}, 3, 1)
    whole = method(task)
    monkeypatch.setattr("core.methods.deepemd.AT_ONCE", 2 * 4 * 3 * 81)
    with torch.no_grad():
        torch.testing.assert_close(method(task), whole)


def test_the_pretraining_classifier_sees_averaged_maps():
    method, maps = deepemd(), drawn(4, 6, 4, 4)
    logits = method.batch_logits(Batch({"map": maps}, torch.zeros(4)))
    torch.testing.assert_close(logits, maps.mean((2, 3)) @ method.classifier.weight.T + method.classifier.bias)


def test_the_recipe_of_fine_tuning_is_the_authors():
    sgd = deepemd().sgd
    assert sgd == HeadSGD(passes=100, steps=0, batch=4, lr=0.1, momentum=0.9, dampening=0.9, weight_decay=0.0)
    assert len(sgd.batches(torch.zeros(1, dtype=torch.long), 25)) == 700


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"variant": "patches"}, "variant is 'patches', which is not one of: fcn, grid, sampling"),
        ({"norm": "l2"}, "norm is 'l2'"),
        ({"solver": "lp"}, "solver is 'lp'"),
        ({"variant": "grid"}, "set BACKBONE.VECTOR to mean"),
        ({"variant": "grid", "vector": "mean", "feature_pyramid": (2,)}, "feature_pyramid"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        deepemd(**arguments)


ONE_SHOT = [leaf for leaf in leaves() if Path(leaf).name.startswith("DeepEMD_") and leaf.endswith("_N5K1_R12.yaml")]


@pytest.mark.parametrize("leaf", ONE_SHOT)
def test_a_checkpoint_of_one_shot_is_tested_with_the_yaml_of_five(leaf):
    one, five = (described(loaded(leaf.replace("N5K1", f"N5K{shot}")).cfg) for shot in (1, 5))
    refuse_different_network(five, one, Path("ebest_5way_1shot.pth"))
    assert changed_arguments(five, one) == {"sfc_lr": 100.0, "sfc_weight_grad": False}


def described(cfg):
    return {
        **{"stage": "meta", "final": True, "dataset": "CIFAR-FS"},
        "method": {"NAME": cfg.METHOD.NAME, "ARGS": dict(cfg.METHOD.ARGS)},
        "backbone": {"NAME": cfg.BACKBONE.NAME, "ARGS": dict(cfg.BACKBONE.ARGS)},
    }


@pytest.mark.parametrize("pyramid", [(), (2, 1)])
def test_the_pictures_are_the_flow_behind_the_logits(pyramid):
    method = deepemd(feature_pyramid=pyramid)
    support, query = drawn(1, 3, 6, 3, 3), drawn(1, 4, 6, 3, 3, seed=1)
    task = make_task({"map": support}, {"map": query}, 3, 1)
    (picture,) = method.pictures(task)
    nodes = 9 + sum(side**2 for side in pyramid)
    assert picture.strength.shape == (4, 3, nodes, nodes)
    assert len(picture.query_regions) == len(picture.support_regions) == nodes
    similarity, _ = node_similarity(method._nodes(query), method._nodes(support), True)
    logits = 12.5 / nodes * (torch.from_numpy(picture.strength) * similarity[0]).sum((2, 3))
    torch.testing.assert_close(logits.float(), method(task)[0].detach().float(), rtol=0, atol=1e-4)
    assert picture.query_weight.sum(-1) == pytest.approx(nodes, rel=1e-5)
    assert picture.support_weight.sum(-1) == pytest.approx(nodes, rel=1e-5)


def test_what_has_no_place_in_an_image_is_no_picture():
    parts = {"parts": drawn(1, 3, 5, 6)}
    assert deepemd("mean", variant="grid").pictures(make_task(parts, parts, 3, 1)) == []
    maps = {"map": drawn(1, 6, 6, 3, 3)}
    assert deepemd().pictures(make_task(maps, maps, 3, 2)) == []
