"""One random stream per sample, drawn on the CPU, so that sample k depends on seed k alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SEEDS = 2**32  # seeds are 0 .. 2^32 - 1: larger integers change on their way through a browser


def mixed(*parts: int | str) -> int:
    """A 63-bit seed from several numbers or words: the same parts give the same seed in every process.

    The mixing is FNV-1a over the written parts, finished with splitmix64 (Steele, Lea and Flood, 2014).
    """
    state = 0xCBF29CE484222325
    for byte in "\x1f".join(map(str, parts)).encode():
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    state = (state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (state ^ (state >> 31)) >> 1


class Noise:
    """Independent random streams, one per seed; sample k does not depend on the batch, the device or the process."""

    def __init__(self, seeds: Sequence[int], device: str | torch.device = "cpu"):
        self.seeds = tuple(int(seed) for seed in seeds)
        self.device = torch.device(device)
        self._streams = [torch.Generator().manual_seed(seed) for seed in self.seeds]

    def __len__(self) -> int:
        return len(self.seeds)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, (len(seeds), *shape).

        The first draw of a fresh stream equals `torch.randn(shape)` under `manual_seed(seed)`, which is what
        diffusers draws when it is given a list of generators.
        """
        return self._stack([torch.randn(shape, generator=stream) for stream in self._streams], shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (len(seeds), *shape)."""
        return self._stack([torch.rand(shape, generator=stream) for stream in self._streams], shape)

    def choice(self, probabilities: Tensor) -> Tensor:
        """One index per row of `probabilities` (len(seeds), ..., K), drawn by inversion: (len(seeds), ...) int64."""
        cumulative = probabilities.double().cumsum(-1)
        u = self.uniform(*probabilities.shape[1:-1]).double().to(cumulative.device).unsqueeze(-1)
        return (u * cumulative[..., -1:] >= cumulative).sum(-1).clamp_max(probabilities.shape[-1] - 1)

    def at(self, step: int) -> Noise:
        """Fresh streams of (seed, step), whatever was drawn before: branches of a run share their noise."""
        return Noise([mixed(seed, "step", step) for seed in self.seeds], self.device)

    def _stack(self, rows: list[Tensor], shape: tuple[int, ...]) -> Tensor:
        return (torch.stack(rows) if rows else torch.empty(0, *shape)).to(self.device)
