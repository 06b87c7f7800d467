"""The site that `make docs` builds: each page is reached from the first, and the generated ones say what is known."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from make_configuration import commented_keys, manual
from make_method_pages import argument_meanings, argument_table, markdown, method_pages, slug

from core.build.config import load_config, schemas
from core.config.defaults import KEYS, STAGE_KEYS
from core.config.provenance import flatten
from core.registry import BACKBONES, METHODS, OBJECTIVES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LEAF = "Glyphs/ProtoNet_N5K1_C4.yaml"
GENERATED = {
    f"generated/{name}" for name in ("first_steps", "methods/index", "configuration", "contributing", "changelog")
}


@pytest.fixture(scope="module")
def pages():
    """Those of the methods, with the YAMLs for Glyphs alone: a data set has more than a hundred."""
    schemas()
    leaves = [f"Glyphs/{name}_N5K1_C4.yaml" for name in METHODS] + ["CIFAR-FS/ProtoNet_N5K1_C4.yaml"]
    return method_pages({leaf: load_config(ROOT / "configs" / leaf).cfg for leaf in leaves})


def test_every_page_is_in_a_table_of_contents():
    entries = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)
    listed = {line for entry in entries for line in entry.splitlines() if line and not line.startswith(":")}
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in [*DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md")]}
    assert listed - GENERATED == pages - {"index"}


def test_every_key_is_in_the_manual_with_a_comment():
    comments = dict(commented_keys())
    known = {name for name in flatten(KEYS) if name != "STAGE"} | {
        f"STAGE.<name>.{name}" for name in flatten(STAGE_KEYS)
    }
    assert set(comments) == known
    assert not [name for name, comment in comments.items() if not comment]
    assert comments["DATASET.SEMANTICS"].startswith("File of word vectors")  # above the key, two lines
    assert comments["SEED"].startswith("training seed")  # behind it
    row = "| `EVAL.EPISODES` | `2000` | at least 2 | neither | test episodes; a confidence interval needs two |"
    assert row in manual()


def test_every_method_has_a_page(pages):
    assert {f"{slug(name)}.md" for name in METHODS} == pages.keys() - {"index.md"}
    for name in METHODS:
        assert f"{name} <{slug(name)}>" in pages["index.md"]
        assert f"# {name}\n" in pages[f"{slug(name)}.md"]


@pytest.mark.parametrize("kind", ["methods", "objectives", "backbones"])
def test_every_argument_is_explained(kind):
    """A page shows what the class or a parent says of each argument."""
    registry = {"methods": METHODS, "objectives": OBJECTIVES, "backbones": BACKBONES}[kind]
    known = getattr(schemas(), kind)
    unexplained = [
        f"{name}.{argument}"
        for name in registry
        for argument in known[name].defaults
        if not argument_meanings(registry[name]).get(argument)
    ]
    assert not unexplained


def test_arguments_have_their_values_and_whether_they_may_change_at_test():
    known = schemas().methods
    table = argument_table(METHODS["LaplacianShot"], known["LaplacianShot"])
    assert "| `neighbours` | `2` | at least 1 | yes |" in table
    table = argument_table(METHODS["ProtoNet"], known["ProtoNet"])
    assert "| `metric` | `'squared'` | squared, euclidean, cosine |  |" in table


def test_objectives_and_backbones_are_in_the_manual():
    text = manual()
    assert "### negmargin\n\nCross-entropy with scale \\* margin taken" in text
    assert (
        "| `smoothing` | `0.1` | at least 0 and below 0.5 |  | share of the target that the wrong classes get" in text
    )
    assert "### ResNet12\n" in text


def test_a_page_has_paper_equation_yamls_and_numbers(pages):
    page = pages["protonet.md"]
    assert "Snell, Swersky and Zemel, NeurIPS 2017, <https://arxiv.org/abs/1703.05175>." in page
    assert r"logits -scale \* \|f(q) - c\_n\|^2 (eq. 2)" in page
    assert "| transductive | no |" in page
    assert "| `CIFAR-FS/ProtoNet_N5K1_C4.yaml` | 55.50 ± 0.70 | paper | 60.08 ± 0.33 | 2 | above |" in page
    assert "| CIFAR-FS | Conv4 | 32 | 5 | 1 | 55.50 ± 0.70 |" in page.split("## Published numbers")[1]
    assert "49.68 ± 0.31" in page.split("## Our numbers")[1]  # the mean of three seeds
    assert "| transductive | yes |" in pages["pt-map.md"]
    assert "Differs from the authors' code: no 1e-12" in pages["tim.md"]


def test_plain_text_becomes_markdown_that_shows_it():
    assert markdown("a * b_i <c> `d * e`\n\n\n    x * y") == "a \\* b\\_i \\<c> `d * e`\n\n    x * y"
    assert markdown("See https://a.org/b_c.") == "See <https://a.org/b_c>."


class Links(HTMLParser):
    """The addresses that a page of HTML names."""

    def __init__(self, text):
        super().__init__()
        self.addresses = []
        self.feed(text)

    def handle_starttag(self, _, attributes):
        self.addresses += [value for name, value in attributes if name in ("href", "src") and value]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_site_is_built_without_a_warning_and_its_links_lead_somewhere(tmp_path):
    """`make docs` runs the same command."""
    build = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--nitpicky"]
    run = subprocess.run([*build, "docs", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    pages = list(tmp_path.glob("**/*.html"))
    assert len(pages) > 60
    for page in pages:
        for address in Links(page.read_text()).addresses:
            if not re.match(r"https?:|#|data:|mailto:", address):
                assert (page.parent / address.split("#")[0].split("?")[0]).exists(), f"{page.name} links to {address}"
