"""Tensors as pictures: one, a grid of many, a strip, a sprite sheet, a signed difference; pixels stay crisp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageColor
from torch import Tensor

from gen_models.interface import BadInput, Space
from gen_models.render.roll import rolls
from gen_models.render.scatter import points
from gen_models.render.writing import writing

LESS, SAME, MORE = (0, 90, 181), (255, 255, 255), (220, 100, 0)  # apart in blue-yellow and in lightness: safe for all
ROLL = 120  # pixels: the height of a piano roll in a grid that nobody scales


def picture(
    x: Tensor,
    space: Space,
    *,
    height: int | None = None,
    scale: int | None = None,
    spread: float = 1.0,
    theme: Literal["light", "dark"] = "light",
) -> Image.Image:
    """One x (C, H, W) as a picture, grey or colour; [-spread, spread] goes from black to white (3 suits noise).

    Enlarged by the whole number `scale`, or by the largest one that fits into `height` pixels. Points (2,) or (N, 2)
    become a scatter plot of `height` pixels, music a piano roll three times as wide as `height`.
    """
    if space.kind == "music":
        return rolls(x[None], space, height=height or ROLL * (scale or 2), theme=theme)[0]
    if space.kind == "points":
        return points(x.reshape(-1, 2), size=height or 480, theme=theme)
    pixels = _pixels(x[None], space, spread)[0]
    return _image(_enlarged(pixels, _scale(pixels.shape[0], height, scale)))


def grid(
    x: Tensor,
    space: Space,
    *,
    columns: int | None = None,
    height: int | None = None,
    scale: int | None = None,
    gap: int = 2,
    spread: float = 1.0,
    ground: str | None = None,
    real: Tensor | None = None,
    theme: Literal["light", "dark"] = "light",
) -> Image.Image:
    """Many x (B, C, H, W) as one picture, near-square unless `columns` is given, row by row.

    Each is enlarged by `scale`, or by the largest whole number with which the grid fits into `height` pixels. `gap`
    (pixels of the result) and empty cells are transparent, or in the colour `ground`. Points (B, 2) become one scatter
    plot of all, over those of `real` (N, 2); texts (B, n) one page; music piano rolls on one scale, in half as many
    columns since they are wide. BadInput when there is nothing to show.
    """
    if space.kind == "text":
        return writing(x, space, size=height or 480, theme=theme, ground=ground)
    if space.kind == "points":
        return points(x.reshape(-1, 2), real=real, size=height or 480, theme=theme, ground=ground)
    if space.kind == "music":
        columns = min(columns or math.ceil(columns_for(max(len(x), 1)) / 2), max(len(x), 1))
        down = math.ceil(len(x) / columns) or 1
        free = (height - (down - 1) * gap) // down if height else ROLL * (scale or 1)
        return _tiled(_stacked(rolls(x, space, height=max(free, 8), theme=theme)), columns, gap, ground)
    pixels = _pixels(x, space, spread)
    columns = min(columns or columns_for(len(pixels)), len(pixels))
    rows = math.ceil(len(pixels) / columns)
    free = height - (rows - 1) * gap if height else None
    pixels = _enlarged(pixels, _scale(rows * pixels.shape[1], free, scale))
    return _tiled(pixels, columns, gap, ground)


def difference(
    a: Tensor, b: Tensor, space: Space, *, height: int | None = None, scale: int | None = None, spread: float = 1.0
) -> Image.Image:
    """b - a, both (C, H, W), averaged over colours: white is equal, orange where b is brighter, blue where darker.

    The colours are full at +-spread, half of the range of pixels unless told otherwise.
    """
    if space.kind != "image":
        raise BadInput("Only pictures have a difference to show; for points, draw both sets in one plot.")
    delta = (b - a).detach().float().mean(0).cpu().numpy() / spread
    t = np.nan_to_num(np.clip(delta, -1, 1))[..., None]
    ends = np.where(t < 0, np.array(LESS, np.float32), np.array(MORE, np.float32))
    pixels = (np.array(SAME, np.float32) * (1 - abs(t)) + ends * abs(t)).round().astype(np.uint8)
    return _image(_enlarged(pixels, _scale(pixels.shape[0], height, scale)))


def strip(frames: Sequence[Image.Image], gap: int = 2, *, ground: str | None = None) -> Image.Image:
    """Frames of one size side by side; gaps are transparent, or in the colour `ground`."""
    return _tiled(_stacked(frames), len(frames), gap, ground)


def sheet(frames: Sequence[Image.Image]) -> tuple[Image.Image, int]:
    """A sprite sheet: frames of one size row by row in a near-square grid without gaps, and its number of columns."""
    pixels = _stacked(frames)
    columns = math.ceil(math.sqrt(len(frames)))
    return _tiled(pixels, columns, 0, None), columns


def columns_for(count: int) -> int:
    """The columns of a near-square grid, filled to the last cell where a shape up to 3:1 can do that."""
    square = math.ceil(math.sqrt(count))
    return next((c for c in range(square, count + 1) if count % c == 0 and c * c <= 3 * count), square)


def _pixels(x: Tensor, space: Space, spread: float) -> np.ndarray:
    """(B, C, H, W) in [-spread, spread] as bytes (B, H, W, C), C being 1 or 3; what is not a number is grey."""
    if space.kind != "image":
        raise BadInput(f"There is no picture of {space.kind}; only of images, points and music.")
    if x.dim() != 4 or x.shape[1] not in (1, 3) or not x.shape[0]:
        raise BadInput(f"A picture needs (C, H, W) with 1 or 3 colours and at least one sample; got {tuple(x.shape)}.")
    values = np.nan_to_num(x.detach().float().cpu().numpy() * (127.5 / spread) + 127.5, copy=False, nan=127.5)
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8).transpose(0, 2, 3, 1)


def _scale(length: int, height: int | None, scale: int | None) -> int:
    return scale or (max(1, height // length) if height else 1)


def _enlarged(pixels: np.ndarray, scale: int) -> np.ndarray:
    """(..., H, W, C) with each pixel as a square of scale x scale."""
    return pixels if scale == 1 else pixels.repeat(scale, -3).repeat(scale, -2)


def _tiled(pixels: np.ndarray, columns: int, gap: int, ground: str | None) -> Image.Image:
    """Cells (B, H, W, C) row by row; an alpha channel is added only where something stays transparent."""
    count, height, width, channels = pixels.shape
    rows = math.ceil(count / columns)
    empty = rows * columns > count or (gap > 0 and count > 1)
    if ground is None and empty and channels in (1, 3):
        pixels = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], -1)
    elif ground is not None and empty and channels == 1:
        pixels = pixels.repeat(3, -1)
    fill = np.zeros(pixels.shape[-1], np.uint8)
    if ground is not None and empty:
        fill = np.array(ImageColor.getcolor(ground, "RGBA")[: pixels.shape[-1]], np.uint8)
    canvas = np.empty((rows * columns, height + gap, width + gap, pixels.shape[-1]), np.uint8)
    canvas[:] = fill
    canvas[:count, :height, :width] = pixels
    canvas = canvas.reshape(rows, columns, *canvas.shape[1:]).swapaxes(1, 2)
    canvas = canvas.reshape(rows * (height + gap), columns * (width + gap), -1)
    return _image(canvas[: canvas.shape[0] - gap, : canvas.shape[1] - gap])


def _stacked(frames: Sequence[Image.Image]) -> np.ndarray:
    """Frames of one size as bytes (B, H, W, C), in the simplest mode that holds them all."""
    if not frames:
        raise BadInput("There are no frames to show; make at least one.")
    if len({frame.size for frame in frames}) > 1:
        raise BadInput("All frames must have one size.")
    modes = {frame.mode for frame in frames}
    mode = modes.pop() if len(modes) == 1 else ("RGB" if modes <= {"L", "RGB"} else "RGBA")
    mode = mode if mode in ("L", "LA", "RGB", "RGBA") else "RGBA"
    arrays = [np.asarray(frame if frame.mode == mode else frame.convert(mode)) for frame in frames]
    return np.stack([array.reshape(*array.shape[:2], -1) for array in arrays])


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
