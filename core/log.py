"""The log of a command."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from .errors import UserError
from .text import visible

BOLD, PLAIN = "\033[1;32m", "\033[0m"


class _Terminal(logging.StreamHandler):
    """Prints above a progress bar. A result is bold and green where the stream is a terminal that may show colours."""

    def emit(self, record: logging.LogRecord) -> None:
        text = visible(self.format(record))
        if getattr(record, "result", False) and self._in_colour():
            first, *rest = text.split("\n", 1)
            text = "\n".join([f"{BOLD}{first}{PLAIN}", *rest])
        try:
            tqdm.write(text, file=self.stream)  # a bar that is on the screen moves below the line
            self.flush()
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)

    def _in_colour(self) -> bool:
        """Whether colours are shown; https://no-color.org says how a user refuses them."""
        refused = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return self.stream.isatty() and not refused


class _File(logging.FileHandler):
    """Writes to a file of the run folder; what the disk refuses ends the command, as for every other file."""

    def __init__(self, file: Path) -> None:
        try:
            super().__init__(file, encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"{file} cannot be written ({error.strerror}); make room, or give another folder."
            ) from error

    def handleError(self, record: logging.LogRecord) -> None:
        """Called where a line could not be written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        logging.getLogger("fiveway").removeHandler(self)
        with suppress(OSError):
            self.close()
        raise _unwritable(self.baseFilename, error)


def _unwritable(file: Path | str, error: OSError) -> UserError:
    return UserError(f"{file} cannot be written ({error.strerror or error}); make room, or give another folder.")


def start_log(file: Path | None = None, quiet: bool = False) -> logging.Logger:
    """The log: to the terminal, unless it is `quiet`, and to a file of the run folder."""
    log = logging.getLogger("fiveway")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in log.handlers:
        handler.close()
    log.handlers = [logging.NullHandler() if quiet else _Terminal(sys.stdout)]
    if file is not None:
        to_file = _File(file)
        to_file.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(to_file)
    return log


def log_result(line: str) -> None:
    """Log a line that the whole command was for; its first line is emphasised at a terminal."""
    logging.getLogger("fiveway").info(line, extra={"result": True})
