"""Put a data set on disk the way FiveWay reads it: checked, packed and split into train, val and test classes."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.cli import run_command
from core.data.benchmarks import BENCHMARKS, benchmark, is_prepared, prepare
from core.data.store import SPLITS

EPILOG = """examples:
  what there is, and what is on disk already
    python experiments/prepare_data.py --list
  CIFAR-FS from the file of https://www.cs.toronto.edu/~kriz/cifar.html, or from the folder it unpacks to
    python experiments/prepare_data.py CIFAR-FS --from ~/Downloads/cifar-100-python.tar.gz
"""


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)} (in any case)")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="PATH", help="the files you have: archive or folder"
    )
    parser.add_argument("--root", type=Path, default=Path("data"), help="data folder (default: data)")
    parser.add_argument("--list", action="store_true", help="print the data sets and stop")
    arguments = parser.parse_args()
    if not arguments.list and arguments.name is None:
        parser.error("NAME is missing: name a data set, or ask for --list")
    return arguments


def print_list(root: Path) -> None:
    """One line a data set."""
    print(f"{'name':12}{'classes':>12}{'images':>9}{'size':>7}  prepared")
    for found in BENCHMARKS.values():
        lists = found.classes()
        counts = [len(lists[split]) for split in SPLITS]
        classes, images = "/".join(map(str, counts)), found.per_class * sum(counts)
        done = "yes" if is_prepared(root, found) else "no"
        print(f"{found.name:12}{classes:>12}{images:>9}{found.native_size:>4} px  {done}")


def main() -> None:
    """Prepare one data set, or list them all."""
    arguments = parse_arguments()
    root = arguments.root.expanduser()
    if arguments.list:
        return print_list(root)
    found = benchmark(arguments.name, key="NAME")
    already = is_prepared(root, found)
    start = time.perf_counter()
    for split in prepare(root, found, arguments.source):
        seconds, start = time.perf_counter() - start, time.perf_counter()
        folder = root / found.name / f"{split.size}px" / split.name
        print(f"{split.name:6}{len(split.classes):4} classes {len(split.names):7} images  {folder}  {seconds:.1f} s")
    if already:
        print(f"{found.name} was already prepared; nothing was read or written.")


if __name__ == "__main__":
    run_command(main)
