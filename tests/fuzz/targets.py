"""What is fed with odd inputs. A target takes one and answers, or raises a UserError; anything else is a defect."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from PIL import Image

from core.build.config import load_config
from core.build.data import Data
from core.build.evaluation import refuse_test, restore
from core.build.networks import build_method
from core.data.store import read_split, split_dir, verify_split, write_split
from core.data.words import read_names, semantic_vectors
from core.engine.cache import FeatureCache
from core.errors import UserError
from core.files import write_files
from core.predict.folder import load_classifier
from core.prepare import isolated
from core.prepare.archives import extract
from core.prepare.feature_files import read_features, read_images
from core.prepare.images import BadImage, Decoding, decode
from core.prepare.split_files import read_class_lists, read_rows
from core.report.compare import as_tables, compare
from core.report.page.comparison import comparison_sections
from core.report.page.render import page
from core.report.result import result_files
from core.report.tally import Evaluation
from core.suites.suite import read_suite
from tests.fuzz.damage import damaged, edits, texts, values

CPU = torch.device("cpu")
CONFIG: dict[str, Any] = {
    "DATASET": {"SIZE": 16},
    "TASK": {"TEST": {"WAY": 3, "SHOT": 1, "QUERY": 5}},
    "BACKBONE": {"NAME": "Conv4", "ARGS": {"width": 8}},
    "METHOD": {"NAME": "ProtoNet", "ARGS": {"scale": 1.0}},
    "STAGES": ["meta"],
    "STAGE": {"meta": {"EPOCHS": 1, "STEPS": 2, "OPTIM": {"LR": 0.001}, "VAL": {"EPISODES": 2}}},
    "EVAL": {"EPISODES": 20},
}
KEYS = [
    *("SEED", "DATASET.NAME", "DATASET.SIZE", "DATASET.VIEWS", "DATASET.EVAL_CROP", "DATASET.BASE_HOLDOUT", "STAGES"),
    *("TASK.TEST.WAY", "TASK.TEST.SHOT", "TASK.TEST.QUERY", "TASK.TEST.SHOTS", "TASK.TEST.QUERIES", "BACKBONE.NAME"),
    *("BACKBONE.ARGS", "BACKBONE.ARGS.width", "BACKBONE.VECTOR", "METHOD.NAME", "METHOD.ARGS", "METHOD.ARGS.scale"),
    *("OBJECTIVE.NAME", "OBJECTIVE.ARGS", "STAGE", "STAGE.meta", "STAGE.meta.METHOD", "STAGE.meta.EPOCHS"),
    *("STAGE.meta.STEPS", "STAGE.meta.TASKS", "STAGE.meta.BATCH", "STAGE.meta.AUGMENT", "STAGE.meta.OPTIM.LR"),
    *("STAGE.meta.OPTIM.MILESTONES", "STAGE.meta.OPTIM.BETAS", "STAGE.meta.VAL.EPISODES", "EVAL.EPISODES", "REFERENCE"),
    *("REFERENCE.FIGURES", "EVAL.PRIOR", "PLUGINS", "_BASE_", "EVAL", "nothing"),
]


def write_tiny(root: Path, dataset: str = "Glyphs", size: int = 16) -> None:
    """A data folder with three splits of random pixels."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        labels = np.arange(6).repeat(8)
        images = rng.integers(0, 256, (48, size, size, 3), np.uint8)
        classes, names = [f"{split}{n}" for n in range(6)], [f"{n:02d}" for n in range(8)] * 6
        write_split(split_dir(root, dataset, size, split), dataset, images, labels, classes, names, "made up")


class Targets:
    """All targets around one folder, with the valid files that inputs are made from."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "data"
        write_tiny(self.root)
        self._config = CONFIG | {"DATASET": {"ROOT": str(self.root), "SIZE": 16}}
        self._yaml = yaml.safe_dump(self._config).encode()
        (folder / "Good.yaml").write_bytes(self._yaml)
        self._loaded = load_config(folder / "Good.yaml")
        self._data = Data(self._loaded.cfg, CPU)
        self._checkpoint = self._make_checkpoint()
        self._features = self._make_features()
        self._make_results()
        self.all: dict[str, tuple[Any, Callable[[Any], object]]] = {
            "configs": (st.tuples(st.sampled_from(KEYS), values), self.config),
            "overrides": (st.lists(st.tuples(st.sampled_from(KEYS), texts), max_size=3), self.overrides),
            "YAML text": (edits, self.yaml_text),
            "suites": (edits, self.suite),
            "split files": (st.tuples(st.sampled_from(["csv", "json"]), edits), self.split_file),
            "stores": (st.tuples(st.sampled_from(STORE), edits), self.store),
            "checkpoints": (edits, self.checkpoint),
            "odd checkpoints": (values, self.odd_checkpoint),
            "caches": (st.tuples(st.sampled_from(["vector", "sums"]), edits), self.cache),
            "word vectors": (st.tuples(st.sampled_from(["txt", "npz", "tsv"]), edits), self.words),
            "pickles": (st.tuples(st.integers(0, 5), edits), self.pickle),
            "pickled images": (st.tuples(st.integers(0, 5), edits), self.pickle_index),
            "HDF5": (edits, self.hdf5),
            "npz": (st.tuples(st.booleans(), edits), self.npz),
            "images": (st.tuples(st.sampled_from(IMAGES), edits), self.image),
            "archives": (st.tuples(st.sampled_from(ARCHIVES), edits), self.archive),
            "results compared": (st.tuples(st.sampled_from(RESULTS), edits), self.compared),
            "classifiers": (st.tuples(st.booleans(), edits), self.classifier),
        }

    def run(self, name: str, value: Any) -> str:
        """Feed one input; "answered" or "refused". Any other error is the defect that is looked for."""
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            self.all[name][1](value)
        except (UserError, BadImage) as error:
            text = str(error)
            assert text, "an error without a sentence"
            assert "Traceback" not in text, text
            return "refused"
        finally:
            hidden = [path for path in work.rglob(".*") if not path.name.startswith(".hdf5")]
            assert not hidden, f"left behind: {hidden}"
        return "answered"

    def _file(self, name: str, content: bytes) -> Path:
        path = self.folder / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def config(self, value: tuple[str, Any]) -> None:
        """A configuration with one odd value, as far as the network on its data."""
        key, odd = value
        try:
            text = yaml.safe_dump(self._config | {key: odd})
        except UnicodeEncodeError:
            return
        cfg = load_config(self._file("Odd.yaml", text.encode("utf-8", "surrogatepass"))).cfg
        if key != "DATASET.NAME" and cfg.DATASET.SIZE == 16:
            data = Data(cfg, CPU)
            refuse_test(data)
            build_method(data)

    def overrides(self, value: list[tuple[str, str]]) -> None:
        load_config(self.folder / "Good.yaml", [f"{key}={text}" for key, text in value])

    def yaml_text(self, value: Any) -> None:
        load_config(self._file("Odd.yaml", damaged(self._yaml, value)))

    def suite(self, value: Any) -> None:
        tree = {
            "BASE": "runs",
            "RUNS": [{"CFG": "Good.yaml", "TAG": "a"}],
            "SEEDS": [0],
            "TESTS": [{"OPTIONS": ["--x"]}],
        }
        text = yaml.safe_dump(tree).replace("Good.yaml", str(self.folder / "Good.yaml"))
        read_suite(self._file("suite.yaml", damaged(text.encode(), value)))

    def split_file(self, value: Any) -> None:
        kind, changes = value
        rows = "filename,label,split\n" + "".join(f"{n}.png,c{n % 3},train\n" for n in range(9))
        lists = json.dumps({"train": ["a", "b"], "val": ["c"], "test": ["d"]})
        if kind == "csv":
            read_rows(self._file("split.csv", damaged(rows.encode(), changes)))
        else:
            read_class_lists(self._file("split.json", damaged(lists.encode(), changes)))

    def store(self, value: Any) -> None:
        """A split with one damaged file, as far as the first images of an episode."""
        name, changes = value
        folder = self.folder / "work" / "split"
        shutil.copytree(split_dir(self.root, "Glyphs", 16, "test"), folder)
        file = folder / name
        file.write_bytes(damaged(file.read_bytes(), changes))
        split = read_split(folder)
        verify_split(split, folder)
        split.images[:4].sum()

    def _make_checkpoint(self) -> bytes:
        method, buffer = build_method(self._data), io.BytesIO()
        from core.build.identity import describe

        torch.save({"method": method.state_dict(), "meta": describe(self._data) | {"stem": "x", "run": "y"}}, buffer)
        return buffer.getvalue()

    def checkpoint(self, value: Any) -> None:
        restore(self._data, self._file("ebest.pth", damaged(self._checkpoint, value)))

    def odd_checkpoint(self, value: Any) -> None:
        """A checkpoint that loads, and holds something else."""
        content = torch.load(io.BytesIO(self._checkpoint), weights_only=True)
        buffer = io.BytesIO()
        content["meta"] |= value if isinstance(value, dict) else {"method": value}
        torch.save(content, buffer)
        restore(self._data, self._file("ebest.pth", buffer.getvalue()))

    def cache(self, value: Any) -> None:
        """A table with one damaged file: every row that it still has is as it was written."""
        name, changes = value
        shelf = FeatureCache(self.folder / "work" / "features", {"key": 1}, 1)
        table = shelf.create(6, {"vector": (5,)})
        assert table is not None
        table.arrays["vector"][:4] = np.arange(20).reshape(4, 5)
        table.mark(np.arange(4))
        del table
        file = shelf.path / f"{name}.npy"
        file.write_bytes(damaged(file.read_bytes(), changes))
        table = shelf.open(6)
        if table is not None:
            rows = np.flatnonzero(table.present)
            expected = np.arange(30, dtype=np.float32).reshape(6, 5)
            assert rows.max(initial=-1) < 4
            assert np.array_equal(table.arrays["vector"][rows], expected[rows])

    def words(self, value: Any) -> None:
        kind, changes = value
        names, vectors = ["apple", "pear"], np.arange(6, dtype=np.float32).reshape(2, 3)
        if kind == "tsv":
            read_names(self._file("names.tsv", damaged(b"apple\tred apple\npear\tgreen pear\n", changes)))
            return
        if kind == "npz":
            buffer = io.BytesIO()
            np.savez(buffer, words=np.array(names), vectors=vectors)
            content = buffer.getvalue()
        else:
            content = b"apple 0 1 2\npear 3 4 5\n"
        semantic_vectors(self._file(f"words.{kind}", damaged(content, changes)), names)

    def pickle(self, value: Any) -> None:
        protocol, changes = value
        content = {"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": [1, 2], "names": ["a", b"b"], "x": {}}
        isolated.read_here("data", self._file("x.pkl", damaged(pickle.dumps(content, protocol), changes)))

    def pickle_index(self, value: Any) -> None:
        protocol, changes = value
        content = [np.arange(n, dtype=np.uint8) for n in (3, 200, 255)]
        isolated.read_here("index", self._file("x.pkl", damaged(pickle.dumps(content, protocol), changes)))

    def _make_features(self) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        return {"features": rng.normal(size=(20, 4)).astype(np.float32), "labels": np.arange(20) % 4}

    def hdf5(self, value: Any) -> None:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            for name, array in self._features.items():
                file[name] = array
        path = self._file("x.hdf5", damaged(buffer.getvalue(), value))
        read_features(path, self.folder / "work" / "scratch")

    def npz(self, value: Any) -> None:
        compressed, changes = value
        buffer, images = io.BytesIO(), np.zeros((3, 4, 4, 3), np.uint8)
        (np.savez_compressed if compressed else np.savez)(buffer, images=images, **self._features)
        path = self._file("x.npz", damaged(buffer.getvalue(), changes))
        scratch = self.folder / "work" / "scratch"
        (read_images if len(changes) % 2 else read_features)(path, scratch)

    def image(self, value: Any) -> None:
        (kind, frames), changes = value
        rng, buffer = np.random.default_rng(0), io.BytesIO()
        images = [Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)) for _ in range(frames)]
        images[0].save(buffer, kind, **({"save_all": True, "append_images": images[1:]} if frames > 1 else {}))
        pixels = decode(damaged(buffer.getvalue(), changes), Decoding(8))
        assert pixels.shape == (8, 8, 3)

    def archive(self, value: Any) -> None:
        kind, changes = value
        buffer = io.BytesIO()
        if kind == "zip":
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
                for name in ("a/1.txt", "a/2.txt", "b/1.txt"):
                    file.writestr(name, name * 20)
        else:
            with tarfile.open(fileobj=buffer, mode="w:" + kind.removeprefix("tar").removeprefix(".")) as tar:
                for name in ("a/1.txt", "b/1.txt"):
                    member = tarfile.TarInfo(name)
                    member.size = len(name)
                    tar.addfile(member, io.BytesIO(name.encode()))
        inside = self.folder / "work" / "inside" / "deep"
        extract(self._file(f"x.{kind}", damaged(buffer.getvalue(), changes)), inside, limit=1 << 20)
        outside = [path for path in (self.folder / "work").iterdir() if path.name not in ("inside", f"x.{kind}")]
        assert not outside, f"unpacked outside: {outside}"

    def _make_results(self) -> None:
        for name in ("A", "B"):
            correct, classes = np.arange(20) % 5, np.tile([0, 1], (20, 1))
            result = {"dataset": "Made", "split": "test", "fingerprint": "f", "way": 2, "shot": 1, "query": 5}
            result |= {"queries": 10, "seed": 0, "method": name, "transductive": False, "training_seed": 0}
            result |= {"episodes": 20, "mean": 20.0, "ci95": 1.0, "precision": "float32"}
            matrix, bins = np.eye(2, dtype=int), np.zeros((3, 1))
            evaluation = Evaluation(correct, correct, classes, 10, matrix, bins, {})
            folder = self.folder / "runs" / name
            write_files(folder / "eval" / "ebest_2way_1shot" / "test_1s", result_files(result, evaluation, ["x", "y"]))
            (folder / "config.yaml").write_bytes(self._yaml)

    def compared(self, value: Any) -> None:
        name, changes = value
        runs = self.folder / "work" / "runs"
        shutil.copytree(self.folder / "runs", runs)
        (file,) = (runs / "B").rglob(name)
        file.write_bytes(damaged(file.read_bytes(), changes))
        compared = compare([runs / "A", runs / "B"], say=lambda line: None)
        as_tables(compared, form=("text", "csv", "markdown")[len(changes) % 3])
        page("Comparison", comparison_sections(compared))

    def classifier(self, value: Any) -> None:
        sheet, changes = value
        folder = self.folder / "work" / "classifier"
        folder.mkdir()
        text = json.dumps({"version": 1, "classes": ["a", "b"], "config": self._yaml.decode(), "seal": "0" * 64})
        self._file("classifier/classifier.json", damaged(text.encode(), changes if sheet else []))
        self._file("classifier/classifier.pth", damaged(self._checkpoint, [] if sheet else changes))
        self._file("classifier/tensors.pth", self._checkpoint)
        load_classifier(folder, CPU)


STORE = ("manifest.json", "labels.npy", "names.txt", "images.npy")
IMAGES = [("PNG", 1), ("JPEG", 1), ("GIF", 1), ("GIF", 3), ("TIFF", 1), ("TIFF", 2), ("WEBP", 1), ("BMP", 1)]
ARCHIVES = ("zip", "tar", "tar.gz", "tar.xz", "tar.bz2")
RESULTS = ("result.json", "episodes.csv", "config.yaml", "per_class.csv")
