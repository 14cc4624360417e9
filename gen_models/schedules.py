"""How much signal and how much noise there is at each time: alpha and sigma of x_t = alpha x0 + sigma eps.

Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv 2006.11239; Improved Denoising Diffusion
Probabilistic Models (Nichol and Dhariwal, 2021), arXiv 2102.09672; Flow Straight and Fast: Learning to Generate and
Transfer Data with Rectified Flow (Liu, Gong and Liu, 2022), arXiv 2209.03003.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Schedule = Callable[[Tensor], tuple[Tensor, Tensor]]  # t (N,) in 0 .. 1 -> alpha, sigma (N,)
LEVELS = 1000  # of the linear schedule


def linear_levels() -> tuple[Tensor, Tensor]:
    """alpha and sigma (LEVELS + 1,) float64 of DDPM's levels, the clean one first.

    alpha^2 is the product of 1 - beta over the levels passed, beta rising evenly from 1e-4 to 0.02.
    """
    betas = torch.linspace(1e-4, 0.02, LEVELS, dtype=torch.float64)
    kept = torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, 0)])
    return kept.sqrt(), (1 - kept).sqrt()


def nearest(t: float | Tensor) -> Tensor:
    """The nearest of the levels, int64."""
    return (torch.as_tensor(t, dtype=torch.float64) * LEVELS).round().long()


def linear(t: Tensor) -> tuple[Tensor, Tensor]:
    """DDPM's, at the nearest of its levels."""
    alpha, sigma = linear_levels()
    return alpha[nearest(t)], sigma[nearest(t)]


def cosine(t: Tensor) -> tuple[Tensor, Tensor]:
    """Nichol and Dhariwal's: alpha^2 = f(t) / f(0), f(t) = cos^2(pi / 2 (t + 0.008) / 1.008); 0 at t = 1."""
    t = torch.as_tensor(t, dtype=torch.float64)
    angle = math.pi / 2 * (t + 0.008) / 1.008
    alpha = (angle.cos() / math.cos(math.pi / 2 * 0.008 / 1.008)).clamp(0, 1)
    return torch.where(t == 1, 0.0, alpha), (1 - torch.where(t == 1, 0.0, alpha).square()).sqrt()


def flow(t: float | Tensor) -> tuple[Tensor, Tensor]:
    """The straight line of flow matching and rectified flow: alpha = 1 - t, sigma = t, in the type of t."""
    t = torch.as_tensor(t)
    return 1 - t, t


SCHEDULES: dict[str, Schedule] = {"linear": linear, "cosine": cosine, "flow": flow}
