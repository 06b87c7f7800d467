"""What scikit-learn's base classes give an estimator, where scikit-learn is not installed."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np


class BaseEstimator:
    """Parameters by the names of the constructor's arguments."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments and their values."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **values: Any) -> Any:
        """Change arguments."""
        for name, value in values.items():
            if name not in self.get_params():
                raise ValueError(f"{name} is no argument of {type(self).__name__}")
            setattr(self, name, value)
        return self


class ClassifierMixin:
    """The score of a classifier."""

    def score(self, images: Sequence[Any], labels: Sequence[Any]) -> float:
        """Share of right answers."""
        return float(np.mean(self.predict(images) == np.asarray(labels)))  # type: ignore[attr-defined]
