"""What run_predict.py does, once its arguments are parsed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..engine import device as devices
from ..errors import UserError
from ..files import write_files
from ..log import log_result, start_log
from .answers import Answers, answer, confusion, counted
from .checks import checks, unreadable
from .classifier import OWN, Classifier, make_classifier
from .contact_sheet import write_sheet
from .folder import load_classifier, save_classifier
from .network import Encoded, PhotoNetwork
from .page import answers_page
from .photos import Photo, query_photos, readable, support_photos
from .sources import from_checkpoint
from .store import FeatureStore, default_folder
from .supports import Supports, make_supports
from .trust import Trust, measure_trust

log = logging.getLogger("fiveway")


@dataclass(frozen=True)
class Request:
    """What a user asks for, as the command line says it.

    What answers is a `classifier`, or the supports with the `checkpoint` of a `cfg`. `reject` is the share of the
    supports that would be rejected; `cache` is a folder, "" for none, None for the user's.
    """

    query: Sequence[Path]
    out: Path
    support: Path | None = None
    classifier: Path | None = None
    cfg: str | None = None
    checkpoint: Path | None = None
    overrides: Sequence[str] = ()
    head: str = OWN
    reject: float = 0.0
    cache: str | None = None
    device: str = "cpu"
    threads: int = 0


def run(request: Request) -> bool:
    """Answer; returns whether every photograph could be used."""
    refuse_share(request.reject)
    start_log()
    where, note = devices.prepare(request.device, request.threads)
    if note:
        log.info(note)
    cache = cache_folder(request.cache)
    bad: dict[str, str] = {}
    if request.classifier is not None:
        classifier, trust = load_classifier(request.classifier, where)
        store = classifier.network.store(cache)
    else:
        assert request.support is not None, "the command line was checked"
        network = open_network(request.cfg, request.checkpoint, request.overrides, where, cache)
        store = network.store(cache)
        query_photos(request.query, [])  # what is missing is said before anything is encoded
        classifier, bad = fit(network, store, request.support, request.head)
        trust = measure_trust(classifier)
        save_classifier(request.out / "classifier", classifier, trust)
    log.info("%s, %s", classifier.network.name, supports_line(classifier.supports))
    log.info(trust.describe())
    return predict(classifier, trust, store, request, bad)


def open_network(
    cfg: str | None, checkpoint: Path | None, overrides: Sequence[str], where: torch.device, cache: Path | None
) -> PhotoNetwork:
    """The network that encodes photographs: that of a checkpoint."""
    if cfg is None or checkpoint is None:
        raise UserError("nothing says which network encodes the photos; give cfg and checkpoint.")
    return from_checkpoint(cfg, checkpoint, overrides, where, cache)[0]


def cache_folder(cache: str | None) -> Path | None:
    """The folder of features that a word means: None is the user's, "" none."""
    return default_folder() if cache is None else Path(cache) if cache else None


def refuse_share(share: float) -> None:
    """Refuse a share that is none."""
    if not 0 <= share < 1:
        raise UserError(
            f"--reject is {share:g}; give the share of the supports that may be rejected, from 0 to below 1, "
            "such as 0.1."
        )


def fit(network: PhotoNetwork, store: FeatureStore, folder: Path, head: str = OWN) -> tuple[Classifier, dict[str, str]]:
    """A classifier from a folder of class folders, and {file: reason} of the photographs that cannot be used.

    Raises:
        UserError: where a class has no usable photograph.
    """
    photos = support_photos(folder)
    encoded, bad = encode(network, photos, store)
    empty = sorted({photo.label for photo in photos} - {photo.label for photo in encoded.photos})
    if empty:
        raise UserError(
            f"--support is {folder}, where no photo of {empty[0]} can be used ("
            + "; ".join(unreadable({name: why for name, why in bad.items() if name.startswith(f"{empty[0]}/")})[:5])
            + "); add photos, or remove the folder."
        )
    return make_classifier(network, make_supports(encoded, network), head), bad


def encode(network: PhotoNetwork, photos: Sequence[Photo], store: FeatureStore) -> tuple[Encoded, dict[str, str]]:
    """The features of photographs, and {file: reason} of those that cannot be used."""
    good, bad = readable(photos)
    encoded = network.encode(good, store)
    return encoded, bad | encoded.bad


def predict(
    classifier: Classifier, trust: Trust, store: FeatureStore, request: Request, bad: Mapping[str, str]
) -> bool:
    """Answer the queries, write the files and print the table; returns whether every photograph could be used.

    `bad` are supports that could not.
    """
    network, supports = classifier.network, classifier.supports
    photos = query_photos(request.query, supports.classes)
    encoded, unusable = encode(network, photos, store)
    bad = dict(bad) | unusable
    rows = answer(classifier, trust, encoded, request.reject)
    notes = checks(supports, encoded, rows, trust)
    facts = describe(classifier, trust, request.reject)
    answers = Answers(supports.classes, supports.names, rows, facts, notes, bad)
    facts |= measured(answers)
    by_name = {photo.name: photo for photo in photos}
    supported = {photo.name: photo for photo in support_photos(request.support)} if request.support else {}
    write_files(
        request.out,
        {
            "answers.csv": answers.as_csv(),
            "answers.json": answers.as_json(),
            "answers.png": lambda file: write_sheet(rows, by_name, file),
            "report.html": answers_page(answers, trust, by_name, supported),
        },
    )
    print_answers(answers, request.out)
    return not bad


def describe(classifier: Classifier, trust: Trust, share: float) -> dict[str, object]:
    """What answers.json says of the classifier."""
    network, supports = classifier.network, classifier.supports
    return {
        "method": classifier.head.name,
        "features_of": network.name,
        "origin": network.origin,
        "supports": {name: count for name, count in zip(supports.classes, supports.counts, strict=True)},
        "temperature": 1 / trust.tau,
        "temperature_fitted_on": trust.fitted_on,
        "reject": share,
        "reject_below": trust.threshold(share) if share and trust.fitted_on else None,
    }


def measured(answers: Answers) -> dict[str, object]:
    """What the queries' folders tell about the answers: accuracy, confusion, and what was rejected."""
    percent, number = answers.accuracy()
    if not number:
        return {}
    known = [row for row in answers.rows if row.truth in answers.classes]
    others = [row for row in answers.rows if row.truth and row.truth not in answers.classes]
    facts: dict[str, object] = {
        "accuracy": percent,
        "answered_correctly_of": number,
        "confusion": confusion(answers.rows, answers.classes),
        "rejected_of_known": sum(row.rejected for row in known) / number,
    }
    if others:
        facts |= {
            "photos_of_other_classes": len(others),
            "rejected_of_others": sum(row.rejected for row in others) / len(others),
            "auroc": auroc([row.knownness for row in known], [row.knownness for row in others]),
        }
    return facts


def auroc(known: Sequence[float], others: Sequence[float]) -> float:
    """The chance that a photograph of a class is better known than one of another class; ties count half."""
    wins = sum((k > o) + 0.5 * (k == o) for k in known for o in others)
    return wins / (len(known) * len(others))


def print_answers(answers: Answers, out: Path) -> None:
    """The table, what is to be known about it, and where the files are."""
    log.info("%s", answers.as_text())
    for sentence in answers.notes:
        log.info("note: %s", sentence)
    for line in unreadable(answers.bad):
        log.info("not answered: %s", line)
    facts = answers.facts
    line = f"{facts['method']}  {counted(len(answers.rows), 'photo')}, {len(answers.classes)} classes"
    rejected = sum(row.rejected for row in answers.rows)
    if facts["reject"]:
        line += f", {rejected} rejected"
    if "accuracy" in facts:
        line += f", {facts['accuracy']:.1f} % of {facts['answered_correctly_of']} with a known class are right"
    log_result(f"{line}\nfiles  {out}/report.html, answers.png, answers.csv, answers.json")


def supports_line(supports: Supports) -> str:
    """What the supports are, for the log."""
    counts = sorted(set(supports.counts))
    each = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{len(supports.classes)} classes with {each} {'photo' if counts == [1] else 'photos'} each"
