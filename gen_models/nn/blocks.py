"""Perceptrons, residual blocks, attention over small maps, time features, and the networks made of them."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.interface import BadInput, Space


def mlp(sizes: list[int], activation: type[nn.Module] = nn.SiLU) -> nn.Sequential:
    """Linear layers of these sizes with an activation between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def zero(layer: nn.Module) -> nn.Module:
    """The layer with all parameters at 0: a residual branch that starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def quartered(space: Space) -> tuple[int, int]:
    """Height and width after two halvings; BadInput when a picture cannot be halved twice."""
    if len(space.shape) != 3 or space.shape[1] % 4 or space.shape[2] % 4 or min(space.shape[1:]) < 8:
        raise BadInput(f"This network needs pictures whose sides are multiples of 4 and at least 8, not {space.shape}.")
    return space.shape[1] // 4, space.shape[2] // 4


class TimeFeatures(nn.Module):
    """t in [0, 1] as sines and cosines of log-spaced frequencies: (B,) -> (B, width)."""

    def __init__(self, width: int, fastest: float = 16.0):
        super().__init__()
        frequencies = torch.exp(torch.linspace(math.log(0.5), math.log(fastest), width // 2)) * math.pi
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], -1)


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions; the embedding scales and shifts after the second norm.

    FiLM: Visual Reasoning with a General Conditioning Layer (Perez et al., 2018), arXiv 1709.07871.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, outputs), zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.film = nn.Linear(embedding, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, 1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.skip(x) + h


class Attention(nn.Module):
    """Self-attention over the pixels of a small map, as a residual: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads, self.norm = heads, nn.GroupNorm(8, channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, 3, self.heads, c // self.heads, h * w).transpose(-1, -2).unbind(1)
        attended = F.scaled_dot_product_attention(q, k, v)  # (B, heads, HW, C / heads)
        return x + self.out(attended.transpose(-1, -2).reshape(b, c, h, w))


class UNet(nn.Module):
    """A U-Net at half and quarter resolution: pixels are folded into channels first, cheaply and without loss.

    Time and class act twice: they scale and shift the channels of every block, and they draw a small picture that is
    added where the maps are smallest, so that the shape of a class need not grow out of convolutions.

    U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger et al., 2015), arXiv 1505.04597.
    Folding: sub-pixel convolution (Shi et al., 2016), arXiv 1609.05158.
    """

    def __init__(self, space: Space, classes: int, channels: int):
        super().__init__()
        self.quarter = quartered(space)
        c, wide, embedding = channels, 2 * channels, max(128, 4 * channels)
        colours = space.shape[0]
        self.time = nn.Sequential(TimeFeatures(64), *mlp([64, embedding, embedding]))
        self.label = nn.Linear(classes, embedding, bias=False) if classes else None
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=2.0)  # loud classes are heeded within the first hundred steps
        self.stem = nn.Conv2d(4 * colours, c, 3, padding=1)
        self.down = nn.ModuleList([ResidualBlock(c, c, embedding), ResidualBlock(c, c, embedding)])
        self.reduce = nn.Conv2d(c, wide, 3, stride=2, padding=1)
        self.drawn = nn.Linear(embedding, 8 * math.prod(self.quarter))
        self.widen = nn.Conv2d(8, wide, 1)
        self.middle = nn.ModuleList([ResidualBlock(wide, wide, embedding) for _ in range(3)])
        self.attention = Attention(wide, heads=1)
        self.enlarge = nn.Conv2d(wide, c, 3, padding=1)
        self.up = nn.ModuleList([ResidualBlock(2 * c, c, embedding), ResidualBlock(2 * c, c, embedding)])
        self.norm, self.head = nn.GroupNorm(8, c), zero(nn.Conv2d(c, 4 * colours, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), t (B,), label (B, K) rows -> (B, C, H, W)."""
        embedding = self.time(t)
        if self.label is not None and label is not None:
            embedding = embedding + self.label(label)
        embedding = F.silu(embedding)
        h = self.stem(F.pixel_unshuffle(x, 2))
        skips = []
        for block in self.down:
            h = block(h, embedding)
            skips.append(h)
        h = self.reduce(h) + self.widen(self.drawn(embedding).view(len(x), 8, *self.quarter))
        for i, block in enumerate(self.middle):
            h = block(h, embedding)
            if i == 0:
                h = self.attention(h)
        h = self.enlarge(F.interpolate(h, scale_factor=2, mode="nearest"))
        for block in self.up:
            h = block(torch.cat([h, skips.pop()], 1), embedding)
        return F.pixel_shuffle(self.head(F.silu(self.norm(h))), 2)


class PointsNetwork(nn.Module):
    """A residual perceptron for points with time and label: (B, 2), (B,), (B, K) -> (B, 2)."""

    def __init__(self, space: Space, classes: int, width: int, layers: int = 3):
        super().__init__()
        self.time = nn.Sequential(TimeFeatures(32), nn.Linear(32, width))
        self.label = nn.Linear(classes, width, bias=False) if classes else None
        self.stem = nn.Linear(space.size, width)
        self.blocks = nn.ModuleList([mlp([width, width, width]) for _ in range(layers)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(layers)])
        self.head = zero(nn.Linear(width, space.size))

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        h = self.stem(x) + self.time(t)
        if self.label is not None and label is not None:
            h = h + self.label(label)
        for norm, block in zip(self.norms, self.blocks, strict=True):
            h = h + block(norm(h))
        return self.head(h)
