"""The manual of the configuration on the site: every key, its default and its comment in core/config/defaults.py."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator

from make_method_pages import DIFFERENCES, SECTIONS, argument_table, docstring, markdown, table_head
from make_methods import ROOT, lines, row

from core.build.config import schemas
from core.config.defaults import find_key
from core.config.keys import Key
from core.config.schema import Classes
from core.registry import BACKBONES, OBJECTIVES, Registry

SOURCE = ROOT / "core/config/defaults.py"
COLUMNS = ("key", "default", "values", "a change", "meaning")
HEAD = """# Configuration

Written from `core/config/defaults.py`. A YAML below `configs/` sets some of these keys, the command line sets any of
them (`EVAL.EPISODES=600`), and `--print-config diff` shows where each value comes from. Types are those of the
defaults, and unknown keys are refused. `METHOD.ARGS`, `BACKBONE.ARGS` and `OBJECTIVE.ARGS` hold the arguments of the
class that `NAME` names: for methods, see [their pages](methods/index.md), for the others [below](#objectives).

*A change* says what another value does to a result:

| word | |
|---|---|
| trains | other weights are learned: another recipe |
| varies | only the recipe's draws or its rounding differ |
| encodes | the features of a test image change |
| measures | another quantity is measured at test |
| inherited | other keys take this value where they are left empty |
| neither | the quantity stays what it is |

"""


def manual() -> str:
    """The page: a table for each group of keys, in the order of the file."""
    groups: dict[str, list[str]] = {}
    for name, comment in commented_keys():
        entry = find_key(name.replace("STAGE.<name>", "STAGE.meta"))
        if entry is not None:
            groups.setdefault(name.split(".")[0] if "." in name else "The run", []).append(
                key_row(name, entry, comment)
            )
    parts = [f"## {group}\n\n{table_head(COLUMNS)}{lines(rows)}" for group, rows in groups.items()]
    parts.append(classes("Objectives", OBJECTIVES, schemas().objectives))
    parts.append(classes("Backbones", BACKBONES, schemas().backbones))
    return HEAD + "\n".join(parts)


def classes(title: str, registry: Registry, known: Classes) -> str:
    """What each class of a registry is, and its ARGS; pretrained encoders have a page of their own."""
    parts = [f"## {title}\n"]
    for name in registry:
        text = markdown(SECTIONS.sub("", DIFFERENCES.sub("", docstring(registry[name]))))
        parts.append(f"### {name}\n\n{text}\n\n{argument_table(registry[name], known[name])}")
    return "\n".join(parts)


def key_row(name: str, entry: Key, comment: str) -> str:
    """The row of a key."""
    default = f'`"{entry.default}"`' if isinstance(entry.default, str) else f"`{entry.default}`"
    values = ", ".join(f"`{word}`" for word in entry.choices if word)
    if entry.least is not None:
        values = f"at least {entry.least:g}"
    if entry.below is not None:
        values += f", below {entry.below:g}"
    return row(f"`{name}`", default, values, ", ".join(sorted(entry.roles)), markdown(comment))


def commented_keys() -> Iterator[tuple[str, str]]:
    """(name, comment) of each key of KEYS and STAGE_KEYS, in the order of the file."""
    source = SOURCE.read_text(encoding="utf-8")
    comments = _comments(source)
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
            prefix = {"KEYS": "", "STAGE_KEYS": "STAGE.<name>."}.get(ast.unparse(node.target))
            if prefix is not None:
                yield from _entries(node.value, prefix, comments)


def _entries(tree: ast.Dict, prefix: str, comments: dict[int, tuple[str, bool]]) -> Iterator[tuple[str, str]]:
    """The keys of a dict in the source with the comments that stand above them or behind them."""
    for word, value in zip(tree.keys, tree.values, strict=True):
        assert isinstance(word, ast.Constant)
        name = f"{prefix}{word.value}"
        if isinstance(value, ast.Dict) and value.keys:
            yield from _entries(value, f"{name}.", comments)
        elif not isinstance(value, ast.Dict):
            yield name, _comment(word.lineno, value.end_lineno or word.lineno, comments)


def _comment(first: int, last: int, comments: dict[int, tuple[str, bool]]) -> str:
    """The comment lines right above the first line of an entry, then those on its lines."""
    above = first - 1
    while above in comments and comments[above][1]:
        above -= 1
    return " ".join(comments[line][0] for line in range(above + 1, last + 1) if line in comments)


def _comments(source: str) -> dict[int, tuple[str, bool]]:
    """{line: (comment, whether nothing else stands on the line)}."""
    comments = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            comments[token.start[0]] = (token.string.lstrip("# "), alone)
    return comments
