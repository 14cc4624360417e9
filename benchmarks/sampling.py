"""Seconds to draw 16 MNIST digits by diffusion in 10 steps, on as many threads as the page takes.

    python benchmarks/sampling.py [--runs 9]

Target: at most 1.5 s on two cores, solver and guidance at their defaults (Heun, 19 calls of 2 x 16 pictures).
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    device.share_cores()  # as the page does
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}, median of {runs} runs after one warm-up")
    for name in ("diffusion-mnist", "diffusion-fashion", "ddpm-mnist", "gan-mnist", "vae-mnist"):
        model, options = zoo.load(name), {"steps": 10} if name.startswith(("diffusion", "ddpm")) else {}
        seconds, calls = [], 0
        for run in range(runs + 1):
            start = time.perf_counter()
            *_, last = zoo.sample(model, 16 * run, 16, **options)
            seconds.append(time.perf_counter() - start)
            calls = last.calls
        seconds = sorted(seconds[1:])
        print(
            f"{name:20} {calls:3} calls  median {statistics.median(seconds):.3f} s  "
            f"[{seconds[0]:.3f} .. {seconds[-1]:.3f}]"
        )


if __name__ == "__main__":
    main()
