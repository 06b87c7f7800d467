"""Put a data set on disk the way FiveWay reads it: checked, packed and split into train, val and test classes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from os.path import expanduser  # that of pathlib raises where there is no such user
from pathlib import Path

from ..data.datasets import DATASETS, FEATURES, FOLDER, is_prepared
from ..data.store import SPLITS, Split, prepared, read_split, split_dir
from ..prepare.collect import Options
from ..prepare.feature_sets import BASE_CLASSES
from ..prepare.layouts import DEPTH
from ..prepare.lowshot import CLASS_IDS
from ..prepare.prepare import check_prepared, prepare
from ..prepare.remotes import DRIVE
from ..prepare.sources import SOURCES, Source, source
from .common import command_parser

EPILOG = """examples:
  what there is, and what is on disk already
    {command} --list
  CIFAR-FS from the file of https://www.cs.toronto.edu/~kriz/cifar.html, or from the folder it unpacks to
    {command} CIFAR-FS --from ~/Downloads/cifar-100-python.tar.gz
  CUB from its archive, class folders, or CSV lists with a folder of images
    {command} CUB --from CUB_200_2011.tgz
  a folder of class folders, or of train, val and test folders with class folders in them
    {command} folder:~/photos --size 84
  the same where the class folders lie in folders, such as photos/animals/cat
    {command} folder:~/photos --depth 2
  the same with a split of your own: JSON {"train": [classes], ...}, or CSV lines filename,label,split
    {command} folder:~/photos --from split.json
  a file of features of your own, .npz or HDF5: arrays features and labels, optionally classes and splits
    {command} features:~/mine.npz --learned-from LVD-142M
  ImageNet low-shot from features of all its training and validation images
    {command} ImageNet-LowShot --from features_train.h5 features_val.h5 --class-ids sorted
  whether what is on disk is still what was written
    {command} CUB --check
"""


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_parser("prepare", __doc__, EPILOG)
    names = f"one of: {', '.join(DATASETS)} (in any case), or folder:PATH, or features:FILE"
    parser.add_argument("name", nargs="?", metavar="NAME", help=names)
    parser.add_argument(
        "--from",
        dest="sources",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="files that you have (default: a download)",
    )
    parser.add_argument("--root", type=Path, default=Path("data"), help="data folder (default: data)")
    parser.add_argument("--size", type=int, default=0, help="side of the images in pixels (default: native)")
    parser.add_argument("--split-seed", type=int, help="splits the classes of a folder without a split (default: 0)")
    depth = "levels of folders from folder:PATH, or from its train, val and test, to a class (default: 1)"
    parser.add_argument("--depth", type=int, choices=range(1, DEPTH + 1), default=0, help=depth)
    learned = f"data that the network behind features:FILE has seen; '{BASE_CLASSES}' where nothing else"
    parser.add_argument("--learned-from", metavar="DATA", default="", help=learned)
    parser.add_argument(
        "--class-ids", choices=CLASS_IDS, default="", help="order in which features number their classes"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes that decode images (default: one a CPU)")
    parser.add_argument(
        "--allow-deviation", action="store_true", help="accept what differs from the published benchmark"
    )
    parser.add_argument("--check", action="store_true", help="compare what is prepared with its manifest and stop")
    parser.add_argument("--list", action="store_true", help="print the data sets and stop")
    args = parser.parse_args(arguments)
    if not args.list and args.name is None:
        parser.error("NAME is missing: name a data set, or ask for --list")
    if args.size and not 8 <= args.size <= 1024:
        parser.error(f"--size is {args.size}; give 8 to 1024")
    if args.workers < 0 or (args.split_seed or 0) < 0:
        parser.error("--workers and --split-seed cannot be negative")
    return args


def print_list(root: Path) -> None:
    """One line for each data set."""
    print(f"{'name':24}{'classes':>13}{'images':>9}{'size':>7}  prepared  where to get it")
    for known in SOURCES.values():
        dataset, lists = known.dataset, known.dataset.classes()
        classes = "/".join(str(len(lists[split])) for split in SPLITS)
        done = "yes" if is_prepared(root, dataset) else "no"
        size = "vector" if dataset.features else f"{dataset.native_size} px"
        print(f"{dataset.name:24}{classes:>13}{known.images():>9}{size:>7}  {done:8}  {known.where}")
        for file in DRIVE.get(dataset.name, ()):
            print(f"{'':24}download by hand, then --from {file.describe()}")
    for folder in sorted([*root.glob("folder-*/*px"), *root.glob("features-*/features")]):
        if prepared([folder / split for split in SPLITS]):
            print_folder_set(folder)


def print_folder_set(folder: Path) -> None:
    """One line for a prepared set of the user's own, in the columns of the list, with its name in YAMLs."""
    splits = [read_split(folder / split) for split in SPLITS]
    classes, images = "/".join(str(len(s.classes)) for s in splits), sum(len(s.names) for s in splits)
    kind, size = (FEATURES, "vector") if splits[0].features else (FOLDER, f"{splits[0].size} px")
    print(f"{folder.parent.name:24}{classes:>13}{images:>9}{size:>7}  {'yes':8}  {kind}{splits[0].manifest['source']}")


def print_splits(root: Path, splits: list[Split]) -> None:
    """One line for each split, then how classes were split, images that splits share, and deviations."""
    for split in splits:
        folder = split_dir(root, split.dataset, split.size, split.name)
        print(f"{split.name:14}{len(split.classes):4} classes {len(split.names):7} images  {folder}")
    manifest = splits[0].manifest
    if manifest.get("split_by"):
        print(f"classes split by {manifest['split_by']}")
    for pair, count in manifest.get("duplicates_across_splits", {}).items():
        how = "in all features" if splits[0].features else "pixel by pixel"
        print(f"note: {count} images lie in {pair}, equal {how}")
    for key in ("enlarged", "skipped"):
        if manifest.get(key):
            print(f"note: {manifest[key]}")
    if manifest.get("deviation"):
        print(f"DEVIATES from the published benchmark: {manifest['deviation']}")


def run(root: Path, source: Source, options: Options) -> None:
    """Prepare one data set and print its splits."""
    already, start = is_prepared(root, source.dataset, options.size), time.perf_counter()
    splits = prepare(root, source, options)
    seconds, images = time.perf_counter() - start, sum(len(split.names) for split in splits)
    print_splits(root, splits)
    if already:
        print(f"{source.dataset.name} was already prepared; nothing was read or written.")
    else:
        print(f"{images} images in {seconds:.1f} s, {images / seconds:.0f} images/s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare or check one data set, or list them all."""
    args = parse_arguments(arguments)
    root = Path(expanduser(args.root))
    if args.list:
        return print_list(root)
    named = source(args.name)
    if args.check:
        splits = check_prepared(root, named.dataset, args.size)
        print_splits(root, splits)
        print(f"{named.dataset.name} is as it was written: pixels, counts and names agree with the manifests.")
        return None
    options = Options(
        sources=tuple(args.sources),
        size=args.size,
        seed=args.split_seed,
        workers=args.workers,
        allow_deviation=args.allow_deviation,
        class_ids=args.class_ids,
        depth=args.depth,
        learned_from=args.learned_from,
    )
    return run(root, named, options)
