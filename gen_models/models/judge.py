"""Judges: small classifiers whose features and answers measure what generative models draw.

Features of a classifier instead of Inception's: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
Equilibrium (Heusel et al., 2017), arXiv 1706.08500, measures distances in such features.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.interface import BadInput, Batch, Classifies, GenerativeModel, Loss, Range, Space, Turn
from gen_models.nn import quartered

FEATURES = 64


class Judge(GenerativeModel, Classifies):
    """A convolutional classifier that sees each picture a little moved, turned and scaled, and mirrored where that
    keeps its class; its last layer reads 64 features, each the mean of a map over the picture.

    A folded stem reads 2x2 pixels as one; a full one reads every pixel, then halves: dearer, and better on photographs.
    """

    def __init__(
        self,
        space: Space,
        *,
        channels: Annotated[int, Range(8, 128, 8)] = 32,
        network: Literal["residual", "plain"] = "residual",
        stem: Literal["folded", "full"] = "folded",
        mirrored: bool = False,
        turn: Annotated[float, Range(0.0, 0.5, 0.01)] = 0.1,
        shift: Annotated[float, Range(0.0, 0.5, 0.01)] = 0.1,
    ):
        super().__init__(space)
        if space.kind != "image" or not space.labels:
            raise BadInput("A judge needs pictures with classes; choose such a data set.")
        quartered(space)
        self.mirrored, self.turn, self.shift, self.folded = mirrored, turn, shift, stem == "folded"
        block = ResidualNorm if network == "residual" else PlainNorm
        c = channels
        self.body = nn.Sequential(
            *(_normal(4 * space.shape[0], c) if self.folded else (*_normal(space.shape[0], c), nn.MaxPool2d(2))),
            block(c, c),
            *_normal(c, 2 * c),
            nn.MaxPool2d(2),
            block(2 * c, 2 * c),
            *_normal(2 * c, 4 * c),
            nn.MaxPool2d(2),
            block(4 * c, 4 * c),
            *_normal(4 * c, FEATURES),
        )
        self.head = nn.Linear(FEATURES, len(space.labels))

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 64): means over the picture, none below 0."""
        return self.body(F.pixel_unshuffle(x, 2) if self.folded else x).mean((2, 3))

    def classify(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        """Cross-entropy in nats on moved pictures."""
        if batch.label is None:
            raise BadInput("A judge needs pictures with classes; this data has none.")
        logits = self.classify(self.moved(batch.x, turn.rng))
        value = F.cross_entropy(logits, batch.label)
        return Loss(value, {"cross-entropy": value, "accuracy": (logits.argmax(1) == batch.label).float()})

    def moved(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Each picture turned by up to `turn` radians, scaled by as much, shifted by `shift` half widths at most.

        Without a turn the shift is of whole pixels: nothing is blurred that a test picture shows sharply.
        """
        angle, grow, right, down = (2 * torch.rand(4, len(x), generator=rng) - 1).unbind(0)
        angle, grow = self.turn * angle, 1 + self.turn * grow
        flip = torch.where(torch.rand(len(x), generator=rng) < 0.5, -1.0, 1.0) if self.mirrored else torch.ones(len(x))
        cos, sin = grow * angle.cos(), grow * angle.sin()
        right, down = self.shift * right, self.shift * down
        if not self.turn:
            pixels = torch.tensor(x.shape[:1:-1]) / 2  # in half a width, half a height
            right, down = ((move * pixel).round() / pixel for move, pixel in zip((right, down), pixels, strict=True))
        rows = torch.stack([flip * cos, -sin, right, flip * sin, cos, down], 1).view(-1, 2, 3)
        grid = F.affine_grid(rows.to(x), list(x.shape), align_corners=False)
        moved = F.grid_sample(x, grid, padding_mode="border" if self.turn else "reflection", align_corners=False)
        return moved.contiguous(memory_format=torch.channels_last)  # the faster layout of convolutions


def _normal(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


class ResidualNorm(nn.Module):
    """Two normalised 3x3 convolutions, added to their input."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layers = nn.Sequential(*_normal(inputs, outputs), *_normal(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class PlainNorm(nn.Module):
    """One normalised 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layers = nn.Sequential(*_normal(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
