"""Write docs/methods.md: what FiveWay knows of each method, from its class, its YAMLs and docs/results.md."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.build.config import load_config, schemas  # noqa: E402
from core.config import Config  # noqa: E402
from core.methods.base import Method  # noqa: E402
from core.registry import METHODS  # noqa: E402
from core.suites.standings import BAND, band_of  # noqa: E402

FILE = ROOT / "docs/methods.md"
STREAMS = {"episodes": "episodes", "batches": "base images", "both": "episodes and base images"}
NUMBER = r"(\d+\.\d+) ± (\d+\.\d+)"
HEAD = """# Methods

`make docs` writes this page from the methods' docstrings, the YAMLs and [results.md](results.md). The site that it
builds also has a page for each method, with its equation and its arguments (`METHOD.ARGS`).

*Trained on* says what each stage of the method's YAML for Glyphs learns from, in order. In a *transductive* method the
answer to a query depends on the other queries of its task ([transductive.md](transductive.md)). *External data* is what
a method reads beside images. [using.md](using.md) has a shorter list; [add_a_method.md](add_a_method.md) says how to
add a method.

"""
DEVIATIONS = """
## Where they differ from the papers and the authors' code

Everything that is not listed here is meant to be as in the paper and the authors' code. Recipes of training are in the
YAMLs.

"""
ABSENT = """
## Rows of the sources' tables that are not here

* **GCR** (Luo et al., "Few-Shot Learning with Global Class Representations", ICCV 2019). Its table of global classes
  has a learned row for each novel class, and its released training draws episodes from five images of each of these
  classes. The released code keeps the network that is best on the images that it reports; the module that hallucinates
  images and a test of 5-way episodes are missing. A protocol that keeps novel classes out of training has no place for
  the rows of novel classes, so neither the method nor its number is here.
* **Memory Matching Networks** (Cai et al., CVPR 2018). There is no code, and we know the abstract alone: supports are
  written to a memory, and a network that reads it slot by slot predicts the convolutions of the query branch. It does
  not say which convolutions, and how. `MatchingNet` with `fce` is the nearest method here: it also reads the supports
  in sequence, but predicts no weights.
"""
NUMBERS = f"""
## Published numbers

5-way accuracy in percent. The source of each number is in the YAML (`REFERENCE`) and in
[data/published.csv](../data/published.csv); *status* says where it was read: in the paper, in the authors' repository,
or in a secondary source that quotes it. *Ours* is the result of the YAML as it is, where [results.md](results.md) has
one; [a tutorial](tutorials/reproduce_a_row.md) reproduces a row. The *band* is the points that ours may lie off the
published number, {BAND:g} or those of [data/bands.csv](../data/bands.csv); the *verdict* says whether our result
lies in the band, above or below it.

| YAML | published | status | ours | band | verdict |
|---|---|---|---|---|---|
"""


def document(load: Callable[[str], Config]) -> str:
    """The text of docs/methods.md; `load` gives the configuration of a YAML such as Glyphs/ProtoNet_N5K1_C4.yaml."""
    schemas()  # imports every method
    configs = {leaf: load(leaf) for leaf in leaves()}
    rows = [overview(METHODS[name], configs) for name in METHODS]
    deviations = [f"* **{name}**. {text}\n" for name in METHODS if (text := differences(METHODS[name]))]
    runs = results()
    numbers = [number_row(leaf, cfg, runs) for leaf, cfg in configs.items() if cfg.REFERENCE.ACCURACY or leaf in runs]
    table = [
        "| method | paper | trained on | transductive | external data | YAMLs |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    return HEAD + lines(table) + DEVIATIONS + "".join(deviations) + ABSENT + NUMBERS + lines(numbers)


def leaves() -> list[str]:
    """The YAMLs of results, e.g. Glyphs/ProtoNet_N5K1_C4.yaml."""
    files = (ROOT / "configs").glob("*/*.yaml")
    return sorted(f"{file.parent.name}/{file.name}" for file in files if file.parent.name not in ("_base_", "suites"))


def overview(method: type[Method], configs: dict[str, Config]) -> str:
    """The row of a method in the first table."""
    name = method.name
    stages = configs[f"Glyphs/{name}_N5K1_C4.yaml"].STAGE.values()
    trained_on = ", then ".join(STREAMS[stage.STREAM] for stage in stages)
    count = sum(name == cfg.METHOD.NAME for cfg in configs.values())
    words = "word vectors" if "semantics" in method.needs else "none"
    transductive = "yes" if method.transductive else "no"
    return row(name, paper(method), trained_on, transductive, words, f"{count}: `configs/*/{name}[._]*yaml`")


def paper(method: type[Method]) -> str:
    """The first sentence of the module's docstring, which names the paper."""
    text = flat(inspect.getdoc(sys.modules[method.__module__]) or "")
    return text.split(": ", 1)[-1]


def differences(method: type[Method]) -> str:
    """The sentences of the docstrings of a class and its parents that begin with `Differs from`."""
    texts = [inspect.cleandoc(cls.__doc__ or "") for cls in method.__mro__ if issubclass(cls, Method)]
    return " ".join(
        flat(part) for text in texts for part in re.findall(r"^Differs from .*?(?=\n\n|\Z)", text, re.M | re.S)
    )


def results() -> dict[str, tuple[float, float]]:
    """{YAML: (accuracy, half width)} of the runs that a row of results.md names by their YAML."""
    rows = re.findall(rf"^\| `configs/(\S+\.yaml)` \| {NUMBER}", (ROOT / "docs/results.md").read_text(), re.M)
    return {leaf: (float(accuracy), float(interval)) for leaf, accuracy, interval in rows}


def number_row(leaf: str, cfg: Config, runs: dict[str, tuple[float, float]]) -> str:
    """The row of a YAML in the table of numbers."""
    reference, ours = cfg.REFERENCE, runs.get(leaf)
    published = plus_minus(reference.ACCURACY, reference.CI) if reference.ACCURACY else ""
    band = verdict = ""
    if published and ours:
        width = band_of(cfg.DATASET.TEST.NAME, cfg.BACKBONE.NAME, cfg.METHOD.NAME)
        gap = ours[0] - reference.ACCURACY
        band, verdict = f"{width:g}", "within" if abs(gap) <= width else "above" if gap > 0 else "below"
    return row(f"`{leaf}`", published, reference.STATUS, plus_minus(*ours) if ours else "", band, verdict)


def plus_minus(accuracy: float, interval: float) -> str:
    """A number as the documents print it."""
    return f"{accuracy:.2f} ± {interval:.2f}" if interval else f"{accuracy:.2f}"


def row(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def flat(text: str) -> str:
    """One line of text."""
    return " ".join(text.split())


def lines(texts: Iterable[str]) -> str:
    """Texts as lines."""
    return "".join(f"{text}\n" for text in texts)


if __name__ == "__main__":
    FILE.write_text(document(lambda leaf: load_config(ROOT / "configs" / leaf).cfg))
