"""Values of published recipes that are easy to get wrong, each from its source."""

import pytest

from core.config.provenance import flatten
from tests.configs.leaves import leaves, loaded

RECIPES = [
    # Gidaris and Komodakis: an episode of stage 2 has 15 queries of its 5 novel classes and 15 of the base classes.
    ("miniImagenet/DynamicFSL_N5K1_C128", {"TASK.TRAIN.QUERY": 3, "TASK.TRAIN.BASE_QUERY": 15}),
    ("miniImagenet/DynamicFSL_N5K5_C128", {"TASK.TRAIN.QUERY": 3, "TASK.TRAIN.BASE_QUERY": 15}),
    ("tieredImagenet/STLDeepBDC_N5K1_R12", {"METHOD.ARGS.inverse_penalty": 0.05}),
    ("tieredImagenet/STLDeepBDC_N5K5_R12", {"METHOD.ARGS.inverse_penalty": 30.0}),
    # mmfewshot: the head's scale is not the classifier's, and its 5-shot files for tieredImageNet train longer.
    ("CUB/Baseline++_N5K1_R12", {"METHOD.ARGS.scale": 10.0, "METHOD.ARGS.head_scale": 5.0}),
    ("miniImagenet/Baseline++_N5K5_R12", {"METHOD.ARGS.scale": 10.0, "METHOD.ARGS.head_scale": 5.0}),
    ("tieredImagenet/Baseline++_N5K1_C4", {"METHOD.ARGS.scale": 10.0, "METHOD.ARGS.head_scale": 2.0}),
    ("tieredImagenet/Baseline++_N5K5_C4", {"STAGE.base.EPOCHS": 200, "STAGE.base.OPTIM.MILESTONES": [60, 120]}),
    ("tieredImagenet/Baseline++_N5K1_R12", {"STAGE.base.EPOCHS": 100, "STAGE.base.OPTIM.MILESTONES": [30, 60]}),
    ("tieredImagenet/MetaBaseline_N5K5_C4", {"STAGE.base.ARGS.head_drop_last": True, "STAGE.meta.OPTIM.LR": 0.01}),
    ("CUB/MAML_mmfewshot_N5K1_R12", {"TASK.TRAIN.SHOT": 5, "STAGE.meta.TASKS": 8, "STAGE.meta.STEPS": 250}),
    ("CIFAR-FS/ProtoNet_N5K1_R12", {"STAGE.meta.OPTIM.GAMMAS": [0.06, 0.2, 0.2]}),
    # MetaOptNet: the training shot is not the test's, and both are selected at 5; the test stops the solver early.
    ("miniImagenet/MetaOptNet-SVM_N5K1_R12", {"TASK.TRAIN.SHOT": 15, "TASK.VAL.SHOT": 5, "METHOD.ARGS.iterations": 3}),
    ("tieredImagenet/MetaOptNet-RR_N5K5_R12", {"TASK.TRAIN.SHOT": 10, "TASK.TRAIN.QUERY": 6, "OBJECTIVE.NAME": "ce"}),
    ("CIFAR-FS/MetaOptNet-RR_N5K1_R12", {"TASK.TRAIN.SHOT": 5, "BACKBONE.VECTOR": "flatten"}),
    ("miniImagenet/MetaOptNet-RR_N5K1_C4", {"OBJECTIVE.NAME": "label_smoothing", "OBJECTIVE.ARGS.smoothing": 0.1}),
    # R2D2 and LR-D2: 1 to 9 shots, and as many queries as complete the images of a class.
    ("miniImagenet/R2D2_N5K1_W4", {"TASK.TRAIN.SHOT": [1, 9], "TASK.TRAIN.IMAGES": 15, "METHOD.ARGS.scale": 1e-4}),
    ("CIFAR-FS/LR-D2_N5K5_W4", {"TASK.TRAIN.WAY": 20, "TASK.TRAIN.IMAGES": 12, "BACKBONE.ARGS.drop_rate": 0.4}),
    ("tieredImagenet/TapNet_N5K1_R12Tap", {"STAGE.meta.OPTIM.WEIGHT_DECAY": 0.0, "BACKBONE.ARGS.drop_first": 0.2}),
    # Snell et al.: more ways in training than at test, no scale, no augmentation.
    ("miniImagenet/ProtoNet_N5K1_C4", {"TASK.TRAIN.WAY": 30, "TASK.TRAIN.QUERY": 15, "METHOD.ARGS.scale": 1.0}),
    ("miniImagenet/ProtoNet_N5K5_C4", {"TASK.TRAIN.WAY": 20, "TASK.TRAIN.QUERY": 15, "STAGE.meta.AUGMENT": []}),
    ("miniImagenet/AM3_none_N5K1_R12T", {"METHOD.ARGS.use_bn": True, "TASK.TRAIN.QUERY": 5}),
    # The words of TRAML's paper beside what does not shrink the margins.
    ("miniImagenet/AM3_TRAML_N5K1_R12T", {"OBJECTIVE.ARGS.learn": "joint", "TASK.TRAIN.QUERY": 15}),
    ("miniImagenet/ProtoNet_TRAML_N5K5_R12T", {"OBJECTIVE.ARGS.learn": "joint", "TASK.TRAIN.QUERY": 15}),
    ("miniImagenet/AM3_TRAML_fixed_N5K1_R12T", {"OBJECTIVE.ARGS.learn": "fixed", "TASK.TRAIN.QUERY": 5}),
    ("miniImagenet/AM3_CRAML_fixed_N5K5_R12T", {"OBJECTIVE.ARGS.learn": "fixed", "REFERENCE.ACCURACY": 0.0}),
    ("tieredImagenet/AM3_none_N5K1_R12T", {"STAGE.meta.EPOCHS": 160, "STAGE.meta.STEPS": 500}),
    ("ImageNet-LowShot/DynamicFSL_TRAML_K5", {"OBJECTIVE.ARGS.learn": "joint", "REFERENCE.STATUS": "paper"}),
    # RFS: one of its authors, in issue 5, for the data sets that the script's defaults are not meant for.
    ("miniImagenet/RFS_N5K1_R12", {"STAGE.base.EPOCHS": 100, "STAGE.base.OPTIM.MILESTONES": [60, 80]}),
    ("CIFAR-FS/RFS_N5K1_C4", {"STAGE.base.EPOCHS": 90, "STAGE.base.OPTIM.MILESTONES": [45, 60, 75]}),
    ("FC100/RFS_distilled_N5K5_R12", {"STAGE.distil.EPOCHS": 90, "STAGE.distil.OPTIM.MILESTONES": [45, 60, 75]}),
    ("tieredImagenet/RFS_distilled_N5K1_R12", {"STAGE.base.EPOCHS": 60, "STAGE.distil.OPTIM.MILESTONES": [30, 40, 50]}),
    # SimpleShot, and LaplacianShot on its networks: no change of colours, which is TIM's; steps of 30 on tiered.
    ("miniImagenet/SimpleShot_N5K5_R12", {"STAGE.base.AUGMENT": ["resized-0.08", "flip"], "STAGE.base.VAL.SHOT": 1}),
    ("CUB/LaplacianShot_N5K1_R18", {"STAGE.base.AUGMENT": ["resized-0.08", "flip"], "DATASET.EVAL_CROP": 0.875}),
    ("tieredImagenet/LaplacianShot_N5K5_R18", {"STAGE.base.OPTIM.MILESTONES": [30, 60]}),
    ("tieredImagenet/TIM_N5K1_R18", {"STAGE.base.OPTIM.MILESTONES": [45, 67], "DATASET.EVAL_CROP": 0.875}),
    ("CUB/TIM_N5K5_R18", {"STAGE.base.AUGMENT": ["resized-0.08", "jitter-0.4", "flip"], "STAGE.base.VAL.SHOT": 1}),
    # E3BM: random resized crops in both of its stages, of larger images alone.
    ("tieredImagenet/E3BM_N5K5_R12", {"STAGE.meta.AUGMENT": ["resized-0.08", "flip"], "DATASET.EVAL_CROP": 0.913}),
    ("miniImagenet/E3BM_N5K1_R12", {"STAGE.base.AUGMENT": ["resized-0.08", "flip"], "TASK.TEST.QUERY": 16}),
    # DN4, 2019: batch-norm learns its statistics in the first epoch alone.
    ("miniImagenet/DN4_N5K1_F64", {"STAGE.first.EPOCHS": 1, "STAGE.meta.BN": "frozen", "STAGE.meta.OPTIM.LR": 0.005}),
    ("miniImagenet/DN4_N5K5_F64", {"TASK.TRAIN.QUERY": 10, "STAGE.meta.STEPS": 10000, "STAGE.meta.TASKS": 1}),
    ("tieredImagenet/MetaDeepBDC_N5K5_C4", {"STAGE.base.EPOCHS": 100, "STAGE.meta.OPTIM.LR": 5.0e-5}),
    # M2L's numbers are those of 84 pixels, with DropBlock squares of 5.
    ("CIFAR-FS/MML_N5K1_R12", {"DATASET.SIZE": 84, "BACKBONE.ARGS.drop_size": 5}),
    ("FC100/MML_N5K5_R12", {"DATASET.SIZE": 84, "BACKBONE.ARGS.drop_size": 5}),
    ("FC100/MML_32px_N5K5_R12", {"DATASET.SIZE": 0, "BACKBONE.ARGS.drop_size": 2, "REFERENCE.ACCURACY": 0.0}),
]


@pytest.mark.parametrize(("leaf", "expected"), RECIPES, ids=[leaf for leaf, _ in RECIPES])
def test_the_values_of_published_recipes(leaf, expected):
    values = flatten(loaded(f"{leaf}.yaml").cfg)
    assert {key: values[key] for key in expected} == expected


def zoo():
    """The leaves with a number of mmfewshot."""
    return [leaf for leaf in leaves() if loaded(leaf).cfg.REFERENCE.SOURCE.startswith("mmfewshot")]


def test_every_cell_of_mmfewshots_tables_has_a_leaf():
    """Eight methods, three data sets, two backbones, two shots."""
    cells = {
        (cfg.METHOD.NAME, cfg.DATASET.NAME, cfg.BACKBONE.NAME, cfg.TASK.TEST.SHOT)
        for cfg in (loaded(leaf).cfg for leaf in zoo())
    }
    assert len(zoo()) == len(cells) == 8 * 3 * 2 * 2


def test_heads_of_mmfewshots_baselines_see_full_batches():
    baselines = [loaded(leaf).cfg for leaf in zoo() if "Baseline" in leaf and "Meta" not in leaf]
    assert len(baselines) == 24
    assert all(cfg.METHOD.ARGS.head_drop_last for cfg in baselines)
    assert not any(loaded(leaf).cfg.METHOD.ARGS.head_drop_last for leaf in zoo() if "NegMargin" in leaf)


def test_negmargin_of_mmfewshot_is_selected_at_one_shot():
    configs = [loaded(leaf).cfg for leaf in zoo() if "NegMargin" in leaf]
    selection = {(cfg.STAGE.base.VAL.SHOT, cfg.STAGE.base.VAL.EPISODES) for cfg in configs}
    assert len(configs) == 12
    assert selection == {(1, 100)}


@pytest.mark.parametrize(
    ("authors", "crop"),
    [
        ("mmfewshot", 0.875),
        ("NegMargin", 0.875),
        ("Chen et al., A Closer Look at Few-shot Classification", 0.875),
        ("LaplacianShot", 0.875),
        ("TIM", 0.875),
        ("FEAT", 0.913),
        ("FRN", 0.913),
        ("E3BM", 0.913),
        ("DeepBDC", 0.913),
        ("DeepEMD", 0.913),
    ],
)
def test_numbers_go_with_the_view_of_their_authors(authors, crop):
    """Resize(96) or Resize(92), then CenterCrop(84); Resize(257), CenterCrop(224)."""
    configs = [loaded(leaf).cfg for leaf in leaves() if loaded(leaf).cfg.REFERENCE.ACCURACY]
    theirs = [cfg for cfg in configs if authors == cfg.METHOD.NAME or cfg.REFERENCE.SOURCE.startswith(authors)]
    if authors == "DeepBDC":
        theirs = [cfg for cfg in configs if cfg.METHOD.NAME.endswith("DeepBDC")]
    assert theirs
    assert {cfg.DATASET.EVAL_CROP for cfg in theirs} == {crop}


def test_small_images_are_seen_whole():
    small = [loaded(leaf).cfg for leaf in leaves() if leaf.startswith(("CIFAR-FS", "FC100", "Glyphs"))]
    assert {cfg.DATASET.EVAL_CROP for cfg in small if cfg.DATASET.SIZE < 84} == {1.0}


def test_maml_plus_plus_answers_by_five_epochs_on_every_data_set():
    """As its authors' tests; the short recipe for a CPU apart."""
    authors = [leaf for leaf in leaves() if "/MAML++_N5" in leaf and "Glyphs" not in leaf]
    assert len(authors) == 6
    assert {(loaded(leaf).cfg.EVAL.ENSEMBLE, loaded(leaf).cfg.STAGE.meta.KEEP) for leaf in authors} == {(5, 5)}
