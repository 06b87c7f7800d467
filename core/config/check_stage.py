"""Rules on the values of one training stage, STAGE.<name>."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from yacs.config import CfgNode


def steps_known(key: str, stage: CfgNode) -> str | None:
    """STEPS 0, one pass over the images, is for batches alone: episodes have no end."""
    if stage.STEPS == 0 and stage.STREAM != "batches":
        return (
            f"{key}.STEPS is 0, one pass over the images, but {key}.STREAM is {stage.STREAM}; set STEPS to 1 or more."
        )
    return None


def rate_positive(key: str, stage: CfgNode) -> str | None:
    """The learning rate is not 0, which would train nothing."""
    return f"{key}.OPTIM.LR is 0; it must be positive." if stage.OPTIM.LR == 0 else None


def milestones_increase(key: str, stage: CfgNode) -> str | None:
    """Milestones are epochs in increasing order; a multistep schedule needs at least one."""
    epochs = stage.OPTIM.MILESTONES
    if not all(type(epoch) is int and epoch > 0 for epoch in epochs) or epochs != sorted(set(epochs)):
        return f"{key}.OPTIM.MILESTONES is {epochs}; it must list epochs in increasing order, e.g. [60, 80]."
    if not epochs and stage.OPTIM.SCHEDULE == "multistep":
        return f"{key}.OPTIM.MILESTONES is empty, but SCHEDULE is multistep; list the epochs of the drops."
    return None


def gammas_fit(key: str, stage: CfgNode) -> str | None:
    """GAMMAS is empty or has one positive factor for each milestone."""
    gammas, epochs = stage.OPTIM.GAMMAS, stage.OPTIM.MILESTONES
    if not all(type(gamma) in (int, float) and gamma > 0 for gamma in gammas):
        return f"{key}.OPTIM.GAMMAS is {gammas}; it must list positive factors, e.g. [0.1, 0.2]."
    if gammas and len(gammas) != len(epochs):
        return f"{key}.OPTIM.GAMMAS has {len(gammas)} factors, but MILESTONES {len(epochs)} epochs; give each its own."
    return None


def warmup_ends(key: str, stage: CfgNode) -> str | None:
    """The warm-up is shorter than the stage, and given in epochs or in steps."""
    epochs, steps = stage.OPTIM.WARMUP, stage.OPTIM.WARMUP_STEPS
    if epochs and steps:
        return f"{key}.OPTIM.WARMUP is {epochs} and WARMUP_STEPS {steps}; set one of them to 0."
    if 0 < epochs >= stage.EPOCHS:
        return f"{key}.OPTIM.WARMUP is {epochs}, but {key}.EPOCHS is {stage.EPOCHS}; make it shorter."
    return warmup_steps_end(key, stage, stage.STEPS)


def warmup_steps_end(key: str, stage: CfgNode, steps: int) -> str | None:
    """A warm-up in steps is shorter than the stage, of which a pass has so many `steps`; 0 = not known yet."""
    warmup, most = stage.OPTIM.WARMUP_STEPS, steps * stage.EPOCHS
    if 0 < most <= warmup:
        return f"{key}.OPTIM.WARMUP_STEPS is {warmup}, but the stage has {most}; make it shorter."
    return None


def betas_decay(key: str, stage: CfgNode) -> str | None:
    """BETAS are two numbers from 0 to below 1."""
    betas = stage.OPTIM.BETAS
    if len(betas) != 2 or not all(type(beta) in (int, float) and 0 <= beta < 1 for beta in betas):
        return f"{key}.OPTIM.BETAS is {betas}; it must be two numbers from 0 to below 1, e.g. [0.9, 0.999]."
    return None


def nesterov_has_momentum(key: str, stage: CfgNode) -> str | None:
    """Nesterov's step needs momentum, which only sgd has here."""
    if stage.OPTIM.NESTEROV and (stage.OPTIM.NAME != "sgd" or stage.OPTIM.MOMENTUM == 0):
        return f"{key}.OPTIM.NESTEROV is true; it needs OPTIM.NAME sgd and a MOMENTUM above 0."
    return None


def init_exists(key: str, stage: CfgNode) -> str | None:
    """The file of pretrained weights exists."""
    if stage.INIT and not Path(stage.INIT).is_file():
        return f"{key}.INIT is {stage.INIT}, which is not a file; give the path of the weights, or leave it empty."
    return None


STAGE_RULES: list[Callable[[str, CfgNode], str | None]] = [
    steps_known,
    rate_positive,
    milestones_increase,
    gammas_fit,
    warmup_ends,
    betas_decay,
    nesterov_has_momentum,
]
