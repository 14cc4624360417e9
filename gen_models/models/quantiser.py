"""Quantisers: vectors become codes and codes vectors, with a learned codebook or on a fixed lattice.

Neural Discrete Representation Learning (van den Oord, Vinyals and Kavukcuoglu, 2017), arXiv 1711.00937; its appendix
A.1 is the codebook of moving averages.
Finite Scalar Quantization: VQ-VAE Made Simple (Mentzer, Minnen, Agustsson and Tschannen, 2023), arXiv 2309.15505.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

DECAY = 0.99  # of the moving averages, per step
DEAD = 0.03  # a code is dead below this share of an even use
REVIVED = 0.2  # what a code that was put somewhere else starts with, as a share of an even use
ROUNDS = 10  # of k-means at the start
ROWS = 16384  # vectors that k-means looks at


def straight_through(z: Tensor, q: Tensor) -> Tensor:
    """q, with the gradient of z: what stands behind learns from q, what stands before as if nothing was rounded."""
    return z + (q - z).detach()


class Quantiser(nn.Module, ABC):
    """Vectors (..., dim) <-> codes (...), int64 from 0 to codes - 1. It has no parameters, so no optimizer moves it."""

    codes: int
    dim: int
    commitment: float  # weight of the loss that keeps the encoder close to the codes it chose

    def begin(self, z: Tensor, rng: torch.Generator) -> None:
        """Before step 0: z (N, dim) are what the encoder makes of data."""

    @abstractmethod
    def bounded(self, z: Tensor) -> Tensor:
        """The encoder's output where codes are looked up, (..., dim)."""

    @abstractmethod
    def codes_of(self, z: Tensor) -> Tensor:
        """Bounded vectors (..., dim) -> the nearest code (...)."""

    @abstractmethod
    def vectors(self, codes: Tensor) -> Tensor:
        """Codes (...) -> their vectors (..., dim)."""

    def learn(self, z: Tensor, codes: Tensor, rng: torch.Generator) -> None:
        """Moves the codebook towards the vectors z (N, dim) that chose `codes` (N,)."""


class VectorQuantiser(Quantiser):
    """A learned codebook; each code is the moving mean of the vectors that chose it.

    A code that hardly any vector chooses is put onto a random vector of the batch.
    """

    commitment = 0.25

    def __init__(self, codes: int, dim: int):
        super().__init__()
        self.codes, self.dim = codes, dim
        self.register_buffer("codebook", torch.randn(codes, dim))
        self.register_buffer("share", torch.full((codes,), 1 / codes))  # of all cells, a moving mean
        self.register_buffer("total", self.codebook / codes)  # share times mean vector, a moving mean

    @torch.no_grad()
    def begin(self, z: Tensor, rng: torch.Generator) -> None:
        """k-means, from random vectors of z."""
        z = z[torch.randperm(len(z), generator=rng)[:ROWS].to(z.device)]
        self.codebook.copy_(z[torch.arange(self.codes, device=z.device) % len(z)])
        for _ in range(ROUNDS):
            share, total = self._sums(z, self.codes_of(z))
            self.codebook.copy_(torch.where(share[:, None] > 0, total / share[:, None], self.codebook))
        self.share.copy_(share.clamp_min(REVIVED / self.codes))
        self.total.copy_(self.share[:, None] * self.codebook)

    def bounded(self, z: Tensor) -> Tensor:
        return z

    def codes_of(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):  # a product in bfloat16 would choose neighbours
            flat, codebook = z.detach().reshape(-1, self.dim).to(self.codebook), self.codebook
            distance = codebook.square().sum(1) - 2 * flat @ codebook.T  # but for what all codes share: (N, codes)
        return distance.argmin(1).view(z.shape[:-1])

    def vectors(self, codes: Tensor) -> Tensor:
        return self.codebook[codes]

    @torch.no_grad()
    def learn(self, z: Tensor, codes: Tensor, rng: torch.Generator) -> None:
        share, total = self._sums(z.to(self.codebook), codes)
        self.share.lerp_(share, 1 - DECAY)
        self.total.lerp_(total, 1 - DECAY)
        dead = self.share < DEAD / self.codes
        if dead.any():
            found = z[torch.randint(len(z), (int(dead.sum()),), generator=rng).to(z.device)].to(self.codebook)
            self.share[dead] = REVIVED / self.codes
            self.total[dead] = REVIVED / self.codes * found
        self.codebook.copy_(self.total / self.share[:, None])

    def _sums(self, z: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Each code's share of the vectors (codes,), and the share times the mean of its vectors (codes, dim)."""
        share = torch.bincount(codes, minlength=self.codes).to(z) / len(z)
        return share, torch.zeros_like(self.codebook).index_add_(0, codes, z) / len(z)


class FiniteScalarQuantiser(Quantiser):
    """Every number of the vector is rounded to one of a few levels; the codes are all their combinations.

    Nothing is learnt here, so nothing can die: vectors lie in [-1, 1] and codes count the levels in mixed base.
    """

    commitment = 0.0  # the encoder cannot run away: its output is bounded

    def __init__(self, levels: tuple[int, ...]):
        super().__init__()
        self.codes, self.dim = math.prod(levels), len(levels)
        centre = torch.tensor([(level - 1) / 2 for level in levels])
        base = torch.tensor([math.prod(levels[:i]) for i in range(len(levels))])
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("centre", centre, persistent=False)
        self.register_buffer("base", base, persistent=False)

    def bounded(self, z: Tensor) -> Tensor:
        """Between -1 and 1, and a little beyond, so that the outermost levels are as wide as the others."""
        return torch.tanh(z.float()) * (1 + 0.49 / self.centre)

    def codes_of(self, z: Tensor) -> Tensor:
        place = (z.detach() * self.centre + self.centre).round().long().clamp_min(0)
        return (torch.minimum(place, self.levels - 1) * self.base).sum(-1)

    def vectors(self, codes: Tensor) -> Tensor:
        return (codes[..., None] // self.base % self.levels - self.centre) / self.centre
