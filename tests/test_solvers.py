"""Solvers against an exact denoiser, whose walk is known in closed form, and against diffusers' schedulers."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gen_models.interface import Guess, Space, State
from gen_models.models.diffusion import DDPM, FlowMatching
from gen_models.noise import Noise, mixed
from gen_models.solvers import SOLVERS, calls_of, log_density, step, steps_within

SPACE = Space("points", (2,))
MODELS = {"ddpm": DDPM(SPACE, channels=8), "flow": FlowMatching(SPACE, channels=8)}
MEAN, SPREAD = 1.5, 0.4  # the data of the exact denoiser


def schedule_of(name: str):
    return lambda t: tuple(float(a) for a in MODELS[name].schedule(t))


def exact(name: str):
    """The best denoiser of data ~ N(MEAN, SPREAD^2): x0 and eps are posterior means given x_t."""
    schedule = schedule_of(name)

    def denoise(x: Tensor, t: float) -> Guess:
        alpha, sigma = schedule(t)
        variance = alpha**2 * SPREAD**2 + sigma**2
        off = x - alpha * MEAN
        return Guess(MEAN + alpha * SPREAD**2 / variance * off, sigma / variance * off)

    return denoise


def walked(name: str, solver: str, denoise, x: Tensor, noise: Noise, steps: int, eta: float = 0.0) -> list[State]:
    """Every state of the walk from t = 1 to 0."""
    states = [State(1.0, x)]
    for i in range(1, steps + 1):
        states.append(step(solver, denoise, schedule_of(name), states[-1], 1 - i / steps, noise, eta)[0])
    return states


def end_of_ode(name: str, x: Tensor, t: float = 0.0) -> Tensor:
    """Where the probability flow of the exact denoiser brings x of t = 1: its distance in deviations never changes."""
    (alpha, sigma), (alpha_to, sigma_to) = schedule_of(name)(1.0), schedule_of(name)(t)
    deviation, deviation_to = (math.hypot(a * SPREAD, s) for a, s in ((alpha, sigma), (alpha_to, sigma_to)))
    return alpha_to * MEAN + deviation_to / deviation * (x - alpha * MEAN)


# ---- schedules ----------------------------------------------------------------------------------------------


def test_schedules_begin_with_data_and_end_with_noise():
    assert schedule_of("flow")(0.0) == (1.0, 0.0)
    assert schedule_of("flow")(1.0) == (0.0, 1.0)
    assert schedule_of("flow")(0.25) == (0.75, 0.25)
    assert schedule_of("ddpm")(0.0) == (1.0, 0.0)
    alpha, sigma = schedule_of("ddpm")(1.0)
    assert alpha < 0.01
    assert sigma > 0.9999


@pytest.mark.parametrize("name", MODELS)
def test_a_schedule_takes_numbers_and_rows_and_only_gets_noisier(name):
    t = torch.linspace(0, 1, 101)
    alpha, sigma = MODELS[name].schedule(t)
    assert alpha.shape == sigma.shape == t.shape
    assert (alpha.diff() < 0).all()
    assert (sigma.diff() > 0).all()
    if name == "ddpm":
        assert_close(alpha**2 + sigma**2, torch.ones(101, dtype=torch.float64))
    x0, eps = torch.randn(2, 101, 2, generator=torch.Generator().manual_seed(0))
    noised = MODELS[name].noised(x0, t, eps)
    assert_close(noised[30], float(alpha[30]) * x0[30] + float(sigma[30]) * eps[30])
    assert_close(MODELS[name].noised(x0, 0.3, eps)[30], noised[30])


def test_alphas_are_diffusers():
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler().alphas_cumprod  # linear betas 1e-4 .. 0.02 over 1000 steps by default
    ours, _ = MODELS["ddpm"].schedule((torch.arange(1000) + 1) / 1000)  # k = round(1000 t) - 1
    assert_close(ours.square().float(), theirs, rtol=1e-4, atol=0)


# ---- the exact denoiser --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_exact_denoiser_explains_x_t(name):
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    for t in (0.01, 0.5, 1.0):
        alpha, sigma = schedule_of(name)(t)
        guess = exact(name)(x, t)
        assert_close(alpha * guess.x0 + sigma * guess.eps, x)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", MODELS)
def test_every_solver_recovers_mean_and_deviation(name, solver):
    noise = Noise(range(16))
    x = noise.normal(1000).double()  # a thousand independent numbers per stream
    last = walked(name, solver, exact(name), x, noise, 200)[-1].x
    n, bias = last.numel(), {"heun": 0.002, "dpm++2m": 0.005}.get(solver, 0.01)
    assert abs(last.mean() - MEAN) < 4 * SPREAD / n**0.5 + bias
    assert abs(last.std() - SPREAD) < 4 * SPREAD / (2 * n) ** 0.5 + bias


@pytest.mark.parametrize("solver", ["euler", "heun", "dpm++2m", "unipc"])
@pytest.mark.parametrize("name", MODELS)
def test_deterministic_solvers_follow_the_flow(name, solver):
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    error = [
        float((walked(name, solver, exact(name), x, Noise([0]), steps)[-1].x - end_of_ode(name, x)).abs().max())
        for steps in (10, 40, 200)
    ]
    assert error[0] > error[1] > error[2]
    assert error[2] < {"heun": 0.005}.get(solver, 0.03)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("dpm++2m", 2), ("unipc", 3)])
@pytest.mark.parametrize("name", MODELS)
def test_the_order_of_a_solver(name, solver, order):
    """Halving the step divides the error by 2^order; measured at t = 0.2, before the last step onto the data.

    A corrector of order 2 makes a predictor of order 2 one of order 3.
    """
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    error = []
    for steps in (25, 50, 100):  # each divides 1000, and t = 0.2 is one of its times
        state = walked(name, solver, exact(name), x, Noise([0]), steps)[steps * 4 // 5]
        assert state.t == pytest.approx(0.2)
        error.append(float((state.x - end_of_ode(name, x, 0.2)).abs().max()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(error)]
    assert orders[-1] == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize("name", MODELS)
def test_one_formula_under_four_names(name):
    noise = Noise([3, 4])
    x = noise.normal(5).double()

    def last(solver, eta=0.0):
        return walked(name, solver, exact(name), x, noise, 20, eta)[-1].x

    assert torch.equal(last("euler"), last("ddim", 0.0))
    assert torch.equal(last("ddpm"), last("ddim", 1.0))
    assert torch.equal(last("ddpm", 0.3), last("ddpm")), "eta is ddim's alone"
    assert not torch.equal(last("ddim", 0.5), last("ddim", 1.0))


@pytest.mark.parametrize("solver", ["dpm++2m", "unipc"])
@pytest.mark.parametrize("name", MODELS)
def test_the_data_prediction_is_exact_where_x0_is_constant(name, solver):
    """A denoiser that always says the same x0: one step of a method in the data prediction arrives, as do many."""

    def denoise(x: Tensor, t: float) -> Guess:
        alpha, sigma = schedule_of(name)(t)
        return Guess(torch.full_like(x, 0.7), (x - alpha * 0.7) / sigma)

    for steps in (1, 2, 10):
        states = walked(name, solver, denoise, torch.zeros(1, 3, dtype=torch.float64), Noise([0]), steps)
        assert_close(states[-1].x, torch.full((1, 3), 0.7, dtype=torch.float64))
        assert all(state.x.isfinite().all() for state in states)


# ---- diffusers' schedulers are the oracle ----------------------------------------------------------------------


class Oracle(NamedTuple):
    """A scheduler with the conventions bridged: our t = 1 - i / steps is its timestep k = 1000 t - 1."""

    scheduler: object
    times: list[float]

    @classmethod
    def ddpm(cls, kind: str, steps: int, **values) -> Oracle:
        import diffusers

        scheduler = getattr(diffusers, kind)(timestep_spacing="trailing", **values)
        # Theirs are float32 products; in float64 the comparison can be strict. That both agree is a test above.
        ours, _ = MODELS["ddpm"].schedule((torch.arange(1000) + 1) / 1000)
        scheduler.alphas_cumprod = ours.square()
        scheduler.set_timesteps(steps)
        times = [1 - i / steps for i in range(steps)]
        assert [round(1000 * t) - 1 for t in times] == list(dict.fromkeys(map(int, scheduler.timesteps)))
        return cls(scheduler, times)


def wavy_eps(x: Tensor, t: float) -> Tensor:
    """Some network: any function will do."""
    return torch.tanh(1.3 * x + 2 * t) + 0.2 * x.flip(-1)


def wavy_ddpm(x: Tensor, t: float) -> Guess:
    alpha, sigma = schedule_of("ddpm")(t)
    eps = wavy_eps(x, t)
    return Guess((x - sigma * eps) / alpha, eps)


def wavy_flow(x: Tensor, t: float) -> Guess:
    v = wavy_eps(x, t)
    return Guess(x - t * v, x + (1 - t) * v)


def step_noise(noise: Noise, i: int) -> list[torch.Generator]:
    """The streams that our step i draws from, for schedulers that draw for themselves."""
    return [torch.Generator().manual_seed(mixed(seed, "step", i)) for seed in noise.seeds]


@pytest.mark.parametrize("steps", [10, 50, 200])
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_agrees(steps, eta):
    scheduler, times = Oracle.ddpm("DDIMScheduler", steps, clip_sample=False, set_alpha_to_one=True)
    noise = Noise([1, 2])
    x = noise.normal(2).double()
    ours = walked("ddpm", "ddim", wavy_ddpm, x, noise, steps, eta)
    for i, (t, k) in enumerate(zip(times, scheduler.timesteps, strict=True)):
        extra = {"eta": eta, "variance_noise": noise.at(i).normal(2).double()}
        x = scheduler.step(wavy_eps(x, t), int(k), x, **extra).prev_sample
        assert_close(ours[i + 1].x, x, rtol=1e-6, atol=1e-6)  # float64 but for the noise


@pytest.mark.parametrize("steps", [20, 1000])
def test_ddpm_agrees(steps):
    scheduler, times = Oracle.ddpm("DDPMScheduler", steps, clip_sample=False, variance_type="fixed_small")
    noise = Noise([1, 2])
    x = noise.normal(2)  # their noise has the type of x
    ours = walked("ddpm", "ddpm", wavy_ddpm, x, noise, steps)
    for i, (t, k) in enumerate(zip(times, scheduler.timesteps, strict=True)):
        # Each step starts from our state: at alpha = 0.006 a rounding of x_t is a large one of x0.
        theirs = scheduler.step(wavy_eps(ours[i].x, t), int(k), ours[i].x, generator=step_noise(noise, i)).prev_sample
        assert_close(ours[i + 1].x, theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("steps", [5, 10, 40])
def test_dpm_solver_agrees(steps):
    scheduler, times = Oracle.ddpm(
        "DPMSolverMultistepScheduler",
        steps,
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",  # the last step goes to clean data, at order 1, as ours does
        lower_order_final=True,
        beta_start=1e-4,
        beta_end=0.02,
    )
    x = Noise([1, 2]).normal(2)
    ours = walked("ddpm", "dpm++2m", wavy_ddpm, x, Noise([1, 2]), steps)
    for i, (t, k) in enumerate(zip(times, scheduler.timesteps, strict=True)):
        x = scheduler.step(wavy_eps(x, t), int(k), x).prev_sample
        assert_close(ours[i + 1].x, x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 40, 200])
def test_unipc_agrees(steps):
    scheduler, times = Oracle.ddpm(
        "UniPCMultistepScheduler",
        steps,
        solver_order=2,
        solver_type="bh2",
        predict_x0=True,
        lower_order_final=True,  # the last step goes to clean data, at order 1, as ours does
        final_sigmas_type="zero",
    )
    x = Noise([1, 2]).normal(2)
    ours = walked("ddpm", "unipc", wavy_ddpm, x, Noise([1, 2]), steps)
    for i, (t, k) in enumerate(zip(times, scheduler.timesteps, strict=True)):
        x = scheduler.step(wavy_eps(x, t), int(k), x).prev_sample
        assert_close(ours[i + 1].x, x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_unipc_agrees_on_the_schedule_of_flow_matching(steps):
    from diffusers import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, solver_order=2)
    scheduler.set_timesteps(steps)
    times = [1 - i / steps for i in range(steps)]
    scheduler.sigmas = torch.tensor([*times, 0.0], dtype=torch.float64)
    # Theirs begins at 0.999999, since it cannot take a log-SNR of minus infinity; nearer to it they agree with ours.
    scheduler._sigma_to_alpha_sigma_t = lambda sigma: ((1 - sigma).clamp(min=1e-300), sigma)
    x = Noise([1, 2]).normal(2).double()
    ours = walked("flow", "unipc", wavy_flow, x, Noise([1, 2]), steps)
    for i, (t, k) in enumerate(zip(times, scheduler.timesteps, strict=True)):
        x = scheduler.step(wavy_eps(x, t), k, x).prev_sample
        assert_close(ours[i + 1].x, x, rtol=1e-4, atol=1e-4)


def in_sigma_space(kind: str, steps: int) -> Oracle:
    """A scheduler of x / alpha over sigma / alpha, whose sigmas are put in float64 as its timesteps name them."""
    oracle = Oracle.ddpm(kind, steps, beta_start=1e-4, beta_end=0.02)
    pairs = [schedule_of("ddpm")(t) for t in [*oracle.times, 0.0]]
    sigmas = torch.tensor([sigma / alpha for alpha, sigma in pairs], dtype=torch.float64)
    if kind == "HeunDiscreteScheduler":
        sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
    assert_close(oracle.scheduler.sigmas.double(), sigmas, rtol=1e-3, atol=1e-6)
    oracle.scheduler.sigmas = sigmas
    return oracle


@pytest.mark.parametrize("steps", [1, 10, 50])
def test_euler_agrees(steps):
    scheduler, times = in_sigma_space("EulerDiscreteScheduler", steps)
    x = Noise([1, 2]).normal(2).double()
    ours = walked("ddpm", "euler", wavy_ddpm, x, Noise([1, 2]), steps)
    scaled = x / schedule_of("ddpm")(1.0)[0]  # theirs: x / alpha
    for i, (t, k) in enumerate(zip(times, scheduler.timesteps, strict=True)):
        alpha, alpha_to = schedule_of("ddpm")(t)[0], schedule_of("ddpm")(ours[i + 1].t)[0]
        seen = scheduler.scale_model_input(scaled, k)
        assert_close(seen, alpha * scaled, msg="what their network sees is our x_t")
        scaled = scheduler.step(wavy_eps(seen, t), k, scaled).prev_sample
        assert_close(ours[i + 1].x, alpha_to * scaled, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 10, 50])
def test_heun_agrees(steps):
    scheduler, _ = in_sigma_space("HeunDiscreteScheduler", steps)
    x = Noise([1, 2]).normal(2).double()
    ours = walked("ddpm", "heun", wavy_ddpm, x, Noise([1, 2]), steps)
    scaled, states = x / schedule_of("ddpm")(1.0)[0], []
    for k in scheduler.timesteps:
        first, t = scheduler.state_in_first_order, (int(k) + 1) / 1000
        seen = scheduler.scale_model_input(scaled, k)
        scaled = scheduler.step(wavy_eps(seen, t), k, scaled).prev_sample
        if not first or len(states) == steps - 1:
            states.append(scaled)
    assert len(states) == steps
    for mine, theirs in zip(ours[1:], states, strict=True):
        assert_close(mine.x, schedule_of("ddpm")(mine.t)[0] * theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_state_alone_is_enough_to_go_on(name, solver):
    x, noise = Noise([1, 2]).normal(2).double(), Noise([1, 2])
    trunk = walked(name, solver, exact(name), x, noise, 10, 0.5)
    for k in (2, 4, 8):
        alone = State(
            trunk[k].t, trunk[k].x.clone(), trunk[k].step, tuple((t, x0.clone()) for t, x0 in trunk[k].history)
        )
        branch = step(solver, exact(name), schedule_of(name), alone, trunk[k + 1].t, noise, 0.5)[0]
        assert torch.equal(branch.x, trunk[k + 1].x)
        bare = step(solver, exact(name), schedule_of(name), alone._replace(history=()), trunk[k + 1].t, noise, 0.5)[0]
        assert torch.equal(bare.x, branch.x) == (solver not in ("dpm++2m", "unipc")), "only multistep solvers look back"


@pytest.mark.parametrize("other", [solver for solver in SOLVERS if solver != "unipc"])
def test_unipc_corrects_its_own_steps_only(other):
    """After another solver's step its own predictor did not make x, so it begins with order 2 and no corrector."""
    x, noise = Noise([1]).normal(2).double(), Noise([1])
    state = walked("ddpm", other, exact("ddpm"), x, noise, 10)[4]
    follows, predictor = (
        step(solver, exact("ddpm"), schedule_of("ddpm"), state, 0.5, noise)[0] for solver in ("unipc", "dpm++2m")
    )
    assert torch.equal(follows.x, predictor.x)
    assert [t for t, _ in follows.history] == [state.history[-1][0], state.t]


@pytest.mark.parametrize("name", MODELS)
def test_the_corrector_helps(name):
    """With few steps UniPC ends nearer to the flow's end than its predictor alone, which is DPM-Solver++."""
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    for steps in (10, 20, 40):
        off = {}
        for solver in ("dpm++2m", "unipc"):
            state = walked(name, solver, exact(name), x, Noise([0]), steps)[steps * 4 // 5]
            off[solver] = float((state.x - end_of_ode(name, x, state.t)).square().mean().sqrt())
        assert off["unipc"] < off["dpm++2m"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_equal_calls(solver):
    for calls in range(1, 12):
        steps = steps_within(solver, calls)
        assert steps >= 1
        assert calls_of(solver, steps) <= calls < calls_of(solver, steps + 1)
        spent, state, noise = 0, State(1.0, torch.zeros(1, 2, dtype=torch.float64)), Noise([0])
        for i in range(1, steps + 1):
            state, _, cost = step(solver, exact("flow"), schedule_of("flow"), state, 1 - i / steps, noise)
            spent += cost
        assert spent == calls_of(solver, steps)


@pytest.mark.parametrize("steps", [1, 10, 50])
def test_flow_matching_euler_agrees(steps):
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))  # our times; theirs end at 0.001 by default
    x = Noise([1, 2]).normal(2)
    ours = walked("flow", "euler", wavy_flow, x, Noise([1, 2]), steps)
    for i, k in enumerate(scheduler.timesteps):
        assert float(k) == pytest.approx(1000 * (1 - i / steps), rel=1e-5)
        x = scheduler.step(wavy_eps(x, 1 - i / steps), k, x).prev_sample
        assert_close(ours[i + 1].x, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_flow_matching_heun_agrees(steps):
    from diffusers import FlowMatchHeunDiscreteScheduler

    scheduler = FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(steps)
    # It offers no other times than 1 .. 0.001, so ours are put in its own layout: each inner one twice.
    times = torch.tensor([1 - i / steps for i in range(steps)])
    scheduler.sigmas = torch.cat([times[:1], times[1:].repeat_interleave(2), torch.zeros(1)])
    scheduler.timesteps = 1000 * scheduler.sigmas[:-1]
    x = Noise([1, 2]).normal(2)
    ours = walked("flow", "heun", wavy_flow, x, Noise([1, 2]), steps)
    states = []
    for k in scheduler.timesteps:
        first = scheduler.state_in_first_order
        x = scheduler.step(wavy_eps(x, float(k) / 1000), k, x).prev_sample
        if not first or len(states) == steps - 1:
            states.append(x)
    assert len(states) == steps
    for mine, theirs in zip(ours[1:], states, strict=True):
        assert_close(mine.x, theirs, rtol=1e-4, atol=1e-5)


# ---- density --------------------------------------------------------------------------------------------------


def axes(x: Tensor) -> Tensor:
    return torch.eye(x.shape[1], dtype=x.dtype)[:, None].expand(-1, *x.shape)


def test_the_density_of_a_flow_from_a_gaussian_is_that_gaussian():
    schedule, denoise = schedule_of("flow"), exact("flow")

    def velocity(x: Tensor, t: float) -> Tensor:
        guess = denoise(x, t)
        return guess.eps - guess.x0

    x = torch.linspace(-1, 4, 22, dtype=torch.float64).view(11, 2)
    truth = torch.distributions.Normal(MEAN, SPREAD).log_prob(x).sum(1)
    found = {n: log_density(velocity, x, axes(x), [i / n for i in range(n + 1)]) for n in (25, 50, 100)}
    assert schedule(1.0) == (0.0, 1.0)
    assert found[100].dtype == torch.float64
    assert_close(found[100], truth, rtol=0, atol=1e-4)
    errors = {n: float((value - truth).abs().max()) for n, value in found.items()}
    assert errors[25] > 6 * errors[50] > 36 * errors[100], "the method is of order 3"


def test_a_linear_flow_spreads_by_its_trace_alone():
    matrix = torch.tensor([[0.3, 2.0, 0.0], [-1.0, 0.5, 0.7], [0.1, 0.0, -0.2]], dtype=torch.float64)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    end = x @ torch.matrix_exp(matrix).T
    truth = torch.distributions.Normal(0.0, 1.0).log_prob(end).sum(1) + matrix.trace()
    times = [i / 40 for i in range(41)]
    assert_close(log_density(lambda x, t: x @ matrix.T, x, axes(x), times), truth, rtol=0, atol=1e-4)


def test_random_signs_find_the_divergence_on_average():
    weight = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 2

    def velocity(x: Tensor, t: float) -> Tensor:
        return torch.tanh(x @ weight.T + t)

    x, times = torch.linspace(-1, 1, 6, dtype=torch.float64)[None], [i / 8 for i in range(9)]
    truth = log_density(velocity, x, axes(x), times)
    signs = torch.where(Noise(range(4000)).uniform(6) < 0.5, -1.0, 1.0).double()
    single = log_density(velocity, x.expand(4000, 6), signs[None], times)
    assert single.std() > 0.1, "one probe is an estimate"
    assert (single.mean() - truth).abs() < 4 * single.std() / 4000**0.5
    together = log_density(velocity, x, signs[:64, None] / 8, times)
    assert_close(together, single[:64].mean(0, keepdim=True), rtol=0, atol=1e-9)
