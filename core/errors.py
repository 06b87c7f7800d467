"""Errors that are the user's to fix."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class UserError(Exception):
    """One sentence for the user: the key or file, the value, the reason, the fix.

    Commands print it without a traceback and exit with code 2 (see `cli.common.run_command`).
    """


@contextmanager
def reworded(words: Mapping[str, str]) -> Iterator[None]:
    """Have a UserError use the words that this user knows: {as it is raised: as it is said}."""
    try:
        yield
    except UserError as error:
        sentence = str(error)
        for raised, said in words.items():
            sentence = sentence.replace(raised, said)
        raise UserError(sentence) from error
