"""Encoding of photographs against a bare loop of the same network with the same batch, and a second call.

    python benchmarks/bench_photos.py --photos DIR [--count 128] [--rounds 3] [--encoder NAME] [--weights FILE]

Prints one JSON line, medians of interleaved rounds, by the wall clock and by the time of the CPU. `rate` is the time of
a loop that decodes photographs, normalises them and asks the network, over ours, which also compares and stores them;
`ready` is the same with a loop that has its images ready. `again` is our time over a second call's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401, I001  (sets OpenMP's wait policy before torch is imported)
import torch

from core.data.pixels import Pixels
from core.predict.network import PhotoNetwork
from core.predict.photos import Photo, readable, support_photos
from core.predict.sources import from_encoder
from core.prepare.images import decode_all


def main() -> None:
    """Parse the command line and measure."""
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("--photos", type=Path, required=True)
    cli.add_argument("--count", type=int, default=128)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--encoder", default="torchvision:mobilenet_v2")
    cli.add_argument("--weights", default="")
    args = cli.parse_args()
    network = from_encoder(args.encoder, args.weights, "own", [], torch.device("cpu"))
    available = support_photos(args.photos)
    photos = available[:: max(1, len(available) // args.count)][: args.count]
    images = ready(network, photos)
    batch = network.encoder(Pixels(network.as_split(pixels_of(network, photos[:1])), network.device)).block
    seconds: dict[str, list[tuple[float, float]]] = {"ready": [], "bare": [], "ours": [], "second": []}
    bare_loop(network, images[: 2 * batch], batch)  # warms up
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as cache:
            seconds["ready"].append(timed(lambda: bare_loop(network, images, batch)))
            seconds["bare"].append(timed(lambda: bare_loop(network, ready(network, photos), batch)))
            for name in ("ours", "second"):
                fresh = [Photo(photo.name, photo.source, photo.label) for photo in photos]
                seconds[name].append(timed(lambda fresh=fresh, cache=cache: encoded(network, fresh, Path(cache))))
    line: dict[str, object] = {"photos": len(photos), "batch": batch}
    for place, clock in enumerate(("wall", "cpu")):
        median = {name: statistics.median(value[place] for value in values) for name, values in seconds.items()}
        ratios = {"rate": median["bare"] / median["ours"], "ready": median["ready"] / median["ours"]}
        ratios["again"] = median["ours"] / median["second"]
        line[clock] = {name: round(ratio, 3) for name, ratio in ratios.items()}
        line[clock] |= {"ms_a_photo": round(1000 * median["ours"] / len(photos), 1)}
    print(json.dumps(line))


def pixels_of(network: PhotoNetwork, photos: list[Photo]) -> object:
    """Decoded pixels [n, S, S, 3]."""
    return decode_all([photo.source for photo in photos], network.decoding).pixels


def ready(network: PhotoNetwork, photos: list[Photo]) -> torch.Tensor:
    """Normalised images [n, 3, S, S]."""
    return Pixels(network.as_split(pixels_of(network, photos)), network.device).gather(torch.arange(len(photos)))


@torch.no_grad()
def bare_loop(network: PhotoNetwork, images: torch.Tensor, batch: int) -> torch.Tensor:
    """The network on ready images, nothing else."""
    return torch.cat([network.folded.backbone(part)["vector"] for part in images.split(batch)])


def encoded(network: PhotoNetwork, photos: list[Photo], cache: Path) -> None:
    """What run_predict.py does with photographs: read, look up, decode, encode and store."""
    network.encode(readable(photos)[0], network.store(cache))


def timed(work: object) -> tuple[float, float]:
    """Seconds by the wall clock, and of the CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
