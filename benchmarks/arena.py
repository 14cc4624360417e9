"""How often the Arena redraws with all families in training together, and what each reaches in that time.

    python benchmarks/arena.py [--data 8gaussians] [--seconds 8] [--runs 3] [--threads 1]

Target: at least 5 redraws a second on two cores. A redraw is everything that the server does for one: a slice of
training for each family, samples, density, critic and figures of each, written as JSON. The browser draws at the same
time on the other core and is not in these figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from gen_models import data, zoo
from gen_models.ui.arena.show import Show
from gen_models.ui.arena.tab import MODELS


def race(name: str, seconds: float, seed: int) -> tuple[float, float, dict]:
    """Redraws per second, seconds of measuring at the end, and the last update."""
    source = data.load(name)
    settings = {key: zoo.Setting(model) for key, model in MODELS.items()}
    contest = zoo.Contest(settings, source, data_name=name, seed=seed, seconds=seconds)
    show = Show(contest, source, {"key": name, "title": name}, "", None)
    begun, redraws = time.perf_counter(), 0
    while contest.advance():
        json.dumps(show.update("training"))
        redraws += 1
    trained = time.perf_counter()
    *_, last = show.ending("done")
    return redraws / (trained - begun), time.perf_counter() - trained, last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="8gaussians")
    parser.add_argument("--seconds", type=float, default=8.0, help="of training for each family")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    race(args.data, 0.3, 0)  # warm
    paces, ends = [], []
    for seed in range(args.runs):
        pace, end, last = race(args.data, args.seconds, seed)
        paces.append(pace)
        ends.append(end)
        for row in last["table"]["rows"]:
            cells = {key: cell["text"] for key, cell in row["cells"].items()}
            print(
                f"seed {seed}  {row['title']:24}", "  ".join(f"{key} {text}" for key, text in cells.items()), flush=True
            )
    print(
        f"{len(MODELS)} families: {statistics.median(paces):.1f} redraws/s (from {min(paces):.1f} to {max(paces):.1f})"
    )
    print(f"figures at the end: {statistics.median(ends):.1f} s")


if __name__ == "__main__":
    main()
