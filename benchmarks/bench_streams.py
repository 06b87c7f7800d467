"""Time and peak memory of preparing what is larger than the memory it may take.

    python benchmarks/bench_streams.py lowshot [--images 1281167] [--dim 512] [--form h5|npz] [--shuffled]
    python benchmarks/bench_streams.py pickles [--megabytes 2000]

`lowshot` generates the features of ImageNet's training and validation images and prepares ImageNet-LowShot from them;
`pickles` generates tieredImagenet's pickles as Python 2 wrote them (PNGs of 84 px as arrays in a list) and prepares
it. Preparing runs in a process of its own, whose peak resident memory is printed; processes that decode hold 64
images each and are not counted.
"""

from __future__ import annotations

import argparse
import json
import pickle
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from core.prepare.catalogue import TIERED

ROWS = 20_000  # generated at once
DIFFERENT = 500  # PNGs that are repeated
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
DTYPE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
PREPARE = """
import json, runpy, sys
sys.argv = json.loads(sys.argv[1])
runpy.run_path(sys.argv[0], run_name="__main__")
status = dict(line.split(":") for line in open("/proc/self/status"))  # getrusage would count the process before exec
print(json.dumps({"peak_mb": round(int(status["VmHWM"].split()[0]) / 1024)}))
"""


def write_features(file: Path, images: int, dim: int, shuffled: bool) -> None:
    """Random features, as evenly spread over 1,000 classes as possible, by class or in random order."""
    rng, labels = np.random.default_rng(0), np.sort(np.arange(images) % 1000)
    if shuffled:
        rng.shuffle(labels)
    if file.suffix == ".npz":
        np.savez(file, all_features=rng.standard_normal((images, dim), np.float32), all_labels=labels)
        return
    import h5py

    with h5py.File(file, "w") as opened:
        features = opened.create_dataset("all_features", (images, dim), "f4")
        opened["all_labels"], opened["count"] = labels, np.array([images])
        for start in range(0, images, ROWS):
            features[start : start + ROWS] = rng.standard_normal((min(ROWS, images - start), dim), np.float32)


def write_pickles(folder: Path, megabytes: int) -> int:
    """All of it in the split `train`, and a few images a class in the others; returns the images."""
    rng, pngs, total = np.random.default_rng(0), [], 0
    for number in range(DIFFERENT):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).resize((84, 84))
        coarse.save(folder / "one.png")
        pngs.append((folder / "one.png").read_bytes() + number.to_bytes(2, "big"))
    mean, words = sum(map(len, pngs)) / len(pngs), TIERED.words()
    for split, names in TIERED.lists().items():
        per_class = round(megabytes * 1e6 / mean / len(names)) if split == "train" else 5
        with (folder / f"{split}_images_png.pkl").open("wb") as file:
            file.write(b"\x80\x02](")
            for number in range(per_class * len(names)):
                png = pngs[number % DIFFERENT]
                shape = b"J" + struct.pack("<i", len(png)) + b"K\x01\x86"
                memo = b"r" + struct.pack("<I", number)  # cPickle remembered every object
                string = b"T" + struct.pack("<i", len(png)) + png + memo
                file.write(b"".join([ARRAY, b"(K\x01", shape, DTYPE, b"\x89", string, b"tb"]))
            file.write(b"e.")
        labels = {"label_specific": np.arange(len(names)).repeat(per_class)}
        labels["label_specific_str"] = [words[name].split(",")[0] for name in names]
        (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels, 2))
        total += per_class * len(names)
    return total


def prepare(name: str, sources: list[Path], root: Path, *options: str) -> dict[str, float]:
    """Run prepare_data.py; returns seconds and peak memory."""
    script = str(Path(__file__).resolve().parents[1] / "experiments" / "prepare_data.py")
    command = [script, name, "--root", str(root), "--allow-deviation", *options, "--from", *map(str, sources)]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, json.dumps(command)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return {"seconds": round(time.perf_counter() - start, 1)} | json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Generate, prepare, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("lowshot", "pickles"))
    parser.add_argument("--images", type=int, default=1_281_167)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--form", choices=("h5", "npz"), default="h5")
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="where to work (default: the temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.what == "lowshot":
            files = [folder / f"features_{part}.{options.form}" for part in ("train", "val")]
            write_features(files[0], options.images, options.dim, options.shuffled)
            write_features(files[1], 50_000, options.dim, options.shuffled)
            costs = prepare("ImageNet-LowShot", files, folder / "data", "--class-ids", "sorted")
            about = {"images": options.images, "dim": options.dim, "form": options.form, "shuffled": options.shuffled}
        else:
            files = [folder]
            about = {"images": write_pickles(folder, options.megabytes)}
            costs = prepare("tieredImagenet", files, folder / "data")
        size = sum(file.stat().st_size for file in folder.glob("*.*") if file.suffix in (".h5", ".npz", ".pkl"))
        print(json.dumps({"what": options.what, **about, "source_mb": round(size / 1e6), **costs}))


if __name__ == "__main__":
    main()
