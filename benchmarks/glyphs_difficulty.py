"""How hard Glyphs is: nearest neighbour on pixels, an untrained Conv4 and, with --train SECONDS, a trained ProtoNet.

    python benchmarks/glyphs_difficulty.py [--split test] [--size 32] [--train 60] [--episodes-limit 1450]

Each figure is the mean accuracy of the same 1,000 episodes, 5-way 1-shot with 15 queries a class.
"""

import argparse
import ctypes
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.data.glyphs import NAME, render_glyphs
from core.data.store import Split, read_split, split_dir

WAY, SHOT, QUERY, EPISODES = 5, 1, 15, 1000


def tune_malloc() -> None:
    """Keep large activations on the heap: with glibc's defaults each one is mapped and unmapped at every step."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 256 << 20)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            libc.mallopt(option, value)


def pixels(split: Split) -> Tensor:
    """All images of a split in -1..1, [M, 3, H, W]."""
    images = torch.from_numpy(np.array(split.images)).permute(0, 3, 1, 2)
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def conv4() -> nn.Sequential:
    """The usual four blocks of 64 channels."""
    layers: list[nn.Module] = []
    for channels in (3, 64, 64, 64):
        layers += [nn.Conv2d(channels, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten()).to(memory_format=torch.channels_last)


def episode(counts: np.ndarray, way: int, shot: int, query: int, rng: np.random.Generator) -> Tensor:
    """Image ids of one episode, [way, shot + query]."""
    starts = np.cumsum(counts) - counts
    chosen = rng.choice(len(counts), way, replace=False)
    return torch.from_numpy(np.stack([starts[c] + rng.permutation(counts[c])[: shot + query] for c in chosen]))


def scores(features: Tensor, shot: int) -> tuple[Tensor, Tensor]:
    """Logits and labels of the queries of an episode; `features` is [way, shot + query, C]."""
    prototypes, queries = features[:, :shot].mean(1), features[:, shot:]
    way, query = queries.shape[:2]
    logits = -torch.cdist(queries.reshape(way * query, -1), prototypes).square()
    return logits, torch.arange(way).repeat_interleave(query)


def accuracy(features: Tensor, split: Split, shot: int = SHOT, seed: int = 0) -> float:
    """Mean accuracy in per cent over EPISODES episodes of features [M, C]."""
    rng = np.random.default_rng(seed)
    total = 0.0
    for _ in range(EPISODES):
        logits, labels = scores(features[episode(split.counts, WAY, shot, QUERY, rng)], shot)
        total += (logits.argmax(1) == labels).float().mean().item()
    return 100 * total / EPISODES


@torch.no_grad()
def embed(net: nn.Module, images: Tensor) -> Tensor:
    """Features of all images."""
    return torch.cat([net(batch) for batch in images.split(50)])


def untrained(images: Tensor, split: Split, batch_statistics: bool, seeds: int = 3) -> list[float]:
    """Accuracies of Conv4 at its initialisation, with BatchNorm at its default or at its batch statistics."""
    found = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        found.append(accuracy(embed(conv4().train(batch_statistics), images), split))
    return found


def train(split: Split, seconds: float, limit: int, query: int, seed: int = 0) -> tuple[nn.Module, int]:
    """A ProtoNet trained 20-way 1-shot with Adam, and the number of its episodes."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images, net = pixels(split), conv4()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    start, done = time.perf_counter(), 0
    while done < limit and time.perf_counter() - start < seconds:
        ids = episode(split.counts, 20, SHOT, query, rng)
        features = net(images[ids.flatten()].contiguous(memory_format=torch.channels_last))
        logits, labels = scores(features.view(20, SHOT + query, -1), SHOT)
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
        done += 1
    return net.eval(), done


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where packed data sets lie")
    parser.add_argument("--split", default="test", choices=("val", "test"))
    parser.add_argument("--size", type=int, default=32, help="pixels")
    parser.add_argument("--train", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--episodes-limit", type=int, default=sys.maxsize, help="stop training after so many episodes")
    parser.add_argument("--train-query", type=int, default=5, help="queries a class of a training episode")
    options = parser.parse_args()
    tune_malloc()
    render_glyphs(options.root, options.size)
    split = read_split(split_dir(options.root, NAME, options.size, options.split))
    images = pixels(split)
    print(f"pixels, nearest neighbour          {accuracy(images.flatten(1), split):.1f} %")
    for name, batch_statistics in (("default BN statistics", False), ("batch BN statistics", True)):
        found = untrained(images, split, batch_statistics)
        print(f"untrained Conv4, {name:<22}{np.mean(found):.1f} % ({', '.join(f'{one:.1f}' for one in found)})")
    if options.train:
        base = read_split(split_dir(options.root, NAME, options.size, "train"))
        net, done = train(base, options.train, options.episodes_limit, options.train_query)
        features = embed(net, images)
        one, five = accuracy(features, split), accuracy(features, split, shot=5)
        print(f"ProtoNet after {done} episodes       {one:.1f} % 1-shot, {five:.1f} % 5-shot")


if __name__ == "__main__":
    main()
