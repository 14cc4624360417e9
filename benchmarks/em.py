"""EM for a Gaussian mixture beside scikit-learn's: the same points, start, rounds and tolerance, pair by pair.

    python benchmarks/em.py [--points 100000] [--components 32] [--pairs 7] [--threads 1]

Both start from the same k-means++ centres, add the same floor to the variances, and stop by the same rule: a round that
gains less than the tolerance. Target: at least as fast in every pair, and the same mean log-likelihood to 1e-6.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import sklearn.mixture
import torch
from threadpoolctl import threadpool_limits

from gen_models import data
from gen_models.interface import Batch, Turn
from gen_models.models.mixture import GaussianMixture

ROUNDS = 200  # at most
TURN = Turn("", "training", 0, 0.0, torch.Generator())


def started(x: torch.Tensor, components: int, tolerance: float, seed: int) -> GaussianMixture:
    model = GaussianMixture(
        data.DENSITIES["8gaussians"].space,
        components=components,
        restarts=1,
        regularise="add",
        held_out=False,
        tolerance=tolerance,
        patience=1,
    )
    model.double().requires_grad_(False).begin(Batch(x), torch.Generator().manual_seed(seed))
    return model


def ours(model: GaussianMixture, x: torch.Tensor) -> tuple[float, int]:
    start = time.perf_counter()
    while not model.converged and model.rounds < ROUNDS:
        model.update(Batch(x), TURN)
    return time.perf_counter() - start, int(model.rounds)


def theirs(model: GaussianMixture, x: np.ndarray) -> tuple[float, sklearn.mixture.GaussianMixture]:
    """scikit-learn's from where ours is."""
    other = sklearn.mixture.GaussianMixture(
        len(model.mean),
        reg_covar=model.floor,
        tol=model.tolerance,
        max_iter=ROUNDS,
        weights_init=model.logits.softmax(0).numpy(),
        means_init=model.mean.numpy(),
        precisions_init=torch.matrix_exp(-model.log_matrix).numpy(),
    )
    start = time.perf_counter()
    other.fit(x)
    return time.perf_counter() - start, other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--components", type=int, default=32)
    parser.add_argument("--tolerance", type=float, default=1e-4, help="nats")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{args.points} points, {args.components} components, {args.threads} threads, torch {torch.__version__}, "
        f"scikit-learn {sklearn.__version__}"
    )
    ratios = []
    with threadpool_limits(args.threads):
        for pair in range(args.pairs):
            name = list(data.DENSITIES)[pair % len(data.DENSITIES)]
            x = data.load(name).batch(args.points, torch.Generator().manual_seed(pair)).x.double()
            model = started(x, args.components, args.tolerance, pair)
            their_seconds, other = theirs(model, x.numpy())
            seconds, rounds = ours(model, x)
            gap = float(model.log_prob(x).mean()) - other.score(x.numpy())
            ratios.append(their_seconds / seconds)
            print(
                f"{name:13} ours {seconds:6.2f} s, {rounds:3} rounds; scikit-learn's {their_seconds:6.2f} s, "
                f"{other.n_iter_:3} rounds; {ratios[-1]:5.1f} times as fast; log-likelihood differs by {gap:+.1e}"
            )
    print(f"median {statistics.median(ratios):.1f}, least {min(ratios):.1f} times as fast")


if __name__ == "__main__":
    main()
