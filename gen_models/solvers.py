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

Solver = Literal["euler", "heun", "dpm++2m", "unipc", "ddim", "ddpm"]
SOLVERS: tuple[str, ...] = get_args(Solver)
REMEMBER = ("dpm++2m", "unipc")  # go by earlier guesses; all others walk as well without a history

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
    calls, history = 1, ((state.t, guess.x0),)
    if solver == "heun":
        x, calls = _heun(denoise, schedule, state, guess, t)
    elif solver == "dpm++2m":
        x = _dpm(schedule, state, guess, t)
    elif solver == "unipc":
        x = _dpm(schedule, state._replace(x=_corrected(schedule, state, guess)), guess, t)
        history = (*(state.history or history)[-1:], *history)
    else:
        x = _ddim(schedule, state, guess, t, noise, {"euler": 0.0, "ddpm": 1.0}.get(solver, eta))
    return State(t, x, state.step + 1, history), guess, calls


def calls_of(solver: str, steps: int) -> int:
    """The calls of the network that a walk of `steps` steps from noise to data takes."""
    return 2 * steps - 1 if solver == "heun" else steps  # the last step, onto the data, is Euler's


def steps_within(solver: str, calls: int) -> int:
    """The most steps of a walk from noise to data that take at most `calls` calls, which is 1 or more."""
    return (calls + 1) // 2 if solver == "heun" else calls


def remaining(steps: int, now: float = 1.0) -> list[float]:
    """Those of the times 1, 1 - 1/steps, .., 0 that are still to come."""
    times = [1 - i / steps for i in range(1, steps + 1)]
    return [t for t in times if t < now - 1e-9]


def _ddim(schedule: Schedule, state: State, guess: Guess, t: float, noise: Noise, eta: float) -> Tensor:
    """Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv 2010.02502, equation 12.

    The noise put back is eta times the deviation of q(x_s | x_t, x0), written for any alpha and sigma.
    """
    (alpha, sigma), (alpha_to, sigma_to) = schedule(state.t), schedule(t)
    back = eta * sigma_to / sigma * math.sqrt(max(sigma**2 - (alpha / alpha_to * sigma_to) ** 2, 0.0))
    x = alpha_to * guess.x0 + math.sqrt(max(sigma_to**2 - back**2, 0.0)) * guess.eps
    return x + back * noise.at(state.step).normal(*state.x.shape[1:]) if back else x


def _heun(denoise: Denoise, schedule: Schedule, state: State, guess: Guess, t: float) -> tuple[Tensor, int]:
    """Euler's step, then the trapezoid over both ends; the last step, onto the data, is Euler's.

    Where x_t lies on straight lines (alpha + sigma = 1) the ODE is that of x over t, as flow matching has it; otherwise
    that of x / alpha over sigma / alpha, as in Elucidating the Design Space of Diffusion-Based Generative Models
    (Karras et al., 2022), arXiv 2206.00364. So do diffusers' FlowMatchHeunDiscreteScheduler and HeunDiscreteScheduler.
    """
    (alpha, sigma), (alpha_to, sigma_to) = schedule(state.t), schedule(t)
    x = state.x + (alpha_to - alpha) * guess.x0 + (sigma_to - sigma) * guess.eps
    if sigma_to == 0:
        return x, 1
    again = denoise(x, t)
    if alpha > 0 and not math.isclose(alpha + sigma, 1, rel_tol=1e-6):
        change = 0.5 * (sigma_to / alpha_to - sigma / alpha) * (guess.eps + again.eps)
        return alpha_to * (state.x / alpha + change), 2
    slope = (alpha_to - alpha) * (guess.x0 + again.x0) + (sigma_to - sigma) * (guess.eps + again.eps)
    return state.x + 0.5 * slope, 2


def _dpm(schedule: Schedule, state: State, guess: Guess, t: float) -> Tensor:
    """DPM-Solver++ (Lu et al., 2022), arXiv 2211.01095, the multistep method of order 2 in the data prediction.

    The log-SNR may be minus infinity at the start and plus infinity at the end; both fall back to order 1.
    """
    (alpha, sigma), (alpha_to, sigma_to) = schedule(state.t), schedule(t)
    x0 = guess.x0
    if state.history:
        before, x0_before = state.history[-1]
        if pace := _pace(schedule, before, state.t, t):
            x0 = x0 + pace / 2 * (x0 - x0_before)
    return sigma_to / sigma * state.x + (alpha_to - alpha * sigma_to / sigma) * x0


def _corrected(schedule: Schedule, state: State, guess: Guess) -> Tensor:
    """x after the corrector of order 2 (B(h) of kind 2, data prediction), which knows the guess made at x itself.

    UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models (Zhao et al., 2023),
    arXiv 2302.04867. Its predictor in this form is the step of DPM-Solver++, and the corrector differs from it by a
    multiple of guesses alone, so it needs no earlier x. Two pairs in the history say that the last step was UniPC's.
    """
    if len(state.history) < 2:
        return state.x
    (before, x0_before), (last, x0_last) = state.history[-2:]
    (alpha_last, sigma_last), (alpha, sigma) = schedule(last), schedule(state.t)
    change = 0.5 * (guess.x0 - x0_last)
    h = _log_snr(alpha_last, sigma_last) - _log_snr(alpha, sigma)  # below 0
    if before != last and -math.inf < h < 0:  # the last step was of order 2
        pace = _pace(schedule, before, last, state.t)
        first = 1 / h - 1 / math.expm1(h)
        second = 2 * ((math.expm1(h) / h - 1) / h - 0.5) / math.expm1(h)
        past = (first - second) * pace / (1 + pace)
        change = (past - 0.5) * pace * (x0_last - x0_before) + (first - past) * (guess.x0 - x0_last)
    return state.x + (alpha - alpha_last * sigma / sigma_last) * change


def _pace(schedule: Schedule, before: float, now: float, to: float) -> float:
    """The coming step in log-SNR over the last one: what order 2 goes by; 0 where either is infinite or nothing."""
    levels = [_log_snr(*schedule(t)) for t in (before, now, to)]
    last, coming = levels[1] - levels[0], levels[2] - levels[1]
    return coming / last if 0 < last < math.inf and 0 < coming < math.inf else 0.0


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
