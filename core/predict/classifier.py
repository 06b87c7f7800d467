"""A head on the features of a user's labelled photographs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..build.data import class_words
from ..build.networks import make_head
from ..engine.heads import refuse_unfit, refuse_untrained
from ..episode import DataInfo, Features
from ..errors import UserError, reworded
from ..methods.base import Method
from ..names import not_one_of
from ..ops import random
from ..registry import METHODS
from .network import PhotoNetwork
from .supports import Supports, fold_numbers, make_task, seed_of

OWN = "own"


@dataclass(frozen=True)
class Classifier:
    """A method in eval mode with the supports of one task.

    `words` [N, D] are the vectors of the classes' names, and `base` are mean features of base classes, where the method
    reads them.
    """

    network: PhotoNetwork
    head: Method
    supports: Supports
    words: Tensor | None = None
    base: Features | None = None

    @torch.no_grad()
    def logits(self, query: Features) -> Tensor:
        """Logits [Q, N] of encoded photographs [Q, ...]."""
        supports, head = self.supports, self.head
        images = len(next(iter(query.values())))
        size = sum(value[0].nbytes for value in query.values())
        most = int(self.network.cfg.EVAL.MEMORY_MB * 2**20 / (4 * size))
        chunk = images if head.transductive else max(1, min(images, most - len(supports.names)))
        parts = []
        for start in range(0, images, max(1, chunk)):
            part = {name: value[None, start : start + chunk] for name, value in query.items()}
            support = {name: value[None] for name, value in supports.features.items()}
            parts.append(self._ask(support, supports.labels, part, seed_of(supports))[0])
        return torch.cat(parts) if parts else torch.zeros(0, len(supports.classes))

    @torch.no_grad()
    def out_of_fold(self) -> tuple[Tensor, Tensor]:
        """Logits [m, N] of supports that were held out, and their rows [m]; nothing where no class can spare one.

        Every fold is classified by the supports outside it. Folds of one shape are classified together.
        """
        folds = fold_numbers(self.supports)
        held_out = [(folds == fold).nonzero()[:, 0] for fold in range(int(folds.max()) + 1)]
        kept = [(folds != fold).nonzero()[:, 0] for fold in range(len(held_out))]
        if not held_out:
            return torch.zeros(0, len(self.supports.classes)), torch.zeros(0, dtype=torch.long)
        labels = [self.supports.labels[rows] for rows in kept]
        together = all(len(rows) == len(held_out[0]) and labels[i].equal(labels[0]) for i, rows in enumerate(held_out))
        groups = [list(range(len(held_out)))] if together else [[fold] for fold in range(len(held_out))]
        logits, rows = [], []
        for group in groups:
            seed = random.hashes(seed_of(self.supports), "folds", len(held_out))[0, group]
            support, query = ({n: v[torch.stack([of[f] for f in group]).to(v.device)] for n, v in
                               self.supports.features.items()} for of in (kept, held_out))  # fmt: skip
            logits.append(self._ask(support, labels[group[0]], query, seed).flatten(0, 1))
            rows += [held_out[fold] for fold in group]
        return torch.cat(logits), torch.cat(rows)

    def _ask(self, support: Features, labels: Tensor, query: Features, seed: Tensor) -> Tensor:
        """Logits [T, Q, N] float64 on the CPU."""
        way = len(self.supports.classes)
        task = make_task(support, labels, query, way, seed, self.words, self.base)
        return self.head.answer(task).double().cpu()


def make_classifier(network: PhotoNetwork, supports: Supports, name: str = OWN) -> Classifier:
    """The network's own method, or another one on its features, over the supports.

    Raises:
        UserError: where the other one cannot classify these features, or a class has no word vector that is needed.
    """
    head = make_head_named(network, name)
    words = _words(network, supports, head) if "semantics" in head.needs else None
    base = _base(network, supports, head) if "base" in head.needs else None
    classifier = Classifier(network, head, supports, words, base)
    one = supports.of(_first_of_each(supports))
    support = {key: value[None] for key, value in one.features.items()}
    task = make_task(support, one.labels, support, len(one.classes), seed_of(one), words, base)
    if head is not network.folded:
        refuse_unfit(head, network.method, lambda: task, "--head")
    elif "checkpoint" not in network.origin:
        refuse_untrained(head, lambda: task, "--head")
    return classifier


def make_head_named(network: PhotoNetwork, name: str) -> Method:
    """The network's own method, or another one on its features, in eval mode.

    Raises:
        UserError: where there is none of that name, or it reads what is not known.
    """
    return network.folded if name.lower() == OWN else _other(network, name)


def with_supports(classifier: Classifier, supports: Supports) -> Classifier:
    """The same head over other supports of the same classes."""
    return replace(classifier, supports=supports)


def _other(network: PhotoNetwork, name: str) -> Method:
    """Another method around the network's backbone, in eval mode."""
    if name.lower() not in map(str.lower, METHODS):
        raise UserError(not_one_of("--head", name, [OWN, *METHODS]))
    facts = {**network.facts, "base_counts": tuple(network.facts["base_counts"])}
    words = network.words
    info = DataInfo(**facts, words=None if words is None else lambda: words)
    with reworded({"METHOD.NAME": "--head"}):
        return make_head(network.cfg, info, METHODS[name].name).to(network.device).eval()


def _base(network: PhotoNetwork, supports: Supports, head: Method) -> Features:
    """Mean features of the base classes; an encoder knows none, and its features are centred at 0."""
    if network.base is not None:
        return network.base
    if network.facts["n_base"] > 1:
        raise UserError(
            f"--head names {head.name}, which reads the mean features of base classes, and these are not known here; "
            "choose another head."
        )
    return {name: torch.zeros_like(value[:1]) for name, value in supports.features.items()}


def _words(network: PhotoNetwork, supports: Supports, head: Method) -> Tensor:
    """Word vectors of the classes' names, [N, D]."""
    words = torch.from_numpy(class_words(network.cfg, supports.classes))
    if network.words is not None and words.shape[1] != network.words.shape[1]:
        raise UserError(
            f"{head.name} was trained with word vectors of length {network.words.shape[1]}, but those of the photos' "
            f"classes have length {words.shape[1]}; set DATASET.SEMANTICS to the file it was trained with."
        )
    return words


def _first_of_each(supports: Supports) -> list[int]:
    """The first row of every class."""
    return [supports.labels.tolist().index(label) for label in range(len(supports.classes))]
