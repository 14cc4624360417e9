"""One step of each sampler, on a State, seeing only `denoise` and `schedule`; and the density that a flow ends in.

Every solver follows dx = x0 dalpha + eps dsigma, the probability-flow ODE of x_t = alpha x0 + sigma eps, so each is
written once for diffusion and for flow matching.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from gen_models.interface import Guess, State
from gen_models.noise import Noise

Solver = Literal["euler", "heun", "dpm++2m", "ddim", "ddpm"]
SOLVERS: tuple[str, ...] = get_args(Solver)

Denoise = Callable[[Tensor, float], Guess]
Schedule = Callable[[float], tuple[float, float]]
Velocity = Callable[[Tensor, float], Tensor]


def step(
    solver: Solver, denoise: Denoise, schedule: Schedule, state: State, t: float, noise: Noise, eta: float = 0.0
) -> tuple[State, Guess, int]:
    """Walks `state` to the earlier time t; the new state, the guess made at the old one, and the calls it took.

    eta (0..1) is the share of DDPM's noise that "ddim" puts back; "euler" is ddim(0) and "ddpm" is ddim(1).
    """
    guess = denoise(state.x, state.t)
    calls = 1
    if solver == "heun":
        x, calls = _heun(denoise, schedule, state, guess, t)
    elif solver == "dpm++2m":
        x = _dpm(schedule, state, guess, t)
    else:
        x = _ddim(schedule, state, guess, t, noise, {"euler": 0.0, "ddpm": 1.0}.get(solver, eta))
    return State(t, x, state.step + 1, ((state.t, guess.x0),)), guess, calls


def _ddim(schedule: Schedule, state: State, guess: Guess, t: float, noise: Noise, eta: float) -> Tensor:
    """Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv 2010.02502, equation 12.

    The noise put back is eta times the deviation of q(x_s | x_t, x0), written for any alpha and sigma.
    """
    (alpha, sigma), (alpha_to, sigma_to) = schedule(state.t), schedule(t)
    back = eta * sigma_to / sigma * math.sqrt(max(sigma**2 - (alpha / alpha_to * sigma_to) ** 2, 0.0))
    x = alpha_to * guess.x0 + math.sqrt(max(sigma_to**2 - back**2, 0.0)) * guess.eps
    return x + back * noise.at(state.step).normal(*state.x.shape[1:]) if back else x


def _heun(denoise: Denoise, schedule: Schedule, state: State, guess: Guess, t: float) -> tuple[Tensor, int]:
    """The trapezoid of dx = x0 dalpha + eps dsigma; the last step, onto the data, is Euler's.

    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv 2206.00364.
    """
    (alpha, sigma), (alpha_to, sigma_to) = schedule(state.t), schedule(t)
    x = state.x + (alpha_to - alpha) * guess.x0 + (sigma_to - sigma) * guess.eps
    if sigma_to == 0:
        return x, 1
    again = denoise(x, t)
    slope = (alpha_to - alpha) * (guess.x0 + again.x0) + (sigma_to - sigma) * (guess.eps + again.eps)
    return state.x + 0.5 * slope, 2


def _dpm(schedule: Schedule, state: State, guess: Guess, t: float) -> Tensor:
    """DPM-Solver++ (Lu et al., 2022), arXiv 2211.01095, the multistep method of order 2 in the data prediction.

    The log-SNR may be minus infinity at the start and plus infinity at the end; both fall back to order 1.
    """
    (alpha, sigma), (alpha_to, sigma_to) = schedule(state.t), schedule(t)
    x0 = guess.x0
    if state.history and sigma_to > 0:
        before, x0_before = state.history[-1]
        log_snr = [_log_snr(*schedule(s)) for s in (before, state.t, t)]
        last = log_snr[1] - log_snr[0]
        if math.isfinite(last) and last > 0:
            x0 = x0 + (log_snr[2] - log_snr[1]) / (2 * last) * (x0 - x0_before)
    return sigma_to / sigma * state.x + (alpha_to - alpha * sigma_to / sigma) * x0


def _log_snr(alpha: float, sigma: float) -> float:
    """log(alpha / sigma)."""
    if alpha <= 0:
        return -math.inf
    return math.inf if sigma <= 0 else math.log(alpha / sigma)


# ---- density ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def log_density(velocity: Velocity, x: Tensor, probes: Tensor, times: Sequence[float]) -> Tensor:
    """log p(x), (B,) float64 nats, of the flow dx/dt = velocity(x, t) that ends in N(0, I).

    x (B, ...) is where the flow stands at times[0]; the normal is met at times[-1]. What is added to the normal's log
    density is the integral of the divergence, the rate at which it thins out. Each row's divergence is that of its
    probes (P, B, ...), whose outer products add up to the identity: the axes give it exactly, random signs over
    sqrt(P) on average (Hutchinson). The method is Heun's of order 3: three calls a step, two of them with gradients.

    Neural Ordinary Differential Equations (Chen et al., 2018), arXiv 1806.07366; FFJORD (Grathwohl et al., 2019),
    arXiv 1810.01367; Score-Based Generative Modeling through SDEs (Song et al., 2021), arXiv 2011.13456.
    """
    spread = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for t, to in pairwise(times):
        h = to - t
        first, divergence = _diverging(velocity, x, t, probes)
        second = velocity(x + h / 3 * first, t + h / 3)
        third, later = _diverging(velocity, x + 2 / 3 * h * second, t + 2 / 3 * h, probes)
        x = x + h / 4 * (first + 3 * third)
        spread += h / 4 * (divergence + 3 * later)
    return spread - 0.5 * (x.double().square() + math.log(2 * math.pi)).flatten(1).sum(1)


def _diverging(velocity: Velocity, x: Tensor, t: float, probes: Tensor) -> tuple[Tensor, Tensor]:
    """The velocity at x and its divergence, (B,) float64: the sum of e J e over the probes e."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        v = velocity(x, t)
    found = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for left, probe in zip(reversed(range(len(probes))), probes, strict=True):
        (gradient,) = torch.autograd.grad(v, x, probe, retain_graph=left > 0)
        found += (gradient * probe).flatten(1).double().sum(1)
    return v.detach(), found
