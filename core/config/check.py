"""Rules on the values of a configuration; all broken ones are reported together. Those on a stage: `check_stage`.

Rules on the classes and images of a split are checked where the data is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from yacs.config import CfgNode

from ..errors import UserError
from ..names import not_one_of
from .check_stage import STAGE_RULES, init_exists
from .defaults import find_key
from .provenance import flatten

LEAST_ALPHA, MOST_ALPHA = 0.05, 1000  # shares of smaller ones are all zeros to a computer, of larger ones all equal
SMALLEST_IMAGE = 16  # four poolings leave one position
MOST = 10**8  # of any whole number: more episodes, epochs or channels fit no memory and no life
MOST_SEED = 2**63 - 1
OF_TEXTS = ("VIEWS", "AUGMENT", "PLUGINS")  # keys that list texts


def check(cfg: CfgNode) -> None:
    """Check every rule on a resolved configuration.

    Raises:
        UserError: with a sentence for each broken rule.
    """
    problems: list[str | None] = [*_choices(cfg), *_bounds(cfg), *_plain(cfg)]
    problems += [rule(cfg) for rule in RULES]
    problems += [rule(f"STAGE.{name}", stage) for name, stage in cfg.STAGE.items() for rule in STAGE_RULES]
    _raise(problems)


def check_files(cfg: CfgNode) -> None:
    """The rules on files that training reads; an evaluation needs none of them, so `check` leaves them out."""
    _raise([init_exists(f"STAGE.{name}", stage) for name, stage in cfg.STAGE.items()])


def _raise(problems: list[str | None]) -> None:
    sentences = [sentence for sentence in problems if sentence]
    if sentences:
        raise UserError("\n".join(sentences))


def _choices(cfg: CfgNode) -> Iterator[str]:
    for name, value in flatten(cfg).items():
        key = find_key(name)
        if key and key.choices and value not in key.choices:
            yield not_one_of(name, value, key.choices)


def _bounds(cfg: CfgNode) -> Iterator[str]:
    for name, value in flatten(cfg).items():
        key = find_key(name)
        if key and key.least is not None and type(value) is not list and not value >= key.least:  # also refuses nan
            yield f"{name} is {value}; it must be at least {key.least}."
        elif key and key.below is not None and not value < key.below:
            yield f"{name} is {value}; it must be below {key.below}."


def _plain(cfg: CfgNode) -> Iterator[str]:
    """Numbers and texts that no key can mean, whatever it is."""
    for name, value in flatten(cfg).items():
        items = value if isinstance(value, list) else [value]
        most = MOST_SEED if name.endswith("SEED") else MOST
        for item in items:
            if isinstance(item, float) and not math.isfinite(item):
                yield f"{name} is {value}; it must be a finite number."
            elif isinstance(item, int) and abs(item) > most:
                yield f"{name} is {value}; it must be at most {most}."
            elif isinstance(item, str) and not item.replace("\n", "").replace("\t", "").isprintable():
                yield f"{name} is {value!r}, which holds a character that cannot be printed; remove it."
        if name.rpartition(".")[2] in OF_TEXTS and not all(isinstance(item, str) for item in items):
            yield f"{name} is {value}; it must list texts."


def stages_named_once(cfg: CfgNode) -> str | None:
    """No name is given twice: a stage's name is the key of its node."""
    if len(set(cfg.STAGES)) < len(cfg.STAGES):
        return f"STAGES is {cfg.STAGES}, which names a stage twice; give each its own name."
    return None


def last_stage_trains_method(cfg: CfgNode) -> str | None:
    """The last stage, where there is one, trains METHOD, which is what is evaluated."""
    if not cfg.STAGES:
        return None
    key, last = f"STAGE.{cfg.STAGES[-1]}", cfg.STAGE[cfg.STAGES[-1]]
    if last.METHOD != cfg.METHOD.NAME:
        return (
            f"{key}.METHOD is {last.METHOD}, but METHOD.NAME is {cfg.METHOD.NAME} and the last stage trains it; "
            f"leave {key}.METHOD empty."
        )
    if last.ARGS != cfg.METHOD.ARGS:
        return f"{key}.ARGS differ from METHOD.ARGS, but the last stage trains METHOD; leave {key}.METHOD empty."
    return None


def later_stages_start_from_earlier(cfg: CfgNode) -> str | None:
    """Only the first stage starts from a file: the others start from the weights of the stage before."""
    later = [f"STAGE.{name}.INIT" for name in cfg.STAGES[1:] if cfg.STAGE[name].INIT]
    if not later:
        return None
    return f"{later[0]} is set, but this stage starts from the one before it; set STAGE.{cfg.STAGES[0]}.INIT instead."


def size_native_or_large(cfg: CfgNode) -> str | None:
    """Images are large enough for a backbone's poolings."""
    size = cfg.DATASET.SIZE
    if size == 0 or size >= SMALLEST_IMAGE:
        return None
    return f"DATASET.SIZE is {size}; it must be 0, for the native size, or at least {SMALLEST_IMAGE} pixels."


def query_alpha_can_be_drawn(cfg: CfgNode) -> str | None:
    """Queries are balanced, or the concentration of their shares is one that can be drawn."""
    alpha = cfg.TASK.TEST.QUERY_ALPHA
    if alpha == 0 or LEAST_ALPHA <= alpha <= MOST_ALPHA:
        return None
    return (
        f"TASK.TEST.QUERY_ALPHA is {alpha:g}; it must be 0, for balanced queries, "
        f"or from {LEAST_ALPHA} to {MOST_ALPHA}."
    )


def prior_is_a_share(cfg: CfgNode) -> str | None:
    """The weight of the novel classes is between 0 and 1: that of the base classes is the rest."""
    prior = cfg.EVAL.PRIOR
    return None if 0 < prior < 1 else f"EVAL.PRIOR is {prior}; it must lie between 0 and 1."


def reference_complete(cfg: CfgNode) -> str | None:
    """A published number comes with its source, so that it can be checked."""
    ref = cfg.REFERENCE
    if not any(ref.values()):
        return None
    wrong = [entry for entry in ref.FIGURES if not _is_figure(entry)]
    if wrong:
        return f"REFERENCE.FIGURES lists {wrong[0]}; an entry is [figure, shots, percent], e.g. [novel, 1, 48.1]."
    if not ref.FIGURES and not 0 < ref.ACCURACY <= 100:
        return f"REFERENCE.ACCURACY is {ref.ACCURACY}; it must be a percentage above 0, or REFERENCE be left out."
    missing = [key for key in ("SOURCE", "STATUS") if not ref[key]]
    if missing:
        given = f"REFERENCE.{'FIGURES' if ref.FIGURES else 'ACCURACY'} is given without {' and '.join(missing)}"
        return f"{given}; say where it is printed and who reports it."
    return None


def _is_figure(entry: object) -> bool:
    """Whether an entry of REFERENCE.FIGURES is a figure of --lowshot, a number of shots and a percentage."""
    return (
        isinstance(entry, list)
        and [type(part) for part in entry[:2]] == [str, int]
        and len(entry) == 3
        and isinstance(entry[2], int | float)
        and entry[0] in ("novel", "base", "novel_all", "base_all", "all", "prior")
        and 0 < entry[2] <= 100
    )


def shots_of_every_class(cfg: CfgNode) -> str | None:
    """SHOTS is empty or has one number for each class of a test episode."""
    test = cfg.TASK.TEST
    if test.SHOTS and (len(test.SHOTS) != test.WAY or not all(type(k) is int and k >= 1 for k in test.SHOTS)):
        return (
            f"TASK.TEST.SHOTS is {test.SHOTS}, which must be {test.WAY} numbers of 1 or more, one for each class of "
            "TASK.TEST.WAY; or leave it empty and set TASK.TEST.SHOT."
        )
    return None


def shots_are_a_range(cfg: CfgNode) -> str | None:
    """A list of training shots is the least and the largest."""
    shot = cfg.TASK.TRAIN.SHOT
    if type(shot) is list and (len(shot) != 2 or not all(type(k) is int for k in shot) or not 1 <= shot[0] < shot[1]):
        return f"TASK.TRAIN.SHOT is {shot}; a range is its least and its largest shot, 1 or more, e.g. [1, 9]."
    return None


def images_leave_queries(cfg: CfgNode) -> str | None:
    """A training class has more images than shots."""
    train = cfg.TASK.TRAIN
    shots = train.SHOT if type(train.SHOT) is list else [train.SHOT]
    most = max((shot for shot in shots if type(shot) is int), default=0)
    if train.IMAGES and most >= train.IMAGES:
        return (
            f"TASK.TRAIN.IMAGES is {train.IMAGES}, which leaves no query beside the {most} supports of a class; set it "
            "above TASK.TRAIN.SHOT, or to 0 and give TASK.TRAIN.QUERY."
        )
    return None


def kept_networks_are_of_the_last_stage(cfg: CfgNode) -> str | None:
    """Networks are kept of the last stage alone, no more than it validates; EVAL.ENSEMBLE takes kept ones."""
    for name in cfg.STAGES[:-1]:
        if cfg.STAGE[name].KEEP > 1:
            return f"STAGE.{name}.KEEP is {cfg.STAGE[name].KEEP}, but only networks of the last stage are kept; set 1."
    networks, key = cfg.EVAL.ENSEMBLE, f"STAGE.{cfg.STAGES[-1]}" if cfg.STAGES else ""
    if not key:
        return f"EVAL.ENSEMBLE is {networks}, but STAGES is empty: set it to 1." if networks > 1 else None
    stage = cfg.STAGE[cfg.STAGES[-1]]
    validations = math.ceil(stage.EPOCHS / max(1, stage.VAL.EVERY))
    if stage.KEEP > 1 and validations < stage.KEEP:
        return f"{key}.KEEP is {stage.KEEP}, but the stage validates {validations} networks; keep no more than these."
    if networks > stage.KEEP:
        return f"EVAL.ENSEMBLE is {networks}, but {key}.KEEP is {stage.KEEP}; keep as many, and train."
    return None


RULES: list[Callable[[CfgNode], str | None]] = [
    shots_of_every_class,
    shots_are_a_range,
    images_leave_queries,
    stages_named_once,
    last_stage_trains_method,
    later_stages_start_from_earlier,
    size_native_or_large,
    query_alpha_can_be_drawn,
    prior_is_a_share,
    reference_complete,
    kept_networks_are_of_the_last_stage,
]
