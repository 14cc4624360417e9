"""How quickly symbols are written one by one: text with and without the cache, digits by pixels, pictures by codes.

    python benchmarks/writing.py [--runs 9]

Targets on two cores: at least 300 characters a second with the cache, and over one full context of 256 at least five
times as fast as the same model without it, pair by pair; 16 PixelCNN digits in at most 4 s.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from gen_models import device, zoo


def took(model, seed: int, n: int, **options) -> float:
    """Seconds of n samples with all their frames."""
    start = time.perf_counter()
    for _ in zoo.sample(model, seed, n, **options):
        pass
    return time.perf_counter() - start


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def text(runs: int) -> None:
    model = zoo.load("transformer-shakespeare")
    context = model.space.size
    took(model, 0, 1, length=context)
    ratios, rates, long = [], [], []
    for run in range(runs):
        model.cached = True
        quick = took(model, run, 1, length=context)
        model.cached = False
        slow = took(model, run, 1, length=context)
        model.cached = True
        ratios.append(slow / quick)
        rates.append(context / quick)
        long.append(1000 / took(model, run, 1, length=1000))
    print(f"characters a second over one context of {context}, with the cache: {spread(rates, 0)}")
    print(f"characters a second over 1000 characters, with the cache: {spread(long, 0)}")
    print(f"times as fast as without it, pair by pair: {spread(ratios)}")


def pictures(runs: int) -> None:
    for name in ("pixelcnn-mnist", "vqvae-mnist"):
        model = zoo.load(name)
        took(model, 0, 16)
        print(f"{name}: 16 digits with all frames in {spread([took(model, 16 * k, 16) for k in range(runs)], 3)} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    device.share_cores()  # as the page does
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}, median of {runs} (least to most)")
    text(runs)
    pictures(runs)


if __name__ == "__main__":
    main()
