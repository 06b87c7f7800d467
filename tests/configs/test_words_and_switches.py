"""Every word and every switch of a method or an objective stands in some YAML."""

from collections import defaultdict

from core.build.config import schemas
from core.limits import Choices
from core.registry import MEMBER
from tests.configs.leaves import leaves, loaded

SAME_WORDS = {"DeepEMD.solver_val": "solver"}  # arguments whose words are those of another one


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
            choices = {key: limit.words for key, limit in arguments.limits.items() if isinstance(limit, Choices)}
            for key, words in (switches | choices).items():
                same_words = SAME_WORDS.get(f"{name}.{key}", key)
                missing = set(words) - values[name][key] - values[name][same_words]
                unused |= {f"{name}.{key}": missing} if missing else {}
    assert unused == {}


def test_every_backbone_is_used():
    named = {loaded(leaf).cfg.BACKBONE.NAME for leaf in leaves()}
    families = {f"{name.partition(':')[0]}:{MEMBER}" if ":" in name else name for name in named}
    assert families == set(schemas().backbones)
