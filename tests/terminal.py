"""A stream that passes for a terminal and keeps what it is shown."""

import io


class Terminal(io.StringIO):
    """A terminal of text."""

    def isatty(self):
        return True
