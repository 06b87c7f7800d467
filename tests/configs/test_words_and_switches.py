"""Every word and every switch that a class takes stands in some YAML: an option that nobody uses is not kept."""

from collections import defaultdict

from core.make import schemas
from tests.configs.leaves import leaves, loaded

# Used on the command line, by studies in docs/ or by checkpoints of other projects alone.
UNUSED: dict[str, set] = {}


def chosen():
    """The values of each class's arguments in all YAMLs, by the class's name."""
    values = defaultdict(lambda: defaultdict(set))
    for leaf in leaves():
        cfg = loaded(leaf).cfg
        nodes = [cfg.METHOD, cfg.BACKBONE, cfg.OBJECTIVE, *(stage.OBJECTIVE for stage in cfg.STAGE.values())]
        pairs = [(node.NAME, node.ARGS) for node in nodes] + [(node.METHOD, node.ARGS) for node in cfg.STAGE.values()]
        for name, arguments in pairs:
            for argument, value in arguments.items():
                values[name][argument].add(value if isinstance(value, bool | int | str) else None)
    return values


def test_every_word_and_every_switch_is_used():
    values, unused = chosen(), {}
    registered = schemas()
    for classes in (registered.methods, registered.backbones, registered.objectives):
        for name, arguments in classes.items():
            switches = {key: (False, True) for key, default in arguments.defaults.items() if isinstance(default, bool)}
            for key, words in (switches | dict(arguments.choices)).items():
                missing = set(words) - values[name][key]
                unused |= {f"{name}.{key}": missing} if missing else {}
    assert unused == UNUSED
