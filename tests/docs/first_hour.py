"""Play a newcomer's first hour: the commands of README.md in order, in one terminal, in a fresh clone.

    python3 -m tests.docs.first_hour FOLDER [--short] [--venv DIR] [--without COMMAND...] [--silence SECONDS]

It fails where a command fails, where a traceback is printed, and where nothing is printed for more than five seconds
without a word before it on how long that takes; on a machine that does other work too, for so much longer. The
terminal is a pseudo-terminal, so progress bars show. Data sets and photographs that README.md asks for are made up.
Needs Python alone, as the newcomer has it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.docs.walk import ROOT, blocks

SHORT = "STAGE.meta.EPOCHS=1 STAGE.meta.STEPS=20 STAGE.meta.VAL.EPISODES=50 EVAL.EPISODES=100"
PROMPT = "~$ "  # before each command that is played
EXPLAINS = re.compile(r"\b(seconds|minutes?|hours?|left)\b|\d:\d\d<|\d%")
SIZE = (40, 120)  # lines and columns of the terminal
CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


@dataclass(frozen=True)
class Silence:
    """A pause in what a terminal shows."""

    command: str
    line: str  # what was shown last, two lines
    seconds: float

    @property
    def is_explained(self) -> bool:
        """Whether the line says how long something takes, or how much of it is done."""
        return bool(EXPLAINS.search(self.line))


def script(readme: str, short: bool, venv: str, without: Sequence[str]) -> str:
    """The commands of README.md as one script of bash, each after a line that shows it."""
    lines = []
    for number, block in enumerate(block for block in blocks(readme) if not block.language):
        if number == 1:  # the first block installs; from here on there is data to read
            lines.append("echo 'Data is made up here: half a minute.'; .venv/bin/python -m tests.docs.made_up .")
        for command in block.text.splitlines():
            if command.startswith(tuple(without) or ("\0",)):
                continue
            lines.append(f"printf '%s\\n' {shlex.quote(PROMPT + command)}")
            lines.append(_played(command, short, venv))
    return "\n".join(lines)


def _played(command: str, short: bool, venv: str) -> str:
    """A command as it is run here."""
    if command.startswith("git clone "):
        linked = f" && ln -s {shlex.quote(str(Path(venv).resolve()))} .venv" if venv else ""
        return command.replace("URL", shlex.quote(str(ROOT))) + linked
    if short and re.search(r"run_(trainer|evaluator)\.py", command):
        return f"{command} {SHORT.split()[-1] if 'evaluator' in command else SHORT}"
    return command


def shown(commands: str, folder: Path) -> Iterator[tuple[float, str]]:
    """Run a script at a terminal: (second, text) whenever it shows something; ends with (second, exit code)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    unwanted = ("PYTEST", "PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    environment |= {"TERM": "xterm", "XDG_CACHE_HOME": str(folder / ".cache")}
    shell = subprocess.Popen(
        ["bash", "-ec", commands], cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    started = time.monotonic()
    try:
        while text := os.read(master, 65536):
            yield time.monotonic() - started, text.decode(errors="replace")
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(master)
    yield time.monotonic() - started, f"\nexit code {shell.wait()}\n"


def silences(events: Sequence[tuple[float, str, float]], least: float) -> list[Silence]:
    """The pauses of at least so many seconds in (second, text, load of the machine)."""
    pauses, command, lines, last = [], "", [""], 0.0
    for second, text, load in events:
        if second - last >= least * max(load, 1):
            pauses.append(Silence(command, " / ".join(lines[-2:]), second - last))
        last = second
        lines += [piece.strip() for piece in re.split(r"[\r\n]+", CONTROL.sub("", text)) if piece.strip()]
        command = next((line.removeprefix(PROMPT) for line in lines[::-1] if line.startswith(PROMPT)), command)
    return pauses


def machine_load() -> float:
    """Processes that want to run, for each core, over the last minute."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def play(folder: Path, short: bool, venv: str, without: Sequence[str], least: float) -> list[str]:
    """What is wrong with the first hour, a sentence each; what is shown is printed as it comes."""
    events = []
    for second, text in shown(script((ROOT / "README.md").read_text(), short, venv, without), folder):
        events.append((second, text, machine_load()))
        sys.stdout.write(text)
        sys.stdout.flush()
    everything = "".join(text for _, text, _ in events)
    problems = [] if events[-1][1] == "\nexit code 0\n" else [events[-1][1].strip()]
    problems += ["a traceback"] * everything.count("Traceback (most recent call last)")
    pauses = silences(events, least)
    for pause in pauses:
        print(f"silent for {pause.seconds:.0f} s in `{pause.command}` after: {pause.line}")
    problems += [f"{pause.seconds:.0f} s of silence after: {pause.line}" for pause in pauses if not pause.is_explained]
    print(f"the first hour took {events[-1][0] / 60:.1f} minutes")
    return problems


def main() -> int:
    """Play it, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the clone is made")
    parser.add_argument("--short", action="store_true", help="train for seconds only")
    parser.add_argument("--venv", default="", help="an environment that is used, and nothing is installed")
    parser.add_argument("--without", nargs="*", default=[], help="beginnings of commands that are left out")
    parser.add_argument("--silence", type=float, default=5, help="seconds without a word that are allowed")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    problems = play(options.folder.resolve(), options.short, options.venv, options.without, options.silence)
    for problem in problems:
        print(f"problem: {problem}")
    return bool(problems)


if __name__ == "__main__":
    raise SystemExit(main())
