"""The contract of an evaluation protocol, and the registry of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..build.data import Data
from ..build.evaluation import Network
from ..build.identity import describe
from ..build.saved import trained_as
from ..errors import UserError
from ..files import FileContent
from ..methods.base import Method
from ..registry import Registry, import_all
from ..report.page.render import Section
from ..report.run import kept_hash

PROTOCOLS: Registry[Protocol] = Registry("--protocol")


@dataclass(frozen=True)
class Answer:
    """What a protocol says of a network: nothing else is written or printed."""

    line: str  # for the terminal
    folder: str = ""  # of the files, below eval/<checkpoint>/; "" = their names are whole paths
    files: Mapping[str, FileContent] = field(
        default_factory=dict
    )  # name -> text, JSON, a function that writes the bytes, or None: no file
    sections: Callable[[], list[Section]] | None = None  # of the page, made when it is written; None = of the files


@dataclass(frozen=True)
class Option:
    """An option of the command line, which reaches a protocol as a keyword argument of the same name."""

    help: str
    metavar: str = ""
    kind: type = str
    many: bool = False  # takes several values, one after another
    commas: bool = False  # takes several values in one word, between commas
    flag: bool = False  # takes no value


SHOTS = Option("supports of each class, instead of TASK.TEST.SHOT", "K", int, many=True)
WAYS = Option("classes of an episode, instead of TASK.TEST.WAY", "N", int, many=True)
SAVE_FEATURES = Option("write features: of the test episodes to a file, of --splits to a folder", "FILE.npz or DIR")
METHODS = Option("methods that classify the checkpoint's features; own = its own method", "NAME,NAME", commas=True)


class Protocol:
    """One way of asking what a network is worth.

    A new protocol is a subclass in a file of this folder, entered by `@PROTOCOLS.register("name")` and chosen by
    `--protocol name`. It gives `answers`, and lists the command-line options it takes in `options`; each is a keyword
    argument of `__init__` with a default.

    Args:
        data: the configuration's data.
        network: a checkpoint's method, or one as it was initialised.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Option]] = {}
    ensembles: ClassVar[bool] = True  # whether it can ask several networks as one (EVAL.ENSEMBLE)

    def __init__(self, data: Data, network: Network) -> None:
        self.data, self.network, self.cfg = data, network, data.cfg

    def refuse(self) -> None:
        """Raise a UserError for everything that cannot be answered, before the first answer is given."""

    def answers(self) -> Iterator[Answer]:
        """The answers, one after another."""
        raise NotImplementedError

    def trained_as_published(self) -> bool:
        """Whether the network was trained by the recipe of REFERENCE, not by a part of it, on images of that size."""
        network, published = self.network, describe(self.data)
        same_images = all(network.meta.get(key) == published[key] for key in ("dataset", "image_size"))
        return same_images and network.path is not None and trained_as(self.cfg, network.path, network.meta)

    def origin(self, features_of: str | None = None) -> dict[str, Any]:
        """What a result says of the network it is about: its checkpoint, its data, and what was changed at test.

        `features_of` names the network's method where another method classified its features; the arguments of the
        network's own method then change nothing, but keys (names with a dot) do.
        """
        network = self.network
        external = {"external_data": network.external} if network.external else {}
        if network.path is None:
            return {"at_test": {}, **external}
        changed = {name: value for name, value in network.at_test.items() if "." in name or not features_of}
        count = self.cfg.EVAL.ENSEMBLE
        return {
            "checkpoint": network.path.name,
            "checkpoint_sha256": network.sha256,
            "trained_on": network.meta["dataset"],
            "at_test": changed,
            **({"networks": count, "kept_sha256": kept_hash(network.path.parent)} if count > 1 else {}),
            **({"store": network.store} if network.store else {}),
            **external,
        }


def refuse_base_classes(head: Method, network: Network) -> None:
    """Refuse to score base classes where their scores mean nothing beside those of a task's classes.

    That is where the head says so, and where its classifier of base classes was not trained.
    """
    if not head.scores_base:
        raise UserError(
            f"{head.name} scores the classes of a task on a scale that depends on the task, so scores of base classes "
            "cannot be compared with them; evaluate it on episodes alone, or take another method."
        )
    if not head.base_from_means and (network.path is None or head.name != network.method.name):
        raise UserError(
            f"{head.name} scores base classes with a classifier that training learns, and here it is untrained; give a "
            f"checkpoint of {head.name} with --checkpoint (-c), or ask a method that scores them by their means."
        )


def protocol_named(name: str) -> type[Protocol]:
    """The protocol of this name, from this folder or from a user's own module."""
    import_all(__package__)
    return PROTOCOLS[name]


def all_options() -> dict[str, dict[str, Option]]:
    """Every option that a protocol of this folder takes: {name: {protocol: the option as this one takes it}}."""
    import_all(__package__)
    options: dict[str, dict[str, Option]] = {}
    for protocol in PROTOCOLS:
        for name, option in PROTOCOLS[protocol].options.items():
            options.setdefault(name, {})[protocol] = option
    return options


def help_text(takers: Mapping[str, Option]) -> str:
    """What an option means to {protocol: option}; those to which it means the same are named together."""
    meanings: dict[str, list[str]] = {}
    for protocol, option in takers.items():
        meanings.setdefault(option.help, []).append(protocol)
    return "; ".join(f"{meaning} ({', '.join(protocols)})" for meaning, protocols in meanings.items())


def refuse_options(protocol: type[Protocol], options: Mapping[str, Any]) -> None:
    """Refuse an option that a protocol does not take."""
    for name, value in options.items():
        if name not in protocol.options:
            takes = " and ".join(_spelled(option) for option in protocol.options) or "none"
            raise UserError(
                f"{_spelled(name)} is {value}, but the protocol {protocol.name} does not take it; of these options "
                f"it takes {takes}."
            )


def refuse_ensemble(protocol: type[Protocol], networks: int) -> None:
    """Refuse to ask EVAL.ENSEMBLE networks what a protocol asks one."""
    if networks > 1 and not protocol.ensembles:
        raise UserError(
            f"EVAL.ENSEMBLE is {networks}, but the protocol {protocol.name} reads the features of one network; set it "
            "to 1."
        )


def _spelled(option: str) -> str:
    """An option as it stands on the command line."""
    return "--" + option.replace("_", "-")
