"""A given picture edited by a model that denoises: noised and walked back, redrawn under a mask, inverted to its noise.

SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations (Meng et al., 2022), arXiv 2108.01073.
RePaint: Inpainting using Denoising Diffusion Probabilistic Models (Lugmayr et al., 2022), arXiv 2201.09865.
Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv 2010.02502, section 4.3, for the inversion.
Effective Real Image Editing with Accelerated Iterative Diffusion Inversion (Pan et al., 2023), arXiv 2309.04907, for
its fixed point.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from gen_models.interface import BadInput, Denoises, Frame, Guess, State
from gen_models.noise import Noise
from gen_models.solvers import Denoise, Schedule, Solver, remaining, step

Method = Literal["heun", "euler", "fixed point"]
METHODS: tuple[str, ...] = get_args(Method)
BACK = {"heun": "heun", "euler": "euler", "fixed point": "euler"}  # the solver that walks an inversion back

HALFWAY = 0.5  # of the first step: the time that a network is told of a picture without noise, which it never saw


# ---- what all share -----------------------------------------------------------------------------------------------


def times(steps: int, start: float = 1.0) -> list[float]:
    """`start`, and those of the times 1, 1 - 1/steps, .., 0 that lie before it."""
    return [start, *remaining(steps, start)]


def levels(model: Denoises) -> Schedule:
    """The model's schedule in plain numbers: t -> (alpha, sigma)."""

    def schedule(t: float) -> tuple[float, float]:
        alpha, sigma = model.schedule(t)
        return float(alpha), float(sigma)

    return schedule


def calls(model: Denoises, solver: Solver, walk: Sequence[float]) -> int:
    """How often the network is asked on the way along these times: the solver walks nothing, and is counted."""
    state, schedule, noise, found = State(walk[0], torch.zeros(1, 1)), levels(model), Noise([0]), 0
    for t in walk[1:]:
        state, _, cost = step(solver, lambda x, t: Guess(x, x), schedule, state, t, noise)
        found += cost
    return found


def _denoiser(model: Denoises, label: Tensor | None, guidance: float) -> Denoise:
    return lambda x, t: model.denoise(x, t, label=label, guidance=guidance)


# ---- picture to picture -------------------------------------------------------------------------------------------


def begun(model: Denoises, x: Tensor, strength: float, noise: Noise) -> State:
    """The state at t = strength of pictures x (B, *shape) noised there, from which `model.sample` goes on.

    The noise is what a walk of these seeds begins with, so that strength 1 gives their plain samples where alpha is 0
    at t = 1; strength 0 is x itself. BadInput for a strength out of 0..1.
    """
    if not 0.0 <= strength <= 1.0:
        raise BadInput(f"Strength is a number from 0 (the picture itself) to 1 (pure noise); got {strength!r}.")
    return State(strength, model.noised(x, strength, noise.normal(*x.shape[1:]).to(x)))


# ---- under a mask -------------------------------------------------------------------------------------------------


def visits(steps: int, resample: int) -> int:
    """How many solver steps `inpainted` takes: each is taken `resample` times, but the last, onto the data, once."""
    return resample * (steps - 1) + 1


def inpainted(
    model: Denoises,
    x: Tensor,
    known: Tensor,
    noise: Noise,
    *,
    steps: int,
    solver: Solver,
    eta: float = 0.0,
    resample: int = 1,
    label: Tensor | None = None,
    guidance: float = 1.0,
) -> Iterator[Frame]:
    """Pictures x (B, *shape) redrawn where `known` (bool, of one picture or of each) is False: RePaint, algorithm 1.

    From pure noise at t = 1. After each solver step the known part is put back, noised anew to the time reached; the
    last frame's is x exactly. With `resample` above 1 what was reached is noised back up by q(x_t | x_s) and the step
    taken again, so that both parts get to know each other. A mended x has no history: multistep solvers take steps of
    order 1 here. BadInput for a mask of another shape.
    """
    if known.shape not in (x.shape, x.shape[1:], (1, *x.shape[1:])):
        raise BadInput(f"The mask is {tuple(known.shape)}, the picture {tuple(x.shape[1:])}: paint it again.")
    denoise, schedule = _denoiser(model, label, guidance), levels(model)
    state, total, done, spent = State(1.0, noise.normal(*x.shape[1:]).to(x)), visits(steps, resample), 0, 0
    yield Frame(state.x, 0, total, state=state)
    for t, to in pairwise(times(steps)):
        for again in reversed(range(resample if to > 0 else 1)):
            state, guess, cost = step(solver, denoise, schedule, state, to, noise, eta)
            drawn, done, spent = noise.at(2 * done + 1), done + 1, spent + cost
            mended = torch.where(known, model.noised(x, to, drawn.normal(*x.shape[1:]).to(x)), state.x)
            state = State(to, mended, 2 * done)  # even numbers are the solver's own noise, odd ones this function's
            shown = torch.where(known, x, mended.clamp(-1, 1)) if done == total else mended
            yield Frame(shown, done, total, x0=guess.x0, show={"eps": guess.eps}, state=state, calls=spent)
            if again:
                up = raised(schedule, mended, to, t, drawn.normal(*x.shape[1:]).to(x))
                state = State(t, up, 2 * done)


def raised(schedule: Schedule, x: Tensor, t: float, to: float, eps: Tensor) -> Tensor:
    """x at time t noised further to the later time: a draw of q(x_to | x_t)."""
    (alpha, sigma), (alpha_to, sigma_to) = schedule(t), schedule(to)
    kept = alpha_to / alpha
    return kept * x + math.sqrt(max(sigma_to**2 - (kept * sigma) ** 2, 0.0)) * eps


# ---- to the noise and back ----------------------------------------------------------------------------------------


def inverted(
    model: Denoises,
    x: Tensor,
    *,
    steps: int,
    method: Method = "heun",
    rounds: int = 4,
    label: Tensor | None = None,
    guidance: float = 1.0,
) -> Iterator[Frame]:
    """Pictures x (B, *shape) carried along dx = x0 dalpha + eps dsigma from t = 0 to 1; the last frame is the noise.

    "euler" takes each step with the slope at its start, "heun" with the mean of those at both ends, and "fixed point"
    solves for the x from which Euler's step back would lead here: `rounds` guesses, each with the slope at the one
    before. The solver that walks it back is BACK[method]. guidance should be 1: only the plain flow carries data to
    N(0, I) and back; under guidance the noise is no normal one any more and errors grow with every step.
    """
    schedule, up, spent = levels(model), times(steps)[::-1], 0
    asked = _denoiser(model, label, guidance)

    def denoise(x: Tensor, t: float) -> Guess:
        return asked(x, t or HALFWAY * up[1])

    yield Frame(x, 0, steps, state=State(0.0, x))
    for i, (t, to) in enumerate(pairwise(up), 1):
        if method == "heun" and schedule(to)[0] > 0:  # the very step that walks back
            after, guess, cost = step("heun", denoise, schedule, State(t, x), to, Noise([0] * len(x)))
            x = after.x
        else:
            x, guess, cost = _solved(denoise, schedule, x, t, to, rounds if method == "fixed point" else 1, method)
        spent += cost
        yield Frame(x, i, steps, x0=guess.x0, show={"eps": guess.eps}, state=State(to, x, i), calls=spent)


def _solved(
    denoise: Denoise, schedule: Schedule, x: Tensor, t: float, to: float, rounds: int, method: Method
) -> tuple[Tensor, Guess, int]:
    """x at the later time by Euler's step, the trapezoid or the fixed point; the guess that led there; the calls."""
    (alpha, sigma), (alpha_to, sigma_to) = schedule(t), schedule(to)

    def moved(guess: Guess) -> Tensor:
        return x + (alpha_to - alpha) * guess.x0 + (sigma_to - sigma) * guess.eps

    guess = denoise(x, to if method == "fixed point" else t)
    for _ in range(rounds - 1):
        guess = denoise(moved(guess), to)
    if method != "heun":
        return moved(guess), guess, rounds
    again = denoise(moved(guess), to)
    return moved(Guess((guess.x0 + again.x0) / 2, (guess.eps + again.eps) / 2)), again, 2


class Errors(NamedTuple):
    """How far b is from a, pixels from 0 to 1."""

    rmse: float
    most: float  # of any pixel
    psnr: float  # decibels; infinite where nothing differs


def errors(a: Tensor, b: Tensor) -> Errors:
    """Of pictures (B, C, H, W) in [-1, 1]."""
    off = (b - a).double().abs() / 2
    rmse = float(off.square().mean().sqrt())
    return Errors(rmse, float(off.max()), -20 * math.log10(rmse) if rmse else math.inf)


class Statistics(NamedTuple):
    """Of what should be a draw of N(0, I)."""

    mean: float  # 0, give or take 1 / sqrt(D)
    deviation: float  # 1, give or take 1 / sqrt(2 D)
    norm: float  # over sqrt(D): 1, give or take 1 / sqrt(2 D)
    size: int  # D, the numbers of it
    quantiles: list[tuple[float, float]]  # (of N(0, 1), of these numbers)


def statistics(z: Tensor, points: int = 33) -> Statistics:
    """Of the numbers of z."""
    flat = z.detach().double().flatten().cpu()
    share = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    pairs = zip(torch.special.ndtri(share).tolist(), torch.quantile(flat, share).tolist(), strict=True)
    norm = float(flat.norm()) / math.sqrt(len(flat))
    return Statistics(float(flat.mean()), float(flat.std()), norm, len(flat), list(pairs))
