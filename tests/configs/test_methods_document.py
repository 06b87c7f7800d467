"""docs/methods.md is what `make docs` writes."""

import runpy

from tests.configs.leaves import ROOT, loaded

SCRIPT = runpy.run_path(str(ROOT.parent / "docs/make_methods.py"))


def written():
    return SCRIPT["document"](lambda leaf: loaded(leaf).cfg)


def test_the_document_is_up_to_date():
    assert SCRIPT["FILE"].read_text() == written(), "docs/methods.md is stale; run `make docs`"


def test_each_method_has_a_row_and_each_claim_a_number():
    text = written()
    assert "| MAML | Finn, Abbeel and Levine" in text
    assert "| episodes | yes | none |" in text  # MAML is transductive
    assert "| `miniImagenet/MAML_N5K1_C4.yaml` | 48.70 ± 1.84 | paper |  |  |  |" in text
    assert "| `CIFAR-FS/ProtoNet_N5K1_C4.yaml` | 55.50 ± 0.70 | paper | 60.08 ± 0.33 | 2 | above |" in text


def test_the_rows_of_the_results_name_yamls_as_they_are():
    """The first line of such a YAML says the same number."""
    runs = SCRIPT["results"]()
    assert len(runs) >= 5
    for leaf, (accuracy, _) in runs.items():
        first = (ROOT / leaf).read_text().splitlines()[0]
        assert f"{accuracy:.2f} +- " in first, leaf
