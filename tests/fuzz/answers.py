"""Odd results that are compared, and what run_predict.py is given: photographs, classifiers, stored features."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load, save

from core.build.networks import build_method
from core.files import write_files
from core.predict.classifier import make_classifier
from core.predict.command import Request
from core.predict.command import run as answer
from core.predict.folder import CONFIG, SEAL, SHEET, TENSORS, load_classifier, save_classifier
from core.predict.network import PhotoNetwork
from core.predict.photos import photos_from
from core.predict.supports import make_supports
from core.predict.trust import measure_trust
from core.report.compare import as_tables, compare
from core.report.page.comparison import comparison_sections
from core.report.page.render import page
from core.report.result import result_files
from core.report.tally import Evaluation
from tests.fuzz.bench import CPU, Bench
from tests.fuzz.damage import altered, changes, damaged, edits, names, plain_name
from tests.fuzz.weights import odd_state, odd_states

RESULTS = ("result.json", "episodes.csv", "config.yaml", "per_class.csv")
FORMS = ("text", "csv", "markdown")
CLASSIFIER = (SHEET, CONFIG, TENSORS)


class Answers:
    """What is read to compare, and to answer."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._make_results()
        self.saved = bench.folder / "classifier"
        self._make_classifier()
        self.photo = _png(0)
        photos = st.lists(st.tuples(names, edits), min_size=1, max_size=3)
        self.targets: dict[str, tuple[Any, Any]] = {
            "results compared": (st.tuples(st.sampled_from(RESULTS), edits), self.compared),
            "results of other contents": (st.tuples(changes, st.sampled_from(FORMS)), self.other_results),
            "classifiers": (st.tuples(st.sampled_from(CLASSIFIER), edits), self.classifier),
            "classifiers of other contents": (changes, self.other_sheet),
            "classifiers of other tensors": (odd_states, self.other_tensors),
            "photographs": (st.tuples(photos, photos), self.photographs),
            "stored features of photographs": (edits, self.stored),
        }

    def _make_results(self) -> None:
        for name in ("A", "B"):
            correct, classes = np.arange(20) % 5, np.tile([0, 1], (20, 1))
            result = {"dataset": "Made", "split": "test", "fingerprint": "f", "way": 2, "shot": 1, "query": 5}
            result |= {"queries": 10, "seed": 0, "method": name, "transductive": False, "training_seed": 0}
            result |= {"episodes": 20, "mean": 20.0, "ci95": 1.0, "precision": "float32"}
            matrix, bins = np.eye(2, dtype=int), np.zeros((3, 1))
            evaluation = Evaluation(correct, correct, classes, 10, matrix, bins, {})
            folder = self.bench.folder / "runs" / name
            write_files(folder / "eval" / "ebest_2way_1shot" / "test_1s", result_files(result, evaluation, ["x", "y"]))
            (folder / "config.yaml").write_bytes(self.bench.yaml)

    def _compare(self, name: str, content: bytes, form: str) -> None:
        """Compare two runs, one with another file."""
        runs = self.bench.work / "runs"
        shutil.copytree(self.bench.folder / "runs", runs)
        (file,) = (runs / "B").rglob(name)
        file.write_bytes(content)
        compared = compare([runs / "A", runs / "B"], say=lambda line: None)
        as_tables(compared, form=form)
        page("Comparison", comparison_sections(compared))

    def _of_b(self, name: str) -> bytes:
        (file,) = (self.bench.folder / "runs" / "B").rglob(name)
        return file.read_bytes()

    def compared(self, value: Any) -> None:
        """A run with a damaged file."""
        name, harm = value
        self._compare(name, damaged(self._of_b(name), harm), FORMS[len(harm) % 3])

    def other_results(self, value: Any) -> None:
        """A result.json that holds something else."""
        steps, form = value
        self._compare("result.json", json.dumps(altered(json.loads(self._of_b("result.json")), steps)).encode(), form)

    def _make_classifier(self) -> None:
        """A classifier of two classes of photographs."""
        facts = {"n_base": 6, "image_size": 16, "way": 3, "shot": 1, "query": 5, "base_counts": [8] * 6}
        origin = {"checkpoint": "none", "sha256": "x"}
        loaded_text = self.bench.yaml.decode()
        network = PhotoNetwork(
            cfg=self.bench.data.cfg,
            text=loaded_text,
            method=build_method(self.bench.data).eval(),
            facts=facts,
            mean=(0.5,) * 3,
            std=(0.25,) * 3,
            image_size=16,
            origin=origin,
            device=CPU,
        )
        arrays = [np.asarray(Image.open(io.BytesIO(_png(number)))) for number in range(4)]
        supports = make_supports(
            network.encode(photos_from(arrays, ["a", "a", "b", "b"]), network.store(None)), network
        )
        classifier = make_classifier(network, supports, "own")
        save_classifier(self.saved, classifier, measure_trust(classifier))

    def _answer(self, classifier: Path, *, seal: bool) -> None:
        """Answer one photograph with a classifier, sealed anew if asked, so that it is read to its end."""
        if seal:
            sheet = json.loads((classifier / SHEET).read_text())
            if isinstance(sheet, dict):
                hashes = {
                    name: hashlib.sha256((classifier / name).read_bytes()).hexdigest() for name in (CONFIG, TENSORS)
                }
                if isinstance(sheet.get("sha256"), dict):
                    sheet["sha256"] |= hashes
                sheet.pop(SEAL, None)
                text = json.dumps(sheet, sort_keys=True)
                sheet[SEAL] = hashlib.sha256(text.encode()).hexdigest()
                (classifier / SHEET).write_text(json.dumps(sheet))
        photo = self.bench.file("new/1.png", self.photo)
        self._run(Request(query=[photo.parent], out=self.bench.work / "out", classifier=classifier, cache=""))

    def _run(self, request: Request) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            answer(request)

    def _copy(self) -> Path:
        return Path(shutil.copytree(self.saved, self.bench.work / "classifier"))

    def classifier(self, value: Any) -> None:
        """A classifier with a damaged file."""
        name, harm = value
        folder = self._copy()
        (folder / name).write_bytes(damaged((folder / name).read_bytes(), harm))
        load_classifier(folder, CPU)

    def other_sheet(self, value: Any) -> None:
        """A classifier.json that holds something else, and whose seal is right."""
        folder = self._copy()
        sheet = altered(json.loads((folder / SHEET).read_text()), value)
        (folder / SHEET).write_text(json.dumps(sheet))
        self._answer(folder, seal=True)

    def other_tensors(self, value: Any) -> None:
        """Other tensors, whose hashes are right."""
        folder = self._copy()
        state = odd_state(load((folder / TENSORS).read_bytes()), value)
        plain = {str(k): v for k, v in state.items() if isinstance(v, torch.Tensor) and v.layout == torch.strided}
        plain = {name: tensor.contiguous().clone() for name, tensor in plain.items() if tensor.numel() < 1 << 20}
        (folder / TENSORS).write_bytes(save(plain))
        self._answer(folder, seal=True)

    def photographs(self, value: Any) -> None:
        """Damaged photographs with odd names, as supports and as queries."""
        for number, (place, photos) in enumerate(zip(("support/a", "new"), value, strict=True)):
            for name, harm in photos:
                plain = plain_name(name)
                with contextlib.suppress(OSError, ValueError):
                    self.bench.file(f"{place}/{plain}", damaged(_png(number), harm))
        for number, place in enumerate(("support/a", "support/b")):
            self.bench.file(f"{place}/0.png", _png(number))
            self.bench.file(f"{place}/1.png", _png(number + 2))
        self.bench.file("new/0.png", self.photo)
        request = Request(
            query=[self.bench.work / "new"],
            out=self.bench.work / "out",
            support=self.bench.work / "support",
            cfg=str(self.bench.good),
            checkpoint=self.bench.file("ebest.pth", self.bench.checkpoint),
            reference="",
            cache="",
        )
        self._run(request)

    def stored(self, value: Any) -> None:
        """A damaged file of stored features: answers are as without it."""
        classifier, _ = load_classifier(self.saved, CPU)
        photos = photos_from([np.asarray(Image.open(io.BytesIO(self.photo)))], ["a"])
        cache = self.bench.work / "cache"
        expected = classifier.network.encode(photos, classifier.network.store(cache)).features
        (file,) = cache.rglob("*.safetensors")
        file.write_bytes(damaged(file.read_bytes(), value))
        features = classifier.network.encode(photos, classifier.network.store(cache)).features
        assert features.keys() == expected.keys()
        assert all(torch.equal(features[name], expected[name]) for name in expected)


def _png(number: int) -> bytes:
    """A small photograph."""
    pixels, buffer = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8), io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
