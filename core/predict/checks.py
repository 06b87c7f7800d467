"""What a user should know before trusting the answers: sentences about the photographs themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .answers import Answer, counted
from .looks import NEAR, apart
from .network import Encoded
from .supports import Supports, alike
from .trust import Trust

MOST_NAMED = 5


def checks(supports: Supports, encoded: Encoded, rows: Sequence[Answer], trust: Trust, share: float = 0.0) -> list[str]:
    """Sentences about duplicates, classes with one photograph, and photographs that fit no class."""
    return [
        *same_pictures(supports, encoded),
        *in_two_classes(supports),
        *copies(supports),
        *single(supports),
        *_far(rows, trust),
        *other_folders(supports.classes, rows),
        *rejects_nothing(trust, share),
    ]


def rejects_nothing(trust: Trust, share: float) -> list[str]:
    """A sentence where a share is to be rejected, but nothing tells how similar photographs of the classes are."""
    if not share or trust.threshold(share) > -math.inf:
        return []
    return [f"--reject {share:g} rejects nothing, as too few photos can be held out; a second photo of each would help"]


def other_folders(classes: Sequence[str], rows: Sequence[Answer]) -> list[str]:
    """A sentence about folders of queries that are called like no class, perhaps as a name is misspelled."""
    others = sorted({row.truth for row in rows} - {"", *classes})
    if not others:
        return []
    named = "1 folder of queries is" if len(others) == 1 else f"{len(others)} folders of queries are"
    return [f"{named} called like no class (their photos count as photos of none): {_listed(others)}"]


def single(supports: Supports) -> list[str]:
    """A sentence where a class has one photograph, which cannot be held out."""
    names = [name for name, count in zip(supports.classes, supports.counts, strict=True) if count == 1]
    if not names:
        return []
    have = f"{names[0]} has" if len(names) == 1 else f"{len(names)} classes have"
    return [f"{have} one photo, so nothing can be held out of it: {_listed(names)}; a second photo would help most"]


def copies(supports: Supports) -> list[str]:
    """A sentence about photographs that look like another one of their class, and so teach nothing new."""
    names = supports.names
    pairs = [f"{names[row]} = {names[group[0]]}" for groups in alike(supports) for group in groups for row in group[1:]]
    if not pairs:
        return []
    look = "looks like another one of its class" if len(pairs) == 1 else "look like another one of their class"
    return [f"{counted(len(pairs), 'photo')} {look}, which brings nothing new: {_listed(pairs)}"]


def duplicates(supports: Supports, encoded: Encoded) -> dict[str, tuple[str, bool]]:
    """{query: (support, whether the files are equal)} of photographs that are among the supports."""
    if not len(encoded.photos):
        return {}
    differing = apart(encoded.looks, supports.looks)
    nearest = differing.argmin(1)
    pairs = {}
    for i, photo in enumerate(encoded.photos):
        support = int(nearest[i])
        if photo.sha256 in supports.sha256:
            pairs[photo.name] = (supports.names[supports.sha256.index(photo.sha256)], True)
        elif differing[i, support] <= NEAR:
            pairs[photo.name] = (supports.names[support], False)
    return pairs


def same_pictures(supports: Supports, encoded: Encoded) -> list[str]:
    """Sentences about photographs that are among the supports: their answers prove nothing."""
    pairs = duplicates(supports, encoded)
    sentences = []
    for exact, what in ((True, "the same file as a support"), (False, "nearly the same picture as a support")):
        some = [f"{query} = {support}" for query, (support, equal) in pairs.items() if equal is exact]
        if some:
            verb = "is" if len(some) == 1 else "are"
            sentences.append(f"{counted(len(some), 'photo')} {verb} {what}: {_listed(some)}")
    return sentences


def in_two_classes(supports: Supports) -> list[str]:
    """A sentence about pictures that are supports of two classes, of which one must be wrong."""
    pairs, labels, files = [], supports.labels.numpy(), np.array(supports.sha256)
    for i, name in enumerate(supports.names):  # row by row, as all pairs at once would fill the memory
        same = (apart(supports.looks[i : i + 1], supports.looks[i:])[0] <= NEAR) | (files[i:] == files[i])
        twins = i + np.flatnonzero(same & (labels[i:] != labels[i]))
        pairs += [f"{name} = {supports.names[twin]}" for twin in twins]
    if not pairs:
        return []
    verb = "is" if len(pairs) == 1 else "are"
    return [f"{counted(len(pairs), 'picture')} {verb} among the supports of two classes: {_listed(pairs)}"]


def far(rows: Sequence[Answer], trust: Trust) -> list[str]:
    """Names of photographs that are farther from all supports than any support is from the others."""
    if not len(trust.similarities):
        return []
    return [row.file for row in rows if row.similarity < float(trust.similarities[0])]


def _far(rows: Sequence[Answer], trust: Trust) -> list[str]:
    """A sentence about photographs that are unlike all supports."""
    names = far(rows, trust)
    if not names:
        return []
    verb = "is" if len(names) == 1 else "are"
    return [f"{counted(len(names), 'photo')} {verb} unlike all supports, perhaps of no class: {_listed(names)}"]


def unreadable(bad: Mapping[str, str]) -> list[str]:
    """A line for each file that could not be used."""
    return [f"{name} {reason}" for name, reason in bad.items()]


def _listed(names: Sequence[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
