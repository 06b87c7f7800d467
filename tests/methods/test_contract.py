"""What every registered method promises, whatever it computes."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core import registry
from core.build.config import schemas
from core.build.data import episode_sampler
from core.build.evaluation import build_evaluator
from core.build.networks import build_method, data_info
from core.build.training import build_streams, build_trainer
from core.engine.checkpoint import load
from core.engine.features import CachedFeatures, ImageEncoder, UncachedFeatures
from core.engine.stage_run import StageRun
from core.engine.trainer import Trainer
from core.episode import Features, Task
from core.errors import UserError
from core.limits import Bounds
from core.methods.base import Method
from core.objectives.base import CrossEntropy
from core.ops.groups import class_shots
from core.pictures import Matches, Picture
from core.registry import Arguments
from core.report.run import RunFolder
from core.report.stats import t_interval

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
MOST_STEPS = 60  # within which a method must beat chance; those without a head that starts from nothing need 12


def pytest_generate_tests(metafunc):
    """Every registered method by its config for Glyphs, or those of `--contract`."""
    if "config" in metafunc.fixturenames:
        option = metafunc.config.getoption("--contract")
        configs = option or [f"configs/Glyphs/{name}_N5K1_C4.yaml" for name in sorted(schemas().methods)]
        ids = [Path(config).stem.split("_")[0] for config in configs]
        metafunc.parametrize("config", configs, ids=ids, scope="module")


@pytest.fixture(scope="module")
def untouched(config, built, task_of):
    """The data of a config, its method in eval mode, and three encoded tasks; made once for all tests of a method."""
    builder = built(config)
    method = build_method(builder)
    return builder, method, task_of(builder, method)


@pytest.fixture
def case(untouched):
    """As `untouched`, with a copy of the method, which a test may train."""
    builder, method, task = untouched
    return builder, copy.deepcopy(method), task


def logits(method, task: Task) -> Tensor:
    with torch.no_grad():
        return method.eval()(task)


def test_features_that_methods_share_are_the_backbones_alone(case):
    builder, method, _ = case
    if not method.encodes_by_backbone:
        pytest.skip("it says that it encodes with more")
    torch.manual_seed(0)
    pixels = {"image": torch.randn(2, 3, builder.image_size, builder.image_size)}
    pixels["crops"] = pixels["image"][:, None].expand(-1, 2, -1, -1, -1)
    with torch.no_grad():
        given, alone = method.encode(pixels), Method.encode(method, pixels)
    assert given.keys() == alone.keys()
    assert all(torch.equal(given[name], alone[name]) for name in given)


def rows(features: Features, order: Tensor) -> Features:
    return {name: value[:, order] for name, value in features.items()}


def in_double(task: Task) -> Task:
    sides = ({name: value.double() for name, value in side.items()} for side in (task.support, task.query))
    return replace(task, **dict(zip(("support", "query"), sides, strict=True)))


def one(task: Task, index: int) -> Task:
    """Task number `index` alone, T = 1."""
    pick = slice(index, index + 1)
    tensors = {name: getattr(task, name)[pick] for name in ("support_y", "query_y", "class_ids", "seed")}
    semantics = None if task.semantics is None else task.semantics[pick]
    support = {name: value[pick] for name, value in task.support.items()}
    query = {name: value[pick] for name, value in task.query.items()}
    return replace(task, support=support, query=query, semantics=semantics, **tensors)


def test_logits_have_a_row_per_query_and_are_finite(case):
    _, method, task = case
    output = logits(method, task)
    assert output.shape == (task.tasks, task.query_y.shape[1], task.way)
    assert output.isfinite().all()


def at_the_ends(arguments: Arguments) -> list[dict[str, Any]]:
    """Each argument that has bounds at each number where these end, by itself."""
    bounds = {name: limit for name, limit in arguments.limits.items() if isinstance(limit, Bounds)}
    return [
        {name: type(arguments.defaults[name])(number)}
        for name, limit in bounds.items()
        for sign, number in limit.comparisons
        if sign in (">=", "<=")
    ]


def test_logits_are_finite_where_the_bounds_of_arguments_end(untouched):
    builder, method, task = untouched
    for changed in at_the_ends(registry.METHODS.arguments(method.name)):
        info, arguments = data_info(builder, builder.cfg.STAGES[-1]), {**builder.cfg.METHOD.ARGS, **changed}
        other = type(method)(copy.deepcopy(method.backbone), info, **arguments)
        assert logits(other, task).isfinite().all(), changed


def test_tasks_at_once_equal_tasks_alone(case):
    _, method, task = case
    together = logits(method, task)
    alone = torch.cat([logits(method, one(task, i)) for i in range(task.tasks)])
    torch.testing.assert_close(together, alone, **CLOSE)


def test_query_labels_are_not_read(case):
    _, method, task = case
    blind = replace(task, query_y=torch.full_like(task.query_y, -1))
    assert torch.equal(logits(method, task), logits(method, blind))


def test_inductive_logits_do_not_depend_on_the_other_queries(case):
    _, method, task = case
    half = task.query_y.shape[1] // 2
    fewer = replace(task, query=rows(task.query, torch.arange(half)), query_y=task.query_y[:, :half])
    unmoved = torch.allclose(logits(method, task)[:, :half], logits(method, fewer), **CLOSE)
    assert unmoved is not method.transductive


def test_the_order_of_supports_inside_a_class_does_not_matter(config, built, task_of):
    builder = built(config, "TASK.TEST.SHOT=3")
    method = build_method(builder)
    order = torch.arange(15).view(5, 3).flip(1).flatten()
    if method.order_free:
        task = task_of(builder, method)
        if "image" in method.needs:  # in float32 another order may flip a max-pool of an adapted network
            method, task = method.double(), in_double(task)
        shuffled = replace(task, support=rows(task.support, order))
        torch.testing.assert_close(logits(method, task), logits(method, shuffled), **CLOSE)
    else:
        _same_on_average(builder, method, lambda t: replace(t, support=rows(t.support, order)), task_of)


def test_permuting_the_classes_permutes_the_logits(case, task_of):
    builder, method, task = case
    if not method.class_symmetric:
        _same_on_average(builder, method, _permute_classes, task_of)
        return
    output = logits(method, _permute_classes(task))
    torch.testing.assert_close(output, logits(method, task)[..., _ORDER], **CLOSE)


_ORDER = torch.tensor([3, 0, 4, 1, 2])


def _permute_classes(task: Task) -> Task:
    """New class n is old class _ORDER[n], with its shots."""
    places = torch.arange(task.support_y.shape[1]).split(class_shots(task))
    label = torch.empty_like(_ORDER)
    label[_ORDER] = torch.arange(task.way)
    shots = torch.tensor(class_shots(task))[_ORDER]
    return replace(
        task,
        support=rows(task.support, torch.cat([places[n] for n in _ORDER])),
        support_y=torch.arange(task.way).repeat_interleave(shots).expand(task.tasks, -1),
        query_y=label[task.query_y],
        class_ids=task.class_ids[:, _ORDER],
        semantics=None if task.semantics is None else task.semantics[:, _ORDER],
    )


def _same_on_average(builder, method, change, task_of) -> None:
    """A method that declares an exception keeps its mean accuracy; three standard errors, as many methods are tried."""
    task = task_of(builder, method, tasks=60 if "image" in method.needs else 150)
    plain, changed = (_accuracy(method, t) for t in (task, change(task)))
    paired = t_interval(changed - plain)
    assert abs(paired.mean) <= 1.6 * paired.ci95 + 1e-9


def _accuracy(method, task: Task) -> np.ndarray:
    return (logits(method, task).argmax(-1) == task.query_y).float().mean(1).numpy() * 100


def test_cached_features_equal_live_ones(case):
    builder, method, _ = case
    if "image" in method.needs:
        pytest.skip("adapts the whole network: its features are the pixels, which are never cached")
    ids = episode_sampler(builder, "val", 0).draw(torch.arange(2)).support
    pixels = builder.pixels("val")
    with torch.no_grad():
        crops = builder.views if "parts" in method.needs else None
        encoder = ImageEncoder(method, pixels, builder.image_size, views=crops)
        source = CachedFeatures(encoder)
        source.prepare(ids.flatten().unique())
        cached, live = source.gather(ids), UncachedFeatures(encoder).gather(ids)
    assert cached.keys() == live.keys()
    for name in cached:
        torch.testing.assert_close(cached[name], live[name], **CLOSE)


def test_evaluation_repeats_itself_and_changes_nothing(case):
    builder, method, _ = case
    method.train()
    before = copy.deepcopy(method.state_dict())
    evaluator = build_evaluator(builder, "val")
    first, second = evaluator.run(method, 6), evaluator.run(method, 6)
    np.testing.assert_array_equal(first.correct, second.correct)
    assert method.training
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())


@pytest.mark.parametrize(("way", "shot"), [(3, 1), (7, 2), (5, 5)])
def test_other_ways_and_shots_work_or_say_why_not(config, built, task_of, way, shot):
    builder = built(config, f"TASK.TEST.WAY={way}", f"TASK.TEST.SHOT={shot}", "TASK.TRAIN.SHOT=1")
    method = build_method(builder)
    task = task_of(builder, method)
    try:
        output = logits(method, task)
    except UserError as error:
        sentence = str(error)
    else:
        sentence = ""
        assert output.shape[-1] == way
    assert not sentence or (way != 5 and f"WAY is {way}" in sentence)


def test_unequal_shots_work(config, built, task_of):
    counts = torch.tensor([1, 2, 3, 1, 2])
    builder = built(config, "TASK.TEST.SHOT=3")
    method = build_method(builder)
    task = task_of(builder, method)
    if "image" in method.needs:
        method, task = method.double(), in_double(task)
    kept = (torch.arange(3) < counts[:, None]).flatten().nonzero()[:, 0]
    task = replace(task, support=rows(task.support, kept), support_y=task.support_y[:, kept], shot=None)
    given = logits(method, task)
    assert given.isfinite().all()
    alone = torch.cat([logits(method, one(task, i)) for i in range(task.tasks)])
    torch.testing.assert_close(given, alone, **CLOSE)
    if method.class_symmetric and method.order_free:  # else what is drawn for a support may depend on its place
        torch.testing.assert_close(logits(method, _permute_classes(task)), given[..., _ORDER], **CLOSE)


def test_the_loss_reaches_the_backbone_unless_it_is_frozen(case):
    builder, method, _ = case
    stage = builder.cfg.STAGES[-1]
    method.train()
    for stream in build_streams(builder, stage, method):
        method.loss(stream.at(0, 0.0).encoded(method.encode)).value.backward()
    total = sum(float(p.grad.abs().sum()) for p in method.backbone.parameters() if p.grad is not None)
    assert (total == 0) if method.frozen_backbone else (total > 0)


class _Learned(CrossEntropy):
    """An objective with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.margin = torch.nn.Parameter(torch.zeros(()))


def test_all_that_learns_is_optimised_once_and_the_objective_as_it_says(config, built):
    method = build_method(built(config))
    method.objective = _Learned()
    groups = method.param_groups(0.1)
    ids = sorted(id(p) for group in groups for p in group["params"])
    assert ids == sorted(id(p) for p in method.parameters() if p.requires_grad)
    (margin_group,) = (group for group in groups if any(p is method.objective.margin for p in group["params"]))
    assert margin_group["weight_decay"] == 0


def test_a_few_steps_lower_the_loss_and_beat_chance(case):
    builder, method, _ = case
    stage = builder.cfg.STAGES[-1]
    streams = build_streams(builder, stage, method)
    optimizer = torch.optim.Adam(method.parameters(), 2e-3)
    method.train()

    def loss(step: int) -> Tensor:
        return sum(method.loss(stream.at(step, 0.0).encoded(method.encode)).value for stream in streams)

    def unseen() -> float:
        return sum(float(loss(step).detach()) for step in range(100, 104))

    before, step = unseen(), 0
    for rehearsal in (12, 24, MOST_STEPS):
        method.train()
        while step < rehearsal:
            optimizer.zero_grad()
            loss(step).backward()
            optimizer.step()
            step += 1
        lowered = unseen() < before
        accuracy = build_evaluator(builder, "val").run(method, 60).interval
        if lowered and accuracy.mean - accuracy.ci95 > 20:
            return
    raise AssertionError(
        f"{method.name}: {accuracy.mean} +- {accuracy.ci95} % after {step} steps, loss lowered: {lowered}"
    )


class _Killed(Exception):
    """Stands for whatever ends a process."""


def test_a_killed_run_resumes_bit_for_bit(config, built, tmp_path, monkeypatch):
    stages = built(config).cfg.STAGES
    keys = ("EPOCHS=2", "STEPS=2", "OPTIM.SCHEDULE=constant", "VAL.EPISODES=4", "VAL.EVERY=1")
    short = [f"STAGE.{stage}.{key}" for stage in stages for key in keys]

    def trainer(folder: str) -> tuple[Trainer, RunFolder]:
        run = RunFolder(tmp_path / folder)
        run.path.mkdir(exist_ok=True)
        return build_trainer(built(config, *short), run, "stem", tmp_path / "pretrained"), run

    whole, run = trainer("whole")
    whole.fit()
    killed, killed_run = trainer("killed")
    epoch = StageRun._epoch
    monkeypatch.setattr(StageRun, "_epoch", lambda self, *rest: _die_in_the_second(epoch, self, *rest))
    with pytest.raises(_Killed):
        killed.fit()
    monkeypatch.setattr(StageRun, "_epoch", epoch)
    again, _ = trainer("killed")
    again.resume()
    again.fit()
    expected, checkpoint = load(run.last), load(killed_run.last)
    assert expected["method"].keys() == checkpoint["method"].keys()
    assert all(torch.equal(value, checkpoint["method"][key]) for key, value in expected["method"].items())


def _die_in_the_second(train_epoch, stage_run, epoch, scalars, clock):
    if epoch.number == 1:
        epoch.take(stage_run._stage, stage_run._optimizer, clock, stage_run._average)
        raise _Killed
    return train_epoch(stage_run, epoch, scalars, clock)


def test_what_may_be_other_at_test_is_an_argument():
    for name, arguments in schemas().methods.items():
        assert set(registry.METHODS[name].test_arguments) <= set(arguments.defaults), name


def test_pictures_fit_the_task_and_change_nothing(case):
    _, method, tasks = case
    task = one(tasks, 0)
    few = replace(task, query=rows(task.query, torch.tensor([0, 5])), query_y=task.query_y[:, [0, 5]])
    before = logits(method, task)
    with torch.no_grad():
        pictures = method.pictures(few)
    for picture in pictures:
        assert isinstance(picture, Picture)
        if isinstance(picture, Matches):
            supports, regions = task.support_y.shape[1], (len(picture.query_regions), len(picture.support_regions))
            assert picture.strength.shape == (2, supports, *regions)
            assert (picture.strength >= 0).all()
        else:
            assert picture.values.shape == (task.way,) * picture.values.ndim
    assert torch.equal(logits(method, task), before)
