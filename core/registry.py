"""Names to classes: how a YAML finds a method, a backbone or an objective."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .errors import UserError
from .limits import Limit, fits, limit_of, spelled
from .names import nearest, not_one_of

Base = TypeVar("Base")  # what the classes of a registry have in common
Class = TypeVar("Class", bound=type)
MEMBER = "MODEL"  # what stands for a member in the name of a family


@dataclass(frozen=True)
class Arguments:
    """The keyword-only arguments of a class: its ARGS in a YAML."""

    defaults: Mapping[str, Any]
    limits: Mapping[str, Limit] = field(default_factory=dict)  # of the arguments whose type sets one
    renamed: Mapping[str, str] = field(default_factory=dict)  # former name -> present name


class Registry(Generic[Base]):
    """A mapping from the name used in a YAML to a class; lookups ignore case.

    >>> METHODS = Registry("METHOD.NAME")
    >>> @METHODS.register("ProtoNet")
    ... class ProtoNet: ...
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._classes: dict[str, type[Base]] = {}
        self._families: dict[str, Any] = {}  # prefix -> a class with `member`
        self._members: dict[str, type[Base]] = {}  # of families, those that were asked for

    def register(self, name: str) -> Callable[[Class], Class]:
        """Class decorator that enters a class under `name`; the class then carries it as `name`.

        From then on its constructor refuses a value that the type of an argument does not allow: see core/limits.py.

        Raises:
            UserError: without a name, above what is no class, or where another class has the name.
        """
        if not isinstance(name, str):  # without brackets, Python hands over what stands below
            raise UserError(self._nameless(name))

        def enter(cls: Class) -> Class:
            if not isinstance(cls, type):
                raise UserError(
                    f"{self.key} {name!r} is registered for {_called(cls)}, which is no class; write "
                    f'@{self.variable}.register("{name}") above a class.'
                )
            self._refuse_taken(name, cls)
            setattr(cls, "name", name)  # noqa: B010
            self._classes[name] = cls
            _check_limits(cls, self.key.replace("NAME", "ARGS"))
            return cls

        return enter

    def register_family(self, prefix: str) -> Callable[[Class], Class]:
        """Class decorator that enters a class for all names `prefix:MEMBER`, such as the models of a library.

        Its class method `member(member)` makes the class of a member, and raises a UserError where there is none.
        """

        def enter(cls: Class) -> Class:
            self._families[prefix] = cls
            return cls

        return enter

    @property
    def variable(self) -> str:
        """What code calls the registry: METHODS."""
        return variable_of(self.key)

    def _nameless(self, thing: Any) -> str:
        """The sentence for a decorator that is given something else than a name."""
        if not inspect.isclass(thing):
            return f'{_called(thing)} is no name; write @{self.variable}.register("NAME") above a class.'
        cls = thing.__name__
        return (
            f"@{self.variable}.register above class {cls} has no name in brackets; write "
            f'@{self.variable}.register("{cls}") above class {cls}.'
        )

    def _refuse_taken(self, name: str, cls: type) -> None:
        """Refuse a name that another class has, in whatever case."""
        taken = self._registered(name)
        if taken is None:
            return
        others = (cls, self._classes.get(taken) or self._families[taken.partition(":")[0]])
        if all(_is_of_fiveway(each) for each in others):  # a mistake of FiveWay's, with a traceback
            raise ValueError(f"{self.key}: {name} is registered twice")
        case = "" if taken == name else ", as case does not count"
        raise UserError(
            f"{self.key} {name} is the name of {_place(others[0])} and of {_place(others[1])}{case}; give yours "
            "another name."
        )

    @property
    def families(self) -> list[str]:
        """What the names of families look like: torchvision:MEMBER."""
        return [f"{prefix}:{MEMBER}" for prefix in sorted(self._families)]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))

    def __getitem__(self, name: str) -> type[Base]:
        registered = self._registered(name)
        if registered is None:
            raise UserError(not_one_of(self.key, name, [*self, *self.families]))
        return self._classes[registered] if registered in self._classes else self._member(registered)

    def _member(self, name: str) -> type[Base]:
        """The class of a name `prefix:member`, made once."""
        if name not in self._members:
            prefix, _, member = name.partition(":")
            cls = self._families[prefix].member(member)
            setattr(cls, "name", name)  # noqa: B010
            _check_limits(cls, self.key.replace("NAME", "ARGS"))
            self._members[name] = cls
        return self._members[name]

    def _registered(self, name: str) -> str | None:
        """The name as it was registered, or as a family spells it; None where there is no such name."""
        prefix, colon, _ = name.lower().partition(":")
        if colon and prefix in self._families:
            return name.lower()
        return next((known for known in self._classes if known.lower() == name.lower()), None)

    def arguments(self, name: str) -> Arguments:
        """The arguments of a class and what they may be: the schema of its ARGS in a YAML.

        An `__init__` that takes `**more` hands it to its parent, whose arguments then count too.

        Raises:
            UserError: where an argument has no default, which every YAML would have to set, or one that its type does
                not allow, where no YAML can set it, or where one that may be changed at test time is no argument.
        """
        cls: type = self[name]
        _refuse_positional(cls, f"{self.key} {cls.__name__}")
        parameters = _keyword_only(cls)
        without = next((name for name, p in parameters.items() if p.default is p.empty), None)
        if without:
            raise UserError(f"{self.key} {cls.__name__}: its argument {without} has no default; give it one.")
        _refuse_defaults(parameters, f"{self.key} {cls.__name__}")
        _refuse_test_arguments(cls, parameters, f"{self.key} {cls.__name__}")
        defaults = {argument: _default(parameter) for argument, parameter in parameters.items()}
        former = {old: new for old, new in getattr(cls, "renamed", {}).items() if new in defaults}
        return Arguments(defaults, _limits(cls), former)

    def completed(self, name: str, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments that an older version saved, in present terms: under their present names, later ones at defaults.

        Those of a name that is not registered stay as they are.
        """
        if self._registered(name) is None:
            return dict(saved)
        arguments = self.arguments(name)
        defaults = {
            key: list(value) if isinstance(value, tuple) else value for key, value in arguments.defaults.items()
        }
        return defaults | {arguments.renamed.get(key, key): value for key, value in saved.items()}


def variable_of(key: str) -> str:
    """What code calls the registry of a key: METHODS, of METHOD.NAME and of STAGE.base.METHOD."""
    return f"{key.removesuffix('.NAME').rpartition('.')[2].strip('-').upper()}S"


def _called(thing: Any) -> str:
    """What a function, or an object without a name, is called in a sentence."""
    return str(getattr(thing, "__name__", None) or f"an object of type {type(thing).__name__}")


def _place(cls: type) -> str:
    """A class and the file of its module."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return f"class {cls.__name__} in {file or cls.__module__}"


def _is_of_fiveway(cls: type) -> bool:
    """Whether a class is none of a plugin's."""
    return cls.__module__.partition(".")[0] == __package__


@functools.cache
def _keyword_only(cls: type) -> dict[str, inspect.Parameter]:
    """Keyword-only parameters of `__init__`, and of the parents' where it takes `**more`; annotations are evaluated."""
    parameters: dict[str, inspect.Parameter] = {}
    for constructor in _constructors(cls):
        for parameter in inspect.signature(constructor).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in parameters:
                annotation = _evaluated(parameter.annotation, getattr(constructor, "__globals__", {}))
                parameters[parameter.name] = parameter.replace(annotation=annotation)
    return parameters


def _constructors(cls: type) -> Iterator[Callable[..., Any]]:
    """The `__init__` of a class, and those of the parents to which it hands `**more`."""
    for ancestor in cls.__mro__:
        constructor = inspect.unwrap(ancestor.__init__)  # type: ignore[misc]  # of this very class, no subclass
        yield constructor
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(constructor).parameters.values()):
            return


def _refuse_positional(cls: type, key: str) -> None:
    """Refuse an argument with a default that is not keyword-only: it is no key of a YAML."""
    for constructor in _constructors(cls):
        for p in inspect.signature(constructor).parameters.values():
            if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty:
                raise UserError(f"{key}: its argument {p.name} is not keyword-only; put *, before {p.name}.")


def _refuse_defaults(parameters: Mapping[str, inspect.Parameter], key: str) -> None:
    """Refuse a default that the type of its argument does not allow, as a YAML's value takes the default's type."""
    for name, p in parameters.items():
        if p.annotation is not p.empty and not fits(p.default, p.annotation):
            raise UserError(
                f"{key}: the default of its argument {name} is {p.default!r}, which does not fit its type, "
                f"{spelled(p.annotation)}; correct it."
            )


def _default(parameter: inspect.Parameter) -> Any:
    """The default of an argument; an integer where any number will do is a float, so that a YAML may say 0.5."""
    annotation = parameter.annotation
    is_float = float in (annotation, getattr(annotation, "__origin__", None))
    return float(parameter.default) if is_float and type(parameter.default) is int else parameter.default


def _refuse_test_arguments(cls: type, parameters: Mapping[str, Any], key: str) -> None:
    """Refuse `test_arguments` that are no tuple of arguments of the class."""
    names = getattr(cls, "test_arguments", ())
    if not isinstance(names, tuple | list):
        raise UserError(f"{key}: its test_arguments are {names!r}, which is no tuple; write ({names!r},).")
    unknown = next((name for name in names if name not in parameters), None)
    if unknown is not None:
        raise UserError(
            f"{key}: its test_arguments name {unknown!r}, which is no argument of its __init__"
            f"{nearest(unknown, parameters)}; correct it."
        )


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """An annotation that `from __future__ import annotations` left as text; as text where it names what is missing."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, names)
    except NameError:  # imported for the type checker alone
        return annotation


def _limits(cls: type) -> dict[str, Limit]:
    """The limits of the arguments whose type sets one."""
    limits = {name: limit_of(parameter.annotation) for name, parameter in _keyword_only(cls).items()}
    return {name: limit for name, limit in limits.items() if limit}


def _check_limits(cls: type, key: str) -> None:
    """Let the constructor of a class refuse a value that the type of an argument does not allow."""
    construct = cls.__init__  # type: ignore[misc]  # of this very class, no subclass

    @functools.wraps(construct)
    def checked(self: object, *args: Any, **kwargs: Any) -> None:
        for name, limit in _limits(cls).items():
            refusal = limit.refusal(f"{key}.{name}", kwargs[name]) if name in kwargs else ""
            if refusal:
                raise UserError(refusal)
        construct(self, *args, **kwargs)

    cls.__init__ = checked  # type: ignore[misc]  # of this very class, no subclass


# Their base classes lie in higher layers, so these cannot name them.
METHODS: Registry[Any] = Registry("METHOD.NAME")
BACKBONES: Registry[Any] = Registry("BACKBONE.NAME")
OBJECTIVES: Registry[Any] = Registry("OBJECTIVE.NAME")


def import_all(package: str) -> None:
    """Import every module of a package, so that its classes register themselves."""
    root = importlib.import_module(package)
    for module in pkgutil.iter_modules(root.__path__):
        importlib.import_module(f"{package}.{module.name}")
