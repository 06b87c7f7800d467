"""Tables in every form."""

from core.report.tables import Cell, Table, as_csv, as_latex, as_markdown, as_text, ranked

TABLE = Table(["run", "5-way"], [[Cell("a_b†"), Cell("71.00 ± 0.20 %", 1)], [Cell("c"), Cell("9.5", 2)]], "a note")


def test_text_is_aligned():
    assert as_text(TABLE).splitlines() == [
        "run            5-way",
        "a_b†  71.00 ± 0.20 %",
        "c                9.5",
        "a note",
    ]


def test_markdown_marks_the_best():
    assert as_markdown(TABLE).splitlines() == [
        "| run | 5-way |",
        "| --- | ---: |",
        "| a_b† | **71.00 ± 0.20 %** |",
        "| c | <u>9.5</u> |",
        "",
        "a note",
    ]


def test_latex_is_booktabs_and_escaped():
    assert as_latex(TABLE).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"run & 5-way \\",
        r"\midrule",
        r"a\_b$^\dagger$ & \textbf{71.00 $\pm$ 0.20 \%} \\",
        r"c & \underline{9.5} \\",
        r"\bottomrule",
        r"\end{tabular}",
        "% a note",
    ]


def test_ranks():
    assert ranked([3, 5, 5, 4, 1]) == [0, 1, 1, 2, 0]
    assert ranked([3]) == [0]


def test_csv_quotes():
    assert as_csv(["a", "b"], [["x, y", 1.5]]) == 'a,b\n"x, y",1.5'
