"""Write the reference that comes with an encoder: what episodes of labelled photographs say about its answers.

    python benchmarks/photo_reference.py --photos DIR --name "24 groceries" --out data/references/FILE.json

Ways and shots that FILE holds already are left as they are, so that an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401, I001  (sets OpenMP's wait policy before torch is imported)
import torch
from dataclasses import replace

from core.files import write_text
from core.predict.classifier import make_head_named
from core.predict.reference import calibrate, usable_shots
from core.predict.references import CURVE, FURTHER, pool_of_photos
from core.predict.sources import from_encoder
from core.predict.store import default_folder

WAYS = (2, 3, 4, 6, 8, 12, 16)
SHOTS = (1, 2, 3, 5, 10)
MOST_SUPPORTS = 90  # of a task: larger ones take minutes


def main() -> None:
    """Parse the command line and write the reference."""
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("--photos", type=Path, required=True)
    cli.add_argument("--name", required=True, help="what the photographs are, for people")
    cli.add_argument("--out", type=Path, required=True)
    cli.add_argument("--encoder", default="torchvision:mobilenet_v2")
    cli.add_argument("--weights", default="")
    cli.add_argument("--heads", nargs="+", default=["RFS", "SimpleShot"])
    cli.add_argument("--seconds", type=float, default=1e9, help="begin no further way and shot after so long")
    args = cli.parse_args()
    begun = time.monotonic()
    network = from_encoder(args.encoder, args.weights, "own", [], torch.device("cpu"))
    pool = replace(pool_of_photos(network, args.photos, network.store(default_folder())), name=args.name)
    base = {name: torch.zeros_like(value[:1]) for name, value in pool.features.items()}  # as for a user
    origin = {"encoder": args.encoder, "sha256": network.origin["sha256"], "image_size": network.image_size}
    content = json.loads(args.out.read_text()) if args.out.is_file() else origin | {"reference": args.name, "heads": {}}
    for name, way, shot in product(args.heads, WAYS, SHOTS):
        tables = content["heads"].setdefault(name, [])
        known = any((table["way"], table["shot"]) == (way, shot) for table in tables)
        if known or way * shot > MOST_SUPPORTS or time.monotonic() - begun > args.seconds:
            continue
        more = [each for each in usable_shots(pool, CURVE) if each > shot and way * each <= MOST_SUPPORTS][:FURTHER]
        calibration = calibrate(make_head_named(network, name), pool, way, shot, more, base)
        tables.append(rounded(calibration.as_dict()))
        write_text(args.out, as_lines(content))
        print(f"{name} {way}-way {shot}-shot  {time.monotonic() - begun:.0f} s", flush=True)


def rounded(value: object) -> object:
    """The same with four decimals."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


def as_lines(content: dict) -> str:
    """JSON with one line for each table."""
    heads = {
        name: "[\n  " + ",\n  ".join(json.dumps(table) for table in tables) + "\n ]"
        for name, tables in content["heads"].items()
    }
    first = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in content.items() if key != "heads")
    body = ",\n ".join(f"{json.dumps(name)}: {tables}" for name, tables in heads.items())
    return f'{{\n{first} "heads": {{\n {body}\n }}\n}}\n'


if __name__ == "__main__":
    main()
