"""Pictures held in memory as bytes and handed out as floats in [-1, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from gen_models.interface import Batch, Space
from gen_models.noise import mixed


def in_range(x: Tensor) -> Tensor:
    """Bytes 0..255 of any shape as float32 in [-1, 1]."""
    return x.float().div_(127.5).sub_(1)


def in_bytes(x: Tensor) -> Tensor:
    """Pictures in [-1, 1] of any shape as the bytes that they are saved as: uint8, a quarter of the memory."""
    return x.add(1).mul_(127.5).round_().clamp_(0, 255).byte()


class Images:
    """Pictures of one size: uint8 (N, C, H, W) and class indices (N,) int64 or None for each of the three splits.

    `skipped` names what could not be read, each as "file name: reason".
    """

    log_prob = None

    def __init__(self, space: Space, splits: Mapping[str, tuple[Tensor, Tensor | None]], skipped: tuple[str, ...] = ()):
        self.space, self.splits, self.skipped = space, splits, skipped

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        """n pictures of the training split, drawn with replacement: (n, C, H, W) float32."""
        x, label = self.splits["train"]
        rows = torch.randint(len(x), (n,), generator=rng)
        return Batch(in_range(x[rows]), None if label is None else label[rows])

    def split(self, name: Literal["train", "valid", "test"]) -> Batch:
        """Every picture of a split in its own order, converted to float32 (four times the bytes held)."""
        x, label = self.splits[name]
        return Batch(in_range(x), label)


class Stacked:
    """Three random grey pictures stacked as the channels of one: a set whose modes can be counted (1000 for digits).

    Unrolled Generative Adversarial Networks (Metz, Poole, Pfau and Sohl-Dickstein, 2016), arXiv 1611.02163.
    """

    log_prob = None

    def __init__(self, space: Space, images: Images):
        self.space, self._images = space, images

    def _draw(self, name: str, n: int, rng: torch.Generator) -> Batch:
        x = self._images.splits[name][0]
        rows = torch.randint(len(x), (n, 3), generator=rng)
        return Batch(in_range(x[rows].flatten(1, 2)))  # (n, 3, 1, H, W) -> (n, 3, H, W)

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        """n stacks of training pictures, drawn with replacement: (n, 3, H, W) float32."""
        return self._draw("train", n, rng)

    def split(self, name: Literal["train", "valid", "test"]) -> Batch:
        """As many stacks as the split has pictures, all from that split and the same in every process."""
        n = len(self._images.splits[name][0])
        return self._draw(name, n, torch.Generator().manual_seed(mixed("stacked", name)))
