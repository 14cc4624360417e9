"""How alike two pictures are to the eye: structural similarity.

Image Quality Assessment: From Error Visibility to Structural Similarity (Wang, Bovik, Sheikh and Simoncelli, 2004).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gen_models.interface import BadInput
from gen_models.metrics.rows import rows

WINDOW, SIGMA = 11, 1.5  # pixels, of the Gaussian that weighs a neighbourhood
_K1, _K2 = 0.01, 0.03
_AT_ONCE = 1 << 22  # numbers, so that many pictures need little memory


def ssim(x: Tensor, y: Tensor, *, span: float = 1.0) -> Tensor:
    """Structural similarity of each pair: x, y (N, C, H, W) -> (N,) float64, 1 where both are the same, -1 at least.

    The mean over colours and over all places where the window of 11 x 11 pixels lies within the picture. Black is 0
    and white is `span`: the measure compares means by their ratio, so that pictures in [-1, 1] must be shifted first.
    BadInput for different shapes or sides below 11.
    """
    if x.shape != y.shape or x.dim() != 4:
        raise BadInput(
            f"Pictures are compared in pairs of one shape (N, C, H, W); got {(*x.shape,)} and {(*y.shape,)}."
        )
    if min(x.shape[2:]) < WINDOW:
        raise BadInput(f"Structural similarity needs pictures of at least {WINDOW} x {WINDOW} pixels.")
    shape = x.shape[1:]
    pairs = zip(*(rows(part).split(max(1, _AT_ONCE // shape.numel())) for part in (x, y)), strict=True)
    return torch.cat([_ssim(a.view(-1, *shape).double(), b.view(-1, *shape).double(), span) for a, b in pairs])


def _ssim(x: Tensor, y: Tensor, span: float) -> Tensor:
    mean_x, mean_y, xx, yy, xy = (_smoothed(part) for part in (x, y, x * x, y * y, x * y))
    c1, c2 = (_K1 * span) ** 2, (_K2 * span) ** 2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    var_x, var_y, both = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    structure = (2 * both + c2) / (var_x + var_y + c2)
    return (light * structure).mean((1, 2, 3))


def _smoothed(x: Tensor) -> Tensor:
    """Gaussian means of every neighbourhood that lies within the picture: (N, C, H - 10, W - 10)."""
    away = torch.arange(WINDOW, dtype=x.dtype) - WINDOW // 2
    weight = torch.exp(-0.5 * (away / SIGMA) ** 2)
    weight = weight / weight.sum()
    n, c, h, w = x.shape
    across = F.conv2d(x.reshape(n * c, 1, h, w), weight.view(1, 1, 1, -1))
    return F.conv2d(across, weight.view(1, 1, -1, 1)).view(n, c, h - WINDOW + 1, w - WINDOW + 1)
