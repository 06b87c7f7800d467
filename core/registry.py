"""Names to classes: how a YAML finds a method, a backbone or an objective."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Iterator
from typing import Any

from .errors import UserError


class Registry:
    """A mapping from the name used in a YAML to a class; lookups ignore case.

    >>> METHODS = Registry("METHOD.NAME")
    >>> @METHODS.register("ProtoNet")
    ... class ProtoNet: ...
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._classes: dict[str, type] = {}

    def register(self, name: str):
        """Class decorator that enters a class under `name`; the class then carries it as `name`."""

        def enter(cls: type) -> type:
            if self._find(name) is not None:
                raise ValueError(f"{self.key}: {name} is registered twice")
            cls.name = name
            self._classes[name] = cls
            return cls

        return enter

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))

    def __getitem__(self, name: str) -> type:
        found = self._find(name)
        if found is None:
            raise UserError(f"{self.key} is {name!r}, which is not one of: {', '.join(self)}{nearest(name, self)}.")
        return self._classes[found]

    def _find(self, name: str) -> str | None:
        return next((known for known in self._classes if known.lower() == name.lower()), None)

    def arguments(self, name: str) -> dict[str, Any]:
        """Keyword-only arguments of a class and their defaults: the schema of its ARGS in a YAML.

        An `__init__` that takes `**more` hands it to its parent, whose arguments then count too.
        """
        found: dict[str, Any] = {}
        for cls in self[name].__mro__:
            parameters = inspect.signature(cls.__init__).parameters.values()
            found |= {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in found}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
        return found


METHODS = Registry("METHOD.NAME")
BACKBONES = Registry("BACKBONE.NAME")
OBJECTIVES = Registry("OBJECTIVE.NAME")


def nearest(name: str, known) -> str:
    """' (did you mean X?)' for the closest known name, or nothing."""
    lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    return f" (did you mean {lower[close[0]]}?)" if close else ""


def import_all(package: str) -> None:
    """Import every module of a package, so that its classes register themselves."""
    root = importlib.import_module(package)
    for module in pkgutil.iter_modules(root.__path__):
        importlib.import_module(f"{package}.{module.name}")


def import_plugins(modules: list[str]) -> None:
    """Import a user's own modules (config key PLUGINS), e.g. ["my_method"]."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a user's code raises
            frames = [f for f in traceback.extract_tb(error.__traceback__)[1:] if "importlib" not in f.filename]
            where = f", {frames[0].filename} line {frames[0].lineno}" if frames else ""
            raise UserError(
                f"PLUGINS names {name!r}, which Python cannot import ({type(error).__name__}: {error}{where}); "
                "correct it, and put it on PYTHONPATH or next to the scripts."
            ) from error
