"""Levels of noise of pipelines in diffusers' format: those of its schedulers, and noise that explodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gen_models.interface import BadInput, Guess

SMALLEST_ALPHA = 2.0**-12  # what a predicted noise is divided by at least, as in diffusers


class Levels:
    """The levels of noise of a diffusers scheduler: our t is its integer timestep k = round(T t) - 1, T mostly 1000.

    Tables stay on the CPU in float64, whatever becomes of the network. `start` is the deviation of x_1.
    """

    def __init__(self, config: Mapping[str, Any]):
        import diffusers

        kind = getattr(diffusers, config["kind"], None)
        if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
            raise BadInput(f"Its scheduler {config['kind']!r} is not one of diffusers'.")
        try:
            scheduler = kind.from_config({key: value for key, value in config.items() if key != "kind"})
            kept = scheduler.alphas_cumprod.double()
        except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
            raise BadInput(f"The noise levels of its {config['kind']} cannot be used here: {error}.") from None
        if not (kept.dim() == 1 and bool(((kept >= 0) & (kept <= 1)).all())):
            raise BadInput("The noise levels in scheduler_config.json are not those of a diffusion.")
        self.kept = torch.cat([kept.new_ones(1), kept.cpu()])  # alpha^2 at k = -1 .. T - 1
        known = scheduler.config
        self.prediction = known.get("prediction_type", "epsilon")
        self.clip = float(known.get("clip_sample_range", 1.0)) if known.get("clip_sample") else math.inf
        self.large = known.get("variance_type") == "fixed_large"
        alpha, sigma = self.plain(1.0)
        spread = float(getattr(scheduler, "init_noise_sigma", 1.0))  # of schedulers that count x_t / alpha, not x_t
        self.start = 1.0 if spread == 1.0 else spread * alpha / math.hypot(alpha, sigma)

    def timestep(self, t: float | Tensor) -> Tensor:
        """k for t in (0, 1], int64."""
        return (torch.as_tensor(t, dtype=torch.float64).cpu() * (len(self.kept) - 1)).round().long() - 1

    def schedule(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma of the nearest level, float64 on the CPU; t = 0 is clean."""
        kept = self.kept[self.timestep(t) + 1]
        return kept.sqrt(), (1 - kept).sqrt()

    def plain(self, t: float) -> tuple[float, float]:
        alpha, sigma = self.schedule(t)
        return float(alpha), float(sigma)

    def guess(self, x_t: Tensor, t: Tensor, predicted: Tensor, *, as_predicted: bool = False) -> Guess:
        """The network's output at times t (B,) as (x0, eps), x0 clipped where the scheduler clips.

        eps is what explains x_t by the clipped x0; `as_predicted` leaves it as the network said, as DDIM's steps in
        diffusers take it.
        """
        shape = (-1,) + (1,) * (x_t.dim() - 1)
        alpha, sigma = (a.to(x_t.device, x_t.dtype).view(shape) for a in self.schedule(t))
        if self.prediction == "sample":
            x0, eps = predicted, (x_t - alpha * predicted) / sigma
        elif self.prediction == "v_prediction":
            x0, eps = alpha * x_t - sigma * predicted, alpha * predicted + sigma * x_t
        else:
            x0, eps = (x_t - sigma * predicted) / alpha.clamp_min(SMALLEST_ALPHA), predicted
        clipped = x0.clamp(-self.clip, self.clip) if math.isfinite(self.clip) else x0
        if clipped is x0 or as_predicted:
            return Guess(clipped, eps)
        return Guess(clipped, torch.where(clipped == x0, eps, (x_t - alpha * clipped) / sigma))

    def more_noise(self, t: float, to: float) -> float:
        """By how much the deviation of "fixed_large" exceeds that of the posterior on a step of one level, else 0.

        The large one is meant for a walk over every level: on longer steps it ruins the picture (arXiv 2010.02502,
        table 1, sigma hat), so those keep to the posterior.
        """
        k, before = int(self.timestep(t)), int(self.timestep(to))
        if not self.large or before < 0 or k - before != 1:
            return 0.0
        kept, kept_to = float(self.kept[k + 1]), float(self.kept[before + 1])
        beta = 1 - kept / kept_to
        return math.sqrt(beta) - math.sqrt((1 - kept_to) / (1 - kept) * beta)


class Exploding:
    """Levels of a score network whose noise grows while the data stays: y_s = y0 + s eps, with pictures y in [0, 1].

    With x = 2 y - 1 this is x0 + 2 s eps; divided by sqrt(1 + 4 s^2) it is alpha x0 + sigma eps with alpha^2 + sigma^2
    = 1, so that x_t is of one size all the way and every solver applies. s = s_min (s_max / s_min)^t for t in (0, 1],
    and 0 at t = 0.

    Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv 2011.13456.
    """

    def __init__(self, config: Mapping[str, Any]):
        half = 0.5 if config["kind"] == "KarrasVeScheduler" else 1.0  # its sigma is that of x, not of y
        usual = (0.02, 100.0) if half < 1 else (0.01, 1348.0)
        try:
            low, high = (float(config.get(f"sigma_{end}", u)) for end, u in zip(("min", "max"), usual, strict=True))
        except (TypeError, ValueError):
            low, high = 1.0, 0.0
        if not 0 < low < high < math.inf:
            raise BadInput("scheduler_config.json names no usable sigma_min and sigma_max.")
        self.low, self.high = half * low, half * high

    def spread(self, t: float | Tensor) -> Tensor:
        """s at t, float64 on the CPU."""
        t = torch.as_tensor(t, dtype=torch.float64).cpu()
        return torch.where(t > 0, self.low * (self.high / self.low) ** t, 0.0)

    def schedule(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        s = self.spread(t)
        alpha = (1 + 4 * s**2).rsqrt()
        return alpha, 2 * s * alpha

    def guess(self, x_t: Tensor, t: Tensor, predicted: Tensor, *, as_predicted: bool = False) -> Guess:
        """(x0, eps) of the score (B, ...) of y at times t (B,)."""
        shape = (-1,) + (1,) * (x_t.dim() - 1)
        alpha, sigma, s = (a.to(x_t.device, x_t.dtype).view(shape) for a in (*self.schedule(t), self.spread(t)))
        eps = -s * predicted
        return Guess((x_t - sigma * eps) / alpha, eps)

    def more_noise(self, t: float, to: float) -> float:
        return 0.0
