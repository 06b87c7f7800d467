"""What run_predict.py does, once its arguments are parsed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..build.data import Data
from ..engine import device as devices
from ..errors import UserError
from ..files import write_files
from ..log import log_result, start_log
from ..prepare.skipped import skipped_note
from ..text import visible
from .answers import Answers, answer, counted
from .calibration import SHARES
from .checks import checks, duplicates, unreadable
from .classifier import OWN, Classifier, make_classifier
from .contact_sheet import write_sheet
from .facts import describe, expected_of, heads_table, measured
from .folder import load_classifier, save_classifier
from .network import Encoded, PhotoNetwork
from .page import answers_page
from .photos import Photo, query_photos, readable, support_photos
from .references import reference_for
from .sources import from_checkpoint, from_encoder
from .store import FeatureStore, default_folder
from .supports import Supports, make_supports
from .trust import Trust, measure_trust

log = logging.getLogger("fiveway")


@dataclass(frozen=True)
class Request:
    """What a user asks for, as the command line says it.

    What answers is a `classifier`, or the supports with an `encoder` or with a `checkpoint`; its configuration is
    `cfg`, by default the one it holds. The first of `heads` answers, and all are compared. `reject` is the share of
    photographs of the classes that would be rejected. `depth` says how far below `support` the class folders lie.
    `reference` is a folder of other photographs, "" for none, None for what the network has; `cache` is a folder, ""
    for none, None for the user's.
    """

    query: Sequence[Path] = ()
    out: Path = Path("answers")
    support: Path | None = None
    depth: int = 1
    classifier: Path | None = None
    encoder: str = ""
    weights: str = ""
    cfg: str | None = None
    checkpoint: Path | None = None
    overrides: Sequence[str] = ()
    heads: Sequence[str] = (OWN,)
    reject: float = 0.0
    reference: str | None = None
    cache: str | None = None
    device: str = "cpu"
    threads: int = 0


def run(request: Request) -> bool:
    """Answer; returns whether every photograph could be used."""
    refuse_share(request.reject)
    for folder in request.query:
        refuse_inside(request.out, folder, "--query", "answered the next time")
    heads = compared_heads(request)
    start_log()
    where, note = devices.prepare(request.device, request.threads)
    if note:
        log.info(note)
    cache = cache_folder(request.cache)
    bad: dict[str, str] = {}
    compared: list[dict[str, object]] = []
    if request.classifier is not None:
        classifier, trust = load_classifier(request.classifier, where)
        store = classifier.network.store(cache)
    else:
        assert request.support is not None, "the command line was checked"
        labelled = support_photos(request.support, depth=request.depth)
        query_photos(request.query, [])  # what is missing is said before a network is made
        refuse_inside(request.out, request.support)
        network, data = open_network(request, where, cache)
        store = network.store(cache)
        supports, bad = encode_supports(network, store, request.support, labelled)
        names = [OWN if request.encoder else heads[0], *heads[1:]]
        classifiers = [make_classifier(network, supports, name) for name in names]
        trusts = [trusted(each, request.reference, data, store) for each in classifiers]
        classifier, trust = classifiers[0], trusts[0]
        compared = [expected_of(*pair) for pair in zip(classifiers, trusts, strict=True)] if len(names) > 1 else []
        save_classifier(request.out / "classifier", classifier, trust)
    log.info("%s, %s", classifier.network.name, supports_line(classifier.supports))
    if external := classifier.network.origin.get("external_data"):
        log.info("external data: {encoder}, {weights} ({data}; licence: {licence})".format(**external))
    for line in trust.describe():
        log.info(line)
    if compared:
        log.info(heads_table(compared))
    return predict(classifier, trust, store, request, bad, {"heads": compared} if compared else {})


def trusted(classifier: Classifier, reference: str | None, data: Data | None, store: FeatureStore) -> Trust:
    """How far a classifier can be trusted by its supports and its reference; see `reference_for`."""
    calibration = reference_for(classifier, reference, data, store)
    if isinstance(calibration, str):  # why there is none
        return measure_trust(classifier, None, calibration)
    return measure_trust(classifier, calibration)


def open_network(request: Request, where: torch.device, cache: Path | None) -> tuple[PhotoNetwork, Data | None]:
    """The network that encodes photographs: an encoder with pretrained weights, or that of a checkpoint and its data.

    Raises:
        UserError: where nothing says which.
    """
    if request.encoder:
        return from_encoder(request.encoder, request.weights, request.heads[0], request.overrides, where), None
    if request.checkpoint is None:
        raise UserError("nothing says which network encodes the photos; give an encoder or a checkpoint.")
    return from_checkpoint(request.cfg, request.checkpoint, request.overrides, where, cache)


def cache_folder(cache: str | None) -> Path | None:
    """The folder of features that a word means: None is the user's, "" none."""
    return default_folder() if cache is None else Path(cache) if cache else None


def compared_heads(request: Request) -> list[str]:
    """The names of the heads that --heads lists. An encoder has no head of its own: `own` then means RFS.

    Raises:
        UserError: where one is listed twice.
    """
    heads = ["RFS" if request.encoder and name.lower() == OWN else name for name in request.heads]
    lower = [name.lower() for name in heads]
    for place, name in enumerate(lower):
        if name in lower[:place]:
            raise UserError(f"--heads lists {heads[place]} twice; leave one out.")
    return heads


def refuse_share(share: float, name: str = "--reject") -> None:
    """Refuse a share that is none."""
    if not 0 <= share <= SHARES[-1]:
        raise UserError(
            f"{name} is {share:g}; give the share of photos of the classes that may be rejected, from 0 to "
            f"{SHARES[-1]:g}, such as 0.1."
        )


def refuse_inside(out: Path, folder: Path, option: str = "--support", taken: str = "taken for a class") -> None:
    """Refuse a folder of answers whose contact sheet would lie among photographs, and what it would be taken for.

    Raises:
        UserError: where it lies in the folder that the option gives.
    """
    if folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise UserError(f"--out is {out}, which lies in {option}, {folder}, and would be {taken}; give another.")


def encode_supports(
    network: PhotoNetwork, store: FeatureStore, folder: Path, photos: Sequence[Photo]
) -> tuple[Supports, dict[str, str]]:
    """The labelled photographs of a folder as supports, and {file: reason} of those that cannot be used.

    Raises:
        UserError: where a class has no usable photograph.
    """
    encoded, bad = encode(network, photos, store)
    empty = sorted({photo.label for photo in photos} - {photo.label for photo in encoded.photos})
    if empty:
        raise UserError(
            f"--support is {folder}, where no photo of {empty[0]} can be used ("
            + "; ".join(unreadable({name: why for name, why in bad.items() if name.startswith(f"{empty[0]}/")})[:5])
            + "); add photos, or remove the folder."
        )
    return make_supports(encoded, network), bad


def encode(network: PhotoNetwork, photos: Sequence[Photo], store: FeatureStore) -> tuple[Encoded, dict[str, str]]:
    """The features of photographs, and {file: reason} of those that cannot be used."""
    good, bad = readable(photos)
    encoded = network.encode(good, store)
    return encoded, bad | encoded.bad


def predict(
    classifier: Classifier,
    trust: Trust,
    store: FeatureStore,
    request: Request,
    bad: Mapping[str, str],
    more: Mapping[str, object],
) -> bool:
    """Answer the queries, write the files and print the table; returns whether every photograph could be used.

    `bad` are supports that could not; `more` are further facts for answers.json.
    """
    network, supports = classifier.network, classifier.supports
    photos = query_photos(request.query, supports.classes)
    encoded, unusable = encode(network, photos, store)
    bad = dict(bad) | unusable
    rows = answer(classifier, trust, encoded, request.reject)
    labelled = support_photos(request.support, depth=request.depth) if request.support else []
    skipped = _skipped([path for path in request.query if path.is_dir()], photos)
    notes = checks(supports, encoded, rows, trust, request.reject)
    notes += skipped + _skipped([request.support] if request.support else [], labelled)
    facts = {**describe(classifier, trust, request.reject), **more}
    answers = Answers(supports.classes, supports.names, rows, facts, notes, bad)
    facts |= measured(answers)
    by_name = {photo.name: photo for photo in photos}
    supported = {photo.name: photo for photo in labelled}
    write_files(
        request.out,
        {
            "answers.csv": answers.as_csv(),
            "answers.json": answers.as_json(),
            "answers.png": lambda file: write_sheet(rows, by_name, file),
            "report.html": answers_page(answers, trust, by_name, supported, duplicates(supports, encoded)),
        },
    )
    print_answers(answers, request.out, bad.keys() - unusable.keys())
    return not (bad or skipped)


def _skipped(folders: Sequence[Path], photos: Sequence[Photo]) -> list[str]:
    """A sentence for each folder that holds files beside its photographs."""
    used = [photo.source for photo in photos if isinstance(photo.source, Path)]
    return [note for folder in folders if (note := skipped_note(folder, used))]


def print_answers(answers: Answers, out: Path, unused: Collection[str]) -> None:
    """The table, what is to be known about it, and where the files are; `unused` supports have no answer to miss."""
    log.info("%s", answers.as_text())
    for sentence in answers.notes:
        log.info("note: %s", visible(sentence, ""))
    for name, reason in answers.bad.items():
        place = "support not used" if name in unused else "not answered"
        log.info("%s: %s", place, visible(f"{name} {reason}", ""))
    facts = answers.facts
    line = f"{facts['method']}  {counted(len(answers.rows), 'photo')}, {len(answers.classes)} classes"
    rejected = sum(row.rejected for row in answers.rows)
    if facts["reject"]:
        line += f", {rejected} rejected"
        if "supports_refused" in facts:
            line += f" (as would be {100 * facts['supports_refused']:.0f} % of the supports)"
    if "accuracy" in facts:
        line += f", {facts['accuracy']:.1f} % of {facts['answered_correctly_of']} with a known class are right"
    log_result(f"{line}\nfiles  {out}/report.html, answers.png, answers.csv, answers.json")


def supports_line(supports: Supports) -> str:
    """What the supports are, for the log."""
    counts = sorted(set(supports.counts))
    each = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{len(supports.classes)} classes with {each} {'photo' if counts == [1] else 'photos'} each"
