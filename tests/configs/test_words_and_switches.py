"""Every word and every switch of a method or an objective stands in some YAML, or in the list of those that do not."""

from collections import defaultdict

from core.build.config import schemas
from tests.configs.leaves import leaves, loaded

# Those that no YAML has: chosen on the command line alone.
UNUSED = {
    "AM3.learn_scale": {True},
    "AM3.metric": {"squared"},
    "Baseline++.learn_norm": {False},
    "DeepEMD.norm": {"none"},
    "DeepEMD.sfc_learns": {"map"},
    "DeepEMD.solver": {"sinkhorn"},
    "DeepEMD.solver_val": {"interior_point", "qpth", "simplex", "sinkhorn"},
    "DynamicFSL.generator": {"averaging"},
    "MML.graph": {"image", "knn"},
    "NegMargin.head_drop_last": {True},
    "NegMargin.learn_scale": {True},
    "ProtoNet.learn_scale": {True},
    "SimpleShot.norm": {"UN"},
    "TADAM.learn_scale": {True},
    "TADAM.metric": {"cosine", "squared"},
    "traml.order": {"sorted"},
}


def chosen():
    """The values of each class's arguments in all YAMLs, by the class's name."""
    values = defaultdict(lambda: defaultdict(set))
    for leaf in leaves():
        cfg = loaded(leaf).cfg
        nodes = [cfg.METHOD, cfg.OBJECTIVE, *(stage.OBJECTIVE for stage in cfg.STAGE.values())]
        pairs = [(node.NAME, node.ARGS) for node in nodes] + [(node.METHOD, node.ARGS) for node in cfg.STAGE.values()]
        for name, arguments in pairs:
            for argument, value in arguments.items():
                values[name][argument].add(value if isinstance(value, bool | int | str) else None)
    return values


def test_every_word_and_every_switch_is_used():
    values, unused, registered = chosen(), {}, schemas()
    for classes in (registered.methods, registered.objectives):
        for name, arguments in classes.items():
            switches = {key: (False, True) for key, default in arguments.defaults.items() if isinstance(default, bool)}
            for key, words in (switches | dict(arguments.choices)).items():
                missing = set(words) - values[name][key]
                unused |= {f"{name}.{key}": missing} if missing else {}
    assert unused == UNUSED
