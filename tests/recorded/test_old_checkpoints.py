"""Checkpoints written before names changed still load, and give the answers that they gave then.

Each file of old/ was trained for four steps on Glyphs at width 4; correct.json holds the right answers of its first 20
test episodes, as the code that wrote it counted them.
"""

import json
from pathlib import Path

import pytest
import torch

from core.build.config import load_config
from core.build.data import Data, episode_sampler
from core.build.evaluation import evaluator_on, restore
from core.data.pixels import Pixels

OLD = Path(__file__).parent / "old"
CORRECT = json.loads((OLD / "correct.json").read_text())
ARGUMENTS = {
    "AM3": ["METHOD.ARGS.hidden=16"],
    "MetaBaseline": ["METHOD.ARGS.tau=10"],  # the former name of its scale
    "NegMargin_learned": ["METHOD.ARGS.learn_scale=true"],
    "ProtoNet_learned": ["METHOD.ARGS.learn_scale=true"],
}


@pytest.mark.parametrize("name", CORRECT)
def test_an_old_checkpoint_gives_its_recorded_answers(name, glyphs):
    keys = [f"DATASET.ROOT={glyphs}", "BACKBONE.ARGS.width=4", *ARGUMENTS.get(name, [])]
    cfg = load_config(f"configs/Glyphs/{name.removesuffix('_learned')}_N5K1_C4.yaml", keys).cfg
    data = Data(cfg, torch.device("cpu"))
    method, split = restore(data, OLD / f"{name}.pth").method, data.split("test")
    # That code normalised test images with their own mean and deviation, as `Pixels` does where it is told none.
    pixels, sampler = Pixels(split, data.device), episode_sampler(data, "test", cfg.EVAL.SEED)
    assert evaluator_on(data, split, pixels, sampler, "test").run(method, 20).correct.tolist() == CORRECT[name]
