"""Diffusion with the epsilon objective and flow matching: one walk from noise to data, two targets.

Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv 2006.11239.
Flow Matching for Generative Modeling (Lipman et al., 2023), arXiv 2210.02747.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from gen_models import schedules
from gen_models.interface import (
    BadInput,
    Batch,
    Denoises,
    Frame,
    GenerativeModel,
    Guess,
    Loss,
    Range,
    Scores,
    Space,
    State,
    Turn,
)
from gen_models.nn import PointsNetwork, UNet
from gen_models.noise import Noise
from gen_models.solvers import Solver, log_density, remaining, step

Steps = Annotated[int, Range(1, 1000)]
Guidance = Annotated[float, Range(0.0, 8.0, 0.1)]
Eta = Annotated[float, Range(0.0, 1.0, 0.05)]

FEW = 4  # numbers in an x that is small enough for an exact divergence
AT_ONCE = 2**17  # numbers of x whose density is followed at once: bounds the memory of the gradients


class InOrder(Noise):
    """Noise whose step n is draw n + 1 of each seed's own stream, after the draw that a walk starts from.

    So does diffusers draw, given one torch.Generator per seed. What lies before step n is drawn again where a walk
    starts there.
    """

    def __init__(self, noise: Noise):
        super().__init__(noise.seeds, noise.device)
        self._step, self._made, self._last = 0, 0, None

    def at(self, step: int) -> Noise:
        self._step = step
        return self

    def normal(self, *shape: int) -> Tensor:
        wanted = self._step + 2
        if self._made > wanted:  # back to the start of the streams
            super().__init__(self.seeds, self.device)
            self._made = 0
        while self._made < wanted:
            self._made, self._last = self._made + 1, super().normal(*shape)
        return self._last


class Walks(Denoises):
    """A walk from noise to data with every step visible, by any solver."""

    space: Space
    device: torch.device

    def advance(
        self,
        solver: Solver,
        state: State,
        t: float,
        noise: Noise,
        eta: float,
        label: Tensor | None,
        guidance: float,
    ) -> tuple[State, Guess, int]:
        """One step of the solver to the earlier time t: the new state, the guess made at the old one, the calls."""

        def denoise(x: Tensor, t: float) -> Guess:
            return self.denoise(x, t, label=label, guidance=guidance)

        return step(solver, denoise, self.levels, state, t, noise, eta)

    def levels(self, t: float) -> tuple[float, float]:
        """The schedule in plain numbers."""
        alpha, sigma = self.schedule(t)
        return float(alpha), float(sigma)

    def walk(
        self,
        noise: Noise,
        label: Tensor | None,
        steps: int,
        solver: Solver,
        guidance: float,
        eta: float,
        start: State | None,
    ) -> Iterator[Frame]:
        """From pure noise, or from `start`, over the times 1, 1 - 1/steps, .., 0 that lie before it."""
        state = start or State(1.0, noise.normal(*self.space.shape).to(self.device))
        times, stream, calls = remaining(steps, state.t), InOrder(noise), 0
        yield Frame(state.x, 0, len(times), state=state)
        for i, t in enumerate(times, 1):
            state, guess, cost = self.advance(solver, state, t, stream, eta, label, guidance)
            calls += cost
            x = state.x.clamp(-1, 1) if i == len(times) and self.space.kind == "image" else state.x
            yield Frame(x, i, len(times), x0=guess.x0, show={"eps": guess.eps}, state=state, calls=calls)


class Diffusion(GenerativeModel, Walks):
    """What both targets share: label dropout, classifier-free guidance, and the walk.

    Classifier-Free Diffusion Guidance (Ho and Salimans, 2022), arXiv 2207.12598.
    """

    most_steps = 1000
    about = r"""
**Objective.** Noise a picture, $x_t = \alpha_t x_0 + \sigma_t \epsilon$, and let a network undo it. DDPM predicts the
noise, $\min \mathbb{E}\,\|\epsilon - \hat\epsilon(x_t, t)\|^2$; flow matching predicts the velocity of the straight
line from data to noise, $\min \mathbb{E}\,\|(\epsilon - x_0) - \hat v(x_t, t)\|^2$ with
$x_t = (1 - t)\,x_0 + t\,\epsilon$. Sampling starts from pure noise at $t = 1$ and walks to the data at $t = 0$.

**Try first.** *Steps*: play the walk and watch the clean guess $\hat x_0$ decide what the picture will be long before
the noise is gone. Then lower the number of steps until it breaks.

**Where it fails.** Each picture costs many calls of the network; too few steps blur or tear it. Strong guidance makes
every picture typical and all of them alike.

**Papers.** Ho et al. 2020, [arXiv 2006.11239](https://arxiv.org/abs/2006.11239); Lipman et al. 2023,
[arXiv 2210.02747](https://arxiv.org/abs/2210.02747); guidance: [arXiv 2207.12598](https://arxiv.org/abs/2207.12598).
"""

    def __init__(
        self,
        space: Space,
        *,
        channels: Annotated[int, Range(8, 128, 8)] = 32,
        label_dropout: Annotated[float, Range(0.0, 1.0, 0.05)] = 0.1,
        conditional: bool = False,
        build: Callable[[Space, int], nn.Module] | None = None,
    ):
        super().__init__(space, conditional=conditional)
        self.label_dropout = label_dropout
        if build is not None:
            self.network = build(space, channels)
        elif space.kind == "image":
            self.network = UNet(space, len(self.labels), channels)
        else:
            self.network = PointsNetwork(space, len(self.labels), 4 * channels)

    def predict(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        """The network's output; x_t (B, *shape), t (B,), label rows (B, K) or None."""
        return self.network(x_t, t, label)

    @abstractmethod
    def guess(self, x_t: Tensor, t: Tensor, predicted: Tensor) -> Guess:
        """The network's output at times t (B,) as (x0, eps)."""

    def dropped(self, label: Tensor | None, rng: torch.Generator) -> Tensor | None:
        """Label rows of which a share is emptied, so that one network learns both."""
        if label is None:
            return None
        kept = torch.rand(len(label), 1, generator=rng).to(label.device) >= self.label_dropout
        return label * kept

    def denoise(self, x_t: Tensor, t: float | Tensor, *, label: Tensor | None = None, guidance: float = 1.0) -> Guess:
        times = torch.as_tensor(t, dtype=x_t.dtype, device=x_t.device).expand(len(x_t))
        rows = self.label_rows(label, len(x_t))
        if rows is None or guidance == 1.0 or not rows.any():
            return self.guess(x_t, times, self.predict(x_t, times, rows))
        both = self.predict(torch.cat([x_t, x_t]), torch.cat([times, times]), torch.cat([rows, torch.zeros_like(rows)]))
        conditional, unconditional = both.chunk(2)
        return self.guess(x_t, times, unconditional + guidance * (conditional - unconditional))

    @classmethod
    def limits(cls, space: Space, config: Mapping[str, Any]) -> Mapping[str, Range]:
        narrowed = {"steps": Range(1, cls.most_steps)}
        return narrowed if config.get("conditional") else narrowed | {"guidance": Range(1.0, 1.0)}


class DDPM(Diffusion):
    """The epsilon objective on 1000 noise levels with a linear schedule.

    Our t is diffusers' integer timestep k = round(1000 t) - 1; images may use its UNet2DModel, so that others can load
    the weights as a plain DDPMPipeline.
    """

    def __init__(
        self,
        space: Space,
        *,
        channels: Annotated[int, Range(8, 128, 8)] = 32,
        label_dropout: Annotated[float, Range(0.0, 1.0, 0.05)] = 0.1,
        conditional: bool = False,
        network: Literal["ours", "diffusers"] = "ours",
    ):
        build = _unet2d if network == "diffusers" else None
        if build and (conditional or space.kind != "image"):
            raise BadInput("The diffusers U-Net here is for pictures without classes; choose the network 'ours'.")
        super().__init__(space, channels=channels, label_dropout=label_dropout, conditional=conditional, build=build)
        self.diffusers = bool(build)
        alphas, sigmas = schedules.linear_levels()  # at diffusers' k = -1 .. 999
        self.register_buffer("alphas", alphas, persistent=False)
        self.register_buffer("sigmas", sigmas, persistent=False)

    def schedule(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma of the nearest of the 1000 levels, float64; t = 0 is clean."""
        level = schedules.nearest(t).to(self.alphas.device)
        return self.alphas[level], self.sigmas[level]

    def predict(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        if not self.diffusers:
            return super().predict(x_t, t, label)
        return self.network(x_t, (t.double() * 1000).round().long() - 1, return_dict=False)[0]

    def guess(self, x_t: Tensor, t: Tensor, predicted: Tensor) -> Guess:
        shape = (-1,) + (1,) * (x_t.dim() - 1)
        alpha, sigma = (a.to(x_t.dtype).view(shape) for a in self.schedule(t))
        return Guess((x_t - sigma * predicted) / alpha, predicted)

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        n, device = len(batch.x), batch.x.device
        t = (torch.randint(1000, (n,), generator=turn.rng) + 1).to(device) / 1000
        eps = torch.randn(batch.x.shape, generator=turn.rng).to(device)
        label = self.dropped(self.label_rows(batch.label, n), turn.rng)
        error = (self.predict(self.noised(batch.x, t, eps), t, label) - eps).square().flatten(1).mean(1)
        return Loss(error.mean(), {"noise error": error})

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        steps: Steps = 50,
        solver: Solver = "ddim",
        guidance: Guidance = 1.5,
        eta: Eta = 0.0,
        start: State | None = None,
    ) -> Iterator[Frame]:
        """x_t, the guess of x0 and the predicted noise at every step; eta is for the solver ddim."""
        return self.walk(noise, label, steps, solver, guidance, eta, start)


class FlowMatching(Diffusion, Scores):
    """The velocity eps - x0 of straight lines between data and noise, with logit-normal times.

    Times as in Scaling Rectified Flow Transformers (Esser et al., 2024), arXiv 2403.03206.
    """

    most_steps = 200
    exact = True
    how = "the flow's ODE followed to the noise, without classes"

    def schedule(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        """alpha = 1 - t, sigma = t."""
        return schedules.flow(t)

    def guess(self, x_t: Tensor, t: Tensor, predicted: Tensor) -> Guess:
        t = t.view((-1,) + (1,) * (x_t.dim() - 1))
        return Guess(x_t - t * predicted, x_t + (1 - t) * predicted)

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        n, device = len(batch.x), batch.x.device
        t = torch.sigmoid(torch.randn(n, generator=turn.rng) - 0.3).to(device)
        eps = torch.randn(batch.x.shape, generator=turn.rng).to(device)
        label = self.dropped(self.label_rows(batch.label, n), turn.rng)
        predicted = self.predict(self.noised(batch.x, t, eps), t, label)
        error = (predicted - (eps - batch.x)).square().flatten(1).mean(1)
        return Loss(error.mean(), {"velocity error": error})

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        steps: Annotated[int, Range(1, 200)] = 8,
        solver: Solver = "heun",
        guidance: Guidance = 1.5,
        eta: Eta = 0.0,
        start: State | None = None,
    ) -> Iterator[Frame]:
        """x_t, the guess of x0 and the predicted noise at every step; eta is for the solver ddim."""
        return self.walk(noise, label, steps, solver, guidance, eta, start)

    def log_prob(
        self, x: Tensor, noise: Noise | None = None, *, label: Tensor | None = None, samples: int = 1
    ) -> Tensor:
        """log p(x) of the flow itself, without guidance, (B,) float64 nats: its ODE followed from x to the noise.

        The divergence of points is exact. That of pictures is estimated without bias from `samples` vectors of random
        signs drawn from `noise`, the same along the whole way: single rows are noisy, means over many are not. The
        ODE is cut into steps: of points that errs by less than 0.001 nats on average, of the MNIST and Fashion-MNIST
        models by about 0.003 bits per dimension (12 steps against 64).
        """
        noise = noise or Noise(range(len(x)), x.device)
        size, rows = self.space.size, self.label_rows(label, len(x))
        if size <= FEW:
            probes = torch.eye(size, dtype=x.dtype, device=x.device).view(size, 1, *x.shape[1:]).expand(-1, *x.shape)
        else:
            signs = torch.where(noise.uniform(samples, *x.shape[1:]) < 0.5, -1.0, 1.0) / math.sqrt(samples)
            probes = signs.transpose(0, 1).to(x)
        times = _crowded(24, 1.0) if size <= FEW else _crowded(12, 0.03)

        def density(part: slice) -> Tensor:
            label = None if rows is None else rows[part]

            def velocity(x_t: Tensor, t: float) -> Tensor:
                return self.predict(x_t, x_t.new_full((len(x_t),), t), label)

            return log_density(velocity, x[part], probes[:, part], times)

        width = max(1, AT_ONCE // size)
        return torch.cat([density(slice(first, first + width)) for first in range(0, len(x), width)])

    @classmethod
    def measure(cls, space: Space, config: Mapping[str, Any]) -> Literal["density"]:
        return "density"


def _crowded(steps: int, near: float) -> list[float]:
    """Times from 0 to 1 whose distances grow like t + near: the flow is steep where x is almost data."""
    return [near * ((1 + 1 / near) ** (i / steps) - 1) for i in range(steps + 1)]


def _unet2d(space: Space, channels: int) -> nn.Module:
    """diffusers' UNet2DModel; imported here, since the import takes seconds."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=space.shape[1],
        in_channels=space.shape[0],
        out_channels=space.shape[0],
        layers_per_block=1,
        block_out_channels=(channels, 2 * channels, 4 * channels),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=4 * channels,
        norm_num_groups=8,
    )
