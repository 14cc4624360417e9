"""Thousands of points as smooth dots, splatted at once, in the colours that mean real and generated everywhere."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageColor
from torch import Tensor

FINE = 16  # places within a pixel, each way, at which a dot can lie
COLOURS = {
    "light": {
        "real": "#00805c",
        "generated": "#7a4fd0",
        "critic": "#b36b00",
        "latent": "#0072b2",
        "ink": "#1b1d22",
        "muted": "#666c78",
        "line": "#e4e5e8",
        "card": "#ffffff",
        "ground": "#fbfbfa",
    },
    "dark": {
        "real": "#2fc79b",
        "generated": "#a98bff",
        "critic": "#f0a93b",
        "latent": "#56b4e9",
        "ink": "#eceef2",
        "muted": "#9aa1ae",
        "line": "#2a2e37",
        "card": "#191c22",
        "ground": "#111318",
    },
}


def points(
    x: Tensor,
    *,
    real: Tensor | None = None,
    size: int = 480,
    limit: float = 4.5,
    colour: str | None = None,
    ground: str | None = None,
    theme: Literal["light", "dark"] = "light",
    radius: float | None = None,
) -> Image.Image:
    """Points x (N, 2) of the square [-limit, limit]^2 as dots, y upwards, over those of `real`: (size, size) RGBA.

    x has the theme's colour of what is generated, or `colour`; `real` (M, 2) that of real data. The ground is
    transparent, or the colour `ground`. radius in pixels; by default it follows the size. Points that lie outside or
    are not finite are left out.
    """
    radius = radius or max(1.0, size / 220)
    shows, paint = [], []  # from front to back: how much of each layer is seen, and its colour
    clear = np.ones(size * size, np.float32)
    layers = [(x, colour or COLOURS[theme]["generated"], 0.75), (real, COLOURS[theme]["real"], 0.45)]
    for dots, name, opacity in layers:
        if dots is not None and len(dots):
            ink = _coverage(dots.detach().float().cpu().numpy(), size, limit, radius, opacity)
            shows, paint = [*shows, clear * ink], [*paint, ImageColor.getcolor(name, "RGBA")]
            clear = clear * (1 - ink)
    behind = ImageColor.getcolor(ground, "RGBA") if ground else (0, 0, 0, 0)
    pixels = np.full((size * size, 4), behind, np.uint8)
    touched = np.flatnonzero(clear < 1)
    if len(touched):
        seen = np.stack([*shows, clear])[:, touched]
        mixed = np.array([*paint, behind], np.float32).T @ seen  # (4, pixels)
        if not ground:  # colours are not premultiplied by alpha in a picture
            mixed[:3] /= 1 - seen[-1]
        pixels[touched] = np.minimum(mixed + 0.5, 255).T
    return Image.fromarray(pixels.reshape(size, size, 4))


def _coverage(dots: np.ndarray, size: int, limit: float, radius: float, opacity: float) -> np.ndarray:
    """How much of each pixel (size^2,) the dots (N, 2) cover, each letting 1 - opacity through."""
    kernels, reach = _kernels(radius, opacity)
    at = (dots * np.float32([1, -1]) / limit + 1) * (size / 2) - 0.5  # pixel centres are whole numbers
    at = at[(abs(at - size / 2) < size / 2 + reach).all(1)]  # false for NaN
    fine = np.floor(at * FINE + 0.5).astype(np.int64)
    corner, part = fine // FINE, fine % FINE
    side, margin = 2 * reach + 2, 2 * reach + 2
    wide = size + 2 * margin
    offsets = (np.arange(side)[:, None] * wide + np.arange(side)).ravel()
    first = (corner[:, 1] - reach + margin) * wide + corner[:, 0] - reach + margin
    passed = kernels[part[:, 1] * FINE + part[:, 0]]
    total = np.bincount((first[:, None] + offsets).ravel(), passed.ravel(), wide * wide).reshape(wide, wide)
    return -np.expm1(total[margin:-margin, margin:-margin].astype(np.float32)).ravel()


@lru_cache(maxsize=32)
def _kernels(radius: float, opacity: float) -> tuple[np.ndarray, int]:
    """The logarithm of the light that one dot lets through, for each place within a pixel: (FINE^2, side^2)."""
    reach = math.ceil(radius + 0.5)
    away = (np.arange(-reach, reach + 2) - np.arange(FINE)[:, None] / FINE) ** 2  # (FINE, side)
    distance = np.sqrt(away[:, None, :, None] + away[None, :, None, :])  # y, x of the place; y, x of the pixel
    return np.log1p(-opacity * np.clip(radius + 0.5 - distance, 0, 1)).reshape(FINE**2, -1), reach
