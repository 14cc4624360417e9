"""What a training in front of an audience reaches: digits by flow matching and a VAE, 2-D points by each family.

    python benchmarks/live.py [--threads 1] [--seeds 3]

Targets: recognisable digits from flow matching within 30 s of training (83 % class accuracy at guidance 1), from a VAE
within 6 s, a 2-D set within 10 s for each family. The recipes are those of the Train tab (`zoo.live`). The judge of
digits is the nearest of 20,000 training pictures in their first 50 principal components; the VAE has no classes, so its
figure is the share of samples that lie nearer to a training picture than 95 % of test pictures do. The figures of
points: modes found of 8 (8gaussians), share of samples within three deviations of one, and the energy distance to
held-out points beside that of real points.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor

from gen_models import data, device, zoo
from gen_models.interface import GenerativeModel
from gen_models.models.diffusion import DDPM, FlowMatching
from gen_models.models.gan import GAN, R3GAN, WGANGP
from gen_models.models.vae import VAE, BetaVAE
from gen_models.training import Training


class Nearest:
    """1-nearest-neighbour in the first 50 principal components of training pictures."""

    def __init__(self):
        mnist = data.load("mnist")
        train, test = (mnist.split(name) for name in ("train", "test"))
        x = train.x[:20000].flatten(1)
        self.mean = x.mean(0)
        _, _, self.basis = torch.svd_lowrank(x - self.mean, 50, niter=4)
        self.known, self.label = (x - self.mean) @ self.basis, train.label[:20000]
        distance, found = self.look(test.x[:1000])
        self.real = (found == test.label[:1000]).float().mean().item()
        self.usual = distance.quantile(0.95).item()

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        distance, index = torch.cdist((x.flatten(1) - self.mean) @ self.basis, self.known).min(1)
        return distance, self.label[index]


def trained(model: type, name: str, seed: int, **config) -> tuple[GenerativeModel, float]:
    """The averaged model after the live recipe, and the seconds it took."""
    source = data.load(name)
    entry = zoo.live(model, source.space, name, **config)
    training = Training(zoo.build(entry, seed), source, entry.recipe, seed=seed)
    for _ in training:
        pass
    return training.shown, training.seconds


def last(model: GenerativeModel, n: int, **options) -> Tensor:
    *_, frame = zoo.sample(model, 10_000, n, **options)
    return frame.x


def energy(a: Tensor, b: Tensor) -> float:
    """Energy distance (Szekely and Rizzo, 2013): 2 E|a - b| - E|a - a'| - E|b - b'|."""
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def modes(x: Tensor) -> tuple[int, float]:
    angles = torch.arange(8) * (math.pi / 4)
    centres = torch.stack([angles.cos(), angles.sin()], 1) * 4 / 1.414
    distance, index = torch.cdist(x, centres).min(1)
    near = distance < 3 * 0.5 / 1.414
    return len(index[near].unique()), near.float().mean().item()


def digits(seeds: int) -> None:
    judge = Nearest()
    print(f"judge on 1000 real test digits: {judge.real:.3f}")
    for seed in range(seeds):
        model, seconds = trained(FlowMatching, "mnist", seed)
        wanted = torch.arange(1000) % 10
        for guidance in (1.0, 2.0):
            right = (judge.look(last(model, 1000, steps=8, guidance=guidance))[1] == wanted).float().mean().item()
            print(f"flow matching, seed {seed}: {seconds:.1f} s, class accuracy {right:.3f} at guidance {guidance:g}")
    for seed in range(seeds):
        model, seconds = trained(VAE, "mnist", seed)
        usual = (judge.look(last(model, 1000))[0] < judge.usual).float().mean().item()
        print(
            f"VAE, seed {seed}: {seconds:.1f} s, {usual:.3f} of samples are as near to a digit as 95 % of test digits"
        )


def points(seeds: int) -> None:
    source = data.load("8gaussians")
    held_out, real = (source.split(name).x[:2000] for name in ("test", "valid"))
    print(f"real points: modes {modes(real)[0]}, near one {modes(real)[1]:.3f}, energy {energy(real, held_out):.4f}")
    for model in (VAE, BetaVAE, GAN, WGANGP, R3GAN, FlowMatching, DDPM):
        rows = []
        for seed in range(seeds):
            net, seconds = trained(model, "8gaussians", seed)
            x = last(net, 2000)
            rows.append((seconds, *modes(x), energy(x, held_out)))
        seconds, found, near, distance = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{model.__name__:13} {seconds:5.1f} s  modes {found:g}/8  near one {near:.3f}  energy {distance:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    device.share_cores()  # as the page does
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seeds", type=int, default=3)
    known = parser.parse_args()
    torch.set_num_threads(known.threads)
    print(f"threads {known.threads}, torch {torch.__version__}; points: medians of {known.seeds} seeds")
    points(known.seeds)
    digits(known.seeds)


if __name__ == "__main__":
    main()
