"""What is executed of a document, and that a document that shows something wrong is refused."""

import pytest

from tests.docs.walk import blocks, missing_lines, walk

DOCUMENT = """Text.

```
echo "one 1.5" > a.txt
cat a.txt other.txt
```

```text
one 2.25
...
two
```

```python
number = 1
```

`other.yaml`, a file:

```yaml
A: 1
```

```sh
exit 1
```

```python
from pathlib import Path

assert number == 1 and Path("other.yaml").read_text() == "A: 1\\n"
```
"""


def test_blocks_are_executed_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.txt").write_text("two\n")
    assert walk(DOCUMENT, tmp_path) == "one 1.5\ntwo\n"
    assert [(block.language, block.file) for block in blocks(DOCUMENT)][3] == ("yaml", "other.yaml")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("```\nfalse\ntrue\n```\n", "exit code 1"),
        ("```\necho a\n```\n\n```text\nb\n```\n", "lines that were not printed: ['b']"),
        ("```\nif; then\n```\n", "exit code 2"),
    ],
)
def test_what_fails_ends_the_walk(tmp_path, document, reason):
    with pytest.raises(AssertionError) as error:
        walk(document, tmp_path)
    assert reason in str(error.value)


def test_lines_that_are_left_out(tmp_path):
    assert walk("```\nmake weights\necho a\n```\n", tmp_path, skipped=("make ",)) == "a\n"


def test_numbers_stand_for_any_number():
    assert missing_lines("a  95.04 ± 0.35 %  −1.89 to +1.77", "a 1 ± 2 % +3 to -4.5") == []
    assert missing_lines("a 1 %\n...\n", "b 1 %") == ["a 1 %"]
