"""Odd files that data sets and word vectors are read from, and odd splits on disk."""

from __future__ import annotations

import io
import json
import pickle
import resource
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st
from PIL import Image

from core.data.store import read_split, split_dir, verify_split
from core.data.words import read_names, semantic_vectors
from core.prepare import isolated
from core.prepare.feature_files import read_features, read_images
from core.prepare.images import Decoding, decode
from core.prepare.split_files import classes_of_rows, read_class_lists, read_rows
from tests.fuzz.bench import Bench
from tests.fuzz.damage import altered, changes, damaged, edits, values

STORE = ("manifest.json", "labels.npy", "names.txt", "images.npy")
IMAGES = [("PNG", 1), ("JPEG", 1), ("GIF", 1), ("GIF", 3), ("TIFF", 1), ("TIFF", 2), ("WEBP", 1), ("BMP", 1)]
MODES = ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK", "F"]
DTYPES = ["<f4", ">f8", "<f2", "<i8", "|u1", "|S3", "<U2", "|O", "|V4", "<c8", "|b1", "<M8[s]", "<f4,<i4"]
ARRAYS = ("features", "all_features", "vector", "labels", "all_labels", "label", "count", "classes", "images", "x")
# Lines of a pickle: a program that makes and changes objects.
OPCODES = [
    *(b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy._core.multiarray\n_reconstruct\n", b"cos\nsystem\n"),
    *(
        b"cnumpy._core.numeric\n_frombuffer\n",
        b"ccollections\nOrderedDict\n",
        b"cbuiltins\neval\n",
        b"c_codecs\nencode\n",
    ),
    *(b"(", b"t", b"R", b"b", b"l", b"d", b"s", b"a", b"e", b"u", b"0", b"1", b"2", b"N", b"]", b")", b"}", b"."),
    *(b"\x85", b"\x86", b"\x87", b"\x94", b"\x93", b"\x81", b"\x92", b"q\x00", b"h\x00", b"q\x01", b"h\x01"),
    *(b"S'O8'\n", b"S'u1'\n", b"S'|'\n", b"S'C'\n", b"C\x0812345678", b"I4\n", b"I0\n", b"I-1\n", b"I999999999999\n"),
    *(
        b"J\xff\xff\xff\x7f",
        b"U\x01a",
        b"X\x01\x00\x00\x00a",
        b"\x8c\x02u1",
        b"P1\n",
        b"Q",
        b"i\nos\n",
        b"o",
        b"\x82\x01",
    ),
]


class DataFiles:
    """Files of data sets."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        rng = np.random.default_rng(0)
        self.features = {"features": rng.normal(size=(20, 4)).astype(np.float32), "labels": np.arange(20) % 4}
        shape = st.lists(st.integers(0, 5), max_size=4)
        arrays = st.dictionaries(st.sampled_from(ARRAYS), st.tuples(st.sampled_from(DTYPES), shape), max_size=4)
        number, lines = st.integers(0, 5), st.lists(st.sampled_from(OPCODES), max_size=40)
        self.targets: dict[str, tuple[Any, Any]] = {
            "split files": (st.tuples(st.sampled_from(["csv", "json"]), edits), self.split_file),
            "class lists": (changes, self.class_lists),
            "stores": (st.tuples(st.sampled_from(STORE), edits), self.store),
            "manifests": (changes, self.manifest),
            "word vectors": (st.tuples(st.sampled_from(["txt", "npz", "tsv"]), edits), self.words),
            "pickles": (st.tuples(number, edits), self.pickle),
            "pickles of other objects": (st.tuples(number, values), self.other_pickle),
            "pickles as programs": (st.tuples(st.sampled_from(["data", "index"]), lines), self.program),
            "pickles of lists of images": (st.tuples(number, edits), self.pickle_index),
            "HDF5": (edits, self.hdf5),
            "HDF5 of other arrays": (
                st.tuples(arrays, st.sampled_from(["", "group", "link", "external"])),
                self.other_hdf5,
            ),
            "npz": (st.tuples(st.booleans(), edits), self.npz),
            "npz of other arrays": (st.tuples(arrays, st.booleans(), edits), self.other_npz),
            "images": (st.tuples(st.sampled_from(IMAGES), edits), self.image),
            "images of other kinds": (
                st.tuples(
                    *map(st.sampled_from, (IMAGES, MODES)), st.tuples(*[st.integers(1, 40)] * 2), st.binary(max_size=40)
                ),
                self.other_image,
            ),
        }

    def split_file(self, value: Any) -> None:
        """A split file with damaged bytes."""
        kind, harm = value
        rows = "filename,label,split\n" + "".join(f"{n}.png,c{n % 3},train\n" for n in range(9))
        lists = json.dumps({"train": ["a", "b"], "val": ["c"], "test": ["d"]})
        if kind == "csv":
            file = self.bench.file("split.csv", damaged(rows.encode(), harm))
            classes_of_rows(read_rows(file), file)
        else:
            read_class_lists(self.bench.file("split.json", damaged(lists.encode(), harm)))

    def class_lists(self, value: Any) -> None:
        """A JSON file of classes that holds something else."""
        lists = {"train": ["a", "b"], "val": {"classes": ["c"]}, "test": ["d"]}
        read_class_lists(self.bench.file("split.json", json.dumps(altered(lists, value)).encode()))

    def _open_store(self, name: str, content: bytes) -> None:
        """A split with another file in it, as far as the first images of an episode."""
        folder = self.bench.work / "split"
        shutil.copytree(split_dir(self.bench.root, "Glyphs", 16, "test"), folder)
        (folder / name).write_bytes(content)
        split = read_split(folder)
        verify_split(split, folder)
        split.images[:4].sum()

    def store(self, value: Any) -> None:
        """A split with one damaged file."""
        name, harm = value
        file = split_dir(self.bench.root, "Glyphs", 16, "test") / name
        self._open_store(name, damaged(file.read_bytes(), harm))

    def manifest(self, value: Any) -> None:
        """A manifest that says something else."""
        file = split_dir(self.bench.root, "Glyphs", 16, "test") / "manifest.json"
        self._open_store(file.name, json.dumps(altered(json.loads(file.read_text()), value)).encode())

    def words(self, value: Any) -> None:
        """A damaged file of word vectors, or of the names of classes."""
        kind, harm = value
        names, vectors = ["apple", "pear"], np.arange(6, dtype=np.float32).reshape(2, 3)
        if kind == "tsv":
            read_names(self.bench.file("names.tsv", damaged(b"apple\tred apple\npear\tgreen pear\n", harm)))
            return
        if kind == "npz":
            buffer = io.BytesIO()
            np.savez(buffer, words=np.array(names), vectors=vectors)
            content = buffer.getvalue()
        else:
            content = b"apple 0 1 2\npear 3 4 5\n"
        semantic_vectors(self.bench.file(f"words.{kind}", damaged(content, harm)), names)

    def _read_pickle(self, kind: str, content: bytes) -> None:
        """Read a pickle in this process, which gets as much more memory as the reader's own process would have."""
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        memory = pages * resource.getpagesize() + isolated.MEMORY[0] + isolated.MEMORY[1] * len(content)
        before = resource.getrlimit(resource.RLIMIT_AS)
        file = self.bench.file("x.pkl", content)
        resource.setrlimit(resource.RLIMIT_AS, (memory, before[1]))
        try:
            isolated.read_here(kind, file)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    def pickle(self, value: Any) -> None:
        """A damaged pickle."""
        protocol, harm = value
        content = {"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": [1, 2], "names": ["a", b"b"], "x": {}}
        self._read_pickle("data", damaged(pickle.dumps(content, protocol), harm))

    def other_pickle(self, value: Any) -> None:
        """A pickle of any values."""
        protocol, content = value
        self._read_pickle("data", pickle.dumps({"data": content}, protocol))

    def program(self, value: Any) -> None:
        """A pickle put together from opcodes."""
        kind, lines = value
        self._read_pickle(kind, b"\x80\x04" + b"".join(lines) + b".")

    def pickle_index(self, value: Any) -> None:
        """A damaged pickle of a list of images."""
        protocol, harm = value
        content = [np.arange(n, dtype=np.uint8) for n in (3, 200, 255)]
        self._read_pickle("index", damaged(pickle.dumps(content, protocol), harm))

    def hdf5(self, value: Any) -> None:
        """A damaged HDF5 file."""
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            for name, array in self.features.items():
                file[name] = array
        read_features(self.bench.file("x.hdf5", damaged(buffer.getvalue(), value)), self.bench.work / "scratch")

    def other_hdf5(self, value: Any) -> None:
        """An HDF5 file of other arrays, and one that is none or lies elsewhere."""
        arrays, trick = value
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            for name, array in self.features.items():
                file[name] = array
            for name, (dtype, shape) in arrays.items():
                if name in file:
                    del file[name]
                if np.dtype(dtype).kind not in "UOM":
                    file.create_dataset(name, tuple(shape), dtype)
            if trick:
                file.pop("features", None)
                tricks = {"link": h5py.SoftLink("/features"), "external": h5py.ExternalLink("/etc/passwd", "x")}
                file.create_group("features") if trick == "group" else file.__setitem__("features", tricks[trick])
        read_features(self.bench.file("x.hdf5", buffer.getvalue()), self.bench.work / "scratch")

    def npz(self, value: Any) -> None:
        """A damaged .npz file of features and images."""
        compressed, harm = value
        buffer, images = io.BytesIO(), np.zeros((3, 4, 4, 3), np.uint8)
        (np.savez_compressed if compressed else np.savez)(buffer, images=images, **self.features)
        path = self.bench.file("x.npz", damaged(buffer.getvalue(), harm))
        (read_images if len(harm) % 2 else read_features)(path, self.bench.work / "scratch")

    def other_npz(self, value: Any) -> None:
        """An .npz file whose check sums are right, and whose arrays are others, or have damaged headers."""
        arrays, of_images, harm = value
        buffer = io.BytesIO()
        images = {"images": np.zeros((3, 4, 4, 3), np.uint8)}
        made = self.features | images | {name: np.zeros(shape, dtype) for name, (dtype, shape) in arrays.items()}
        with zipfile.ZipFile(buffer, "w") as file:
            for number, (name, array) in enumerate(made.items()):
                content = io.BytesIO()
                np.lib.format.write_array(content, array, allow_pickle=True)
                file.writestr(f"{name}.npy", damaged(content.getvalue(), harm if number == len(arrays) else []))
        path = self.bench.file("x.npz", buffer.getvalue())
        (read_images if of_images else read_features)(path, self.bench.work / "scratch")

    def image(self, value: Any) -> None:
        """A damaged image file."""
        (kind, frames), harm = value
        rng, buffer = np.random.default_rng(0), io.BytesIO()
        images = [Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)) for _ in range(frames)]
        images[0].save(buffer, kind, **({"save_all": True, "append_images": images[1:]} if frames > 1 else {}))
        pixels = decode(damaged(buffer.getvalue(), harm), Decoding(8))
        assert pixels.shape == (8, 8, 3)

    def other_image(self, value: Any) -> None:
        """A whole image of another mode and size, with odd metadata."""
        (kind, frames), mode, size, extra = value
        buffer, image = io.BytesIO(), Image.new(mode, size)
        more = {"append_images": [image] * (frames - 1), "save_all": True} if frames > 1 else {}
        try:
            image.save(buffer, kind, exif=b"Exif\0\0" + extra, icc_profile=extra, **more)
        except (OSError, ValueError, KeyError, SyntaxError):  # the format has no such mode, or refuses the metadata
            return
        assert decode(buffer.getvalue(), Decoding(8, as_published=len(extra) % 2 > 0)).shape == (8, 8, 3)
