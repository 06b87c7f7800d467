"""Evaluators and restored networks, as a configuration describes them."""

import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.evaluation import Network, build_evaluator, feature_cache, measured, objective_pictures, restore
from core.build.networks import build_method
from core.errors import UserError
from tests.workspace import PROTONET, Workspace, best


def data(root, config, *overrides):
    keys = [f"DATASET.ROOT={root}", "DATASET.SIZE=16", *overrides]
    return Data(load_config(config, keys).cfg, torch.device("cpu"))


def test_validation_episodes_of_a_stage(tiny_root):
    built = data(
        tiny_root, "configs/Glyphs/MML_N5K1_C4.yaml", "TASK.TEST.QUERY=3", "STAGE.base.VAL.WAY=4", "TASK.VAL.SHOT=2"
    )
    shapes = [build_evaluator(built, "val", stage).sampler.shape for stage in ("base", "meta")]
    assert [(shape.way, shape.shot, shape.n_query) for shape in shapes] == [(4, 1, 12), (5, 2, 15)]


def test_a_checkpoint_comes_back_as_it_was(trained, tiny_root):
    cfg, run = trained
    network = restore(data(tiny_root, cfg), best(run))
    saved = torch.load(best(run), weights_only=True)
    assert all(torch.equal(value, saved["method"][name]) for name, value in network.method.state_dict().items())
    assert (network.path, network.meta, network.at_test) == (best(run), saved["meta"], {})


def test_the_first_of_two_errors_names_the_argument(trained, tiny_root):
    cfg, run = trained
    with pytest.raises(UserError, match="was trained with BACKBONE"):
        restore(data(tiny_root, cfg, "BACKBONE.ARGS.width=4"), best(run))


def test_features_are_kept_for_checkpoints_alone(trained, tiny_root):
    built = data(tiny_root, trained[0])
    test = built.split("test")
    assert feature_cache(built, Network(build_method(built)), test) is None
    network = restore(built, best(trained[1]))
    kept = feature_cache(built, network, test).path
    assert feature_cache(built, network, test).path == kept
    half = data(tiny_root, trained[0], "EVAL.PRECISION=bf16")
    assert feature_cache(half, network, test).path != kept
    assert feature_cache(data(tiny_root, trained[0], "EVAL.CACHE=false"), network, test) is None
    centre = data(tiny_root, trained[0], "DATASET.EVAL_CROP=0.9")
    assert feature_cache(centre, network, test).path != kept
    more = data(tiny_root, trained[0], "EVAL.EPISODES=7", "TASK.TEST.WAY=4")
    assert feature_cache(more, network, test).path == kept


@pytest.mark.parametrize(("objective", "way"), [("traml", 4), ("craml", 8)])
def test_what_the_objective_shows_is_of_a_training_step(objective, way, glyphs, space):
    cfg = "configs/Glyphs/AM3_TRAML_N5K1_C4.yaml"
    keys = [f"DATASET.ROOT={glyphs}", "BACKBONE.ARGS.width=8", f"TASK.TRAIN.WAY={way}", "TASK.TRAIN.QUERY=2"]
    keys += [f"OBJECTIVE={{NAME: {objective}}}", "STAGE.meta.EPOCHS=1", "STAGE.meta.STEPS=2"]
    run = space.train(cfg, *keys, "STAGE.meta.VAL.EPISODES=5")
    built = Data(load_config(cfg, keys).cfg, torch.device("cpu"))
    names, (picture,) = objective_pictures(built, restore(built, best(run)))
    assert picture.values.shape == (way, way)
    assert len(set(names)) == way
    assert set(names) <= set(built.split("train").classes)
    other = Data(load_config(cfg, [*keys, "TASK.TRAIN.WAY=3"]).cfg, torch.device("cpu"))
    assert (objective_pictures(other, restore(other, best(run))) == ([], [])) == (objective == "traml")


def test_objectives_without_words_show_nothing(trained, tiny_root):
    built = data(tiny_root, trained[0])
    assert objective_pictures(built, restore(built, best(trained[1]))) == ([], [])
    assert objective_pictures(built, Network(build_method(built))) == ([], [])


KEEPING = PROTONET | {
    "STAGE": {"meta": {"EPOCHS": 3, "STEPS": 4, "KEEP": 3, "VAL": {"EPISODES": 20}}},
    "EVAL": {"EPISODES": 40, "ENSEMBLE": 3},
}


@pytest.fixture(scope="module")
def keeping(tmp_path_factory, tiny_root):
    space = Workspace(tmp_path_factory.mktemp("keeping"), tiny_root, None, None)
    cfg = space.config(KEEPING)
    return cfg, space.train(cfg)


def test_an_ensemble_is_of_the_best_epochs(keeping, tiny_root):
    cfg, run = keeping
    built = data(tiny_root, cfg)
    network = measured(built, best(run))
    files = sorted((run / "epochs").iterdir(), key=lambda file: -torch.load(file, weights_only=True)["val"])
    alone = [restore(built, file).method.eval() for file in files]
    evaluator = build_evaluator(built, "test")
    source = evaluator.source(network.method)
    task = evaluator.task(source, evaluator.sampler.draw(torch.arange(4)))
    logits = [
        method(evaluator.task(evaluator.source(method), evaluator.sampler.draw(torch.arange(4)))) for method in alone
    ]
    torch.testing.assert_close(source.method(task), torch.stack(logits).mean(0), rtol=1e-4, atol=1e-4)
    assert network.sha256 != restore(built, best(run)).sha256
    single = measured(data(tiny_root, cfg, "EVAL.ENSEMBLE=1"), best(run))
    assert (type(single.method), single.at_test) == (type(alone[0]), {"EVAL.ENSEMBLE": 1})


def test_epochs_of_another_run_are_refused(keeping, trained, tiny_root):
    cfg, run = keeping
    with pytest.raises(UserError, match=r"EVAL.ENSEMBLE is 3, but .* holds 0 networks"):
        measured(data(tiny_root, cfg), best(trained[1]))
    other = torch.load(best(run), weights_only=True)
    other["meta"]["seed"] = 5
    torch.save(other, run / "ebest_other.pth")
    with pytest.raises(UserError, match="is of another run than"):
        measured(data(tiny_root, cfg), run / "ebest_other.pth")
    (run / "ebest_other.pth").unlink()
