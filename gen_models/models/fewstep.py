"""A flow map: jumps along the walk of a diffusion model, learnt from that model, so that one to eight calls suffice.

Flow Map Matching (Boffi, Albergo and Vanden-Eijnden, 2024), arXiv 2406.07507, learnt from the teacher's own walks as in
On Distillation of Guided Diffusion Models (Meng et al., 2023), arXiv 2210.03142, and Flow Straight and Fast (Liu, Gong
and Liu, 2023), arXiv 2209.03003.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from gen_models.interface import (
    BadInput,
    Batch,
    Choices,
    Decodes,
    Frame,
    GenerativeModel,
    Imitates,
    Loss,
    Range,
    Space,
    Turn,
)
from gen_models.nn import PointsNetwork, TimeFeatures, UNet, mlp, zero
from gen_models.noise import Noise

JUMPS = (1, 2, 4, 8)  # numbers of steps that a sample may take
GRID = max(JUMPS)
TOGETHER = 64  # walks of the teacher that are made at once
HUBER = 0.1  # where an error counts as small: below it squared, above it plainly


class TwoTimes(nn.Module):
    """Takes the place of a network's `time`: (B, 2) rows of a time and the time to jump to -> (B, width).

    Before training it answers as the teacher's own does, whose weights go into `now`.
    """

    def __init__(self, now: nn.Module, width: int):
        super().__init__()
        self.now = now
        self.jump = nn.Sequential(TimeFeatures(32), *mlp([32, width, width]))
        zero(self.jump[-1])

    def forward(self, times: Tensor) -> Tensor:
        t, to = times.unbind(1)
        return self.now(t) + self.jump(t - to)


class FlowMap(GenerativeModel, Decodes, Imitates):
    """x_s = x_t + (s - t) u(x_t, t, s): where the teacher's walk from x_t stands at the earlier time s, in one call.

    The teacher's guidance is learnt along with it, so a call is one pass of the network and not two.
    """

    about = r"""
**Objective.** A diffusion model walks from noise to data in many small steps. A flow map learns where the walk leads,
$x_s = x_t + (s - t)\,u(x_t, t, s)$, and jumps there. Its teacher walks from many noises; the student looks at two
places of such a walk and learns $\min \mathbb{E}\,\|u(x_t, t, s) - (x_t - x_s)/(t - s)\|$. It begins as a copy of the
teacher, whose velocity is the jump of length zero.

**Try first.** *Latent* and *Interpolate*: drag through the noise as through a GAN's. Then *Teacher*: the same noise
through both, with their times. Set `steps` to 1 and see what the single jump leaves undecided.

**Where it fails.** It can be no better than its teacher. In one jump it answers with the mean of what it cannot tell
apart, which looks soft; two jumps mend most of that.

**Papers.** Boffi et al. 2024, [arXiv 2406.07507](https://arxiv.org/abs/2406.07507); Meng et al. 2023,
[arXiv 2210.03142](https://arxiv.org/abs/2210.03142); rectified flow: [arXiv 2209.03003](https://arxiv.org/abs/2209.03003);
consistency models, its relatives: [arXiv 2303.01469](https://arxiv.org/abs/2303.01469).
"""

    def __init__(
        self,
        space: Space,
        *,
        channels: Annotated[int, Range(8, 128, 8)] = 32,
        conditional: bool = False,
        guidance: Annotated[float, Range(0.0, 8.0, 0.1)] = 1.5,
        walks: Annotated[int, Range(64, 65536)] = 16384,
    ):
        """`guidance` is the teacher's; `walks` is how many of its walks there are to learn from."""
        super().__init__(space, conditional=conditional)
        self.latent_shape = space.shape
        self.guidance, self.walks = guidance, walks
        if space.kind == "image":
            self.network = UNet(space, len(self.labels), channels)
            width = self.network.time[-1].out_features
        else:
            width = 4 * channels
            self.network = PointsNetwork(space, len(self.labels), width)
        self.network.time = TwoTimes(self.network.time, width)
        self._walked: dict[int, Tensor] = {}  # the teacher's, TOGETHER in each: a cache, not state

    # ---- what is learnt ------------------------------------------------------------------------------------------

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        """Copies the teacher's network; BadInput where there is none, or one of another shape."""
        weights = _taught(teacher).network.state_dict()
        weights = {name.replace("time.", "time.now.", 1) if name.startswith("time.") else name: value
                   for name, value in weights.items()}  # fmt: skip
        own = self.network.state_dict()
        new = {name for name in own if name.startswith("time.jump.")}
        if weights.keys() | new != own.keys() or any(weights[name].shape != own[name].shape for name in weights):
            raise BadInput("The teacher's network has another shape: give both the same `channels` and classes.")
        self.network.load_state_dict(own | weights)

    def target(self) -> dict[str, Any]:
        return {"solver": "heun", "steps": GRID, "guidance": self.guidance, "eta": 0.0}

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        """Of one jump of the samplers of 1, 2, 4 and 8 steps each, on the teacher's walks; the batch gives the number.

        The pseudo-Huber loss of Improved Techniques for Training Consistency Models (Song and Dhariwal, 2023),
        arXiv 2310.14189.
        """
        n, device = len(batch.x), batch.x.device
        which = torch.randint(min(self.walks, TOGETHER * (turn.step + 1)), (n,), generator=turn.rng)
        steps = torch.tensor(JUMPS)[torch.randint(len(JUMPS), (n,), generator=turn.rng)]
        part = (torch.rand(n, generator=turn.rng) * steps).long()
        first, last = part * GRID // steps, (part + 1) * GRID // steps
        walked = self._walks(which.tolist(), _taught(turn.teacher), device)
        rows = torch.arange(n)
        x_t, x_s = (walked[rows, at].to(device, batch.x.dtype) for at in (first, last))
        t, s = ((1 - at / GRID).to(device, batch.x.dtype) for at in (first, last))
        label = self.label_rows(self._labels(which), n)
        found = self.velocity(x_t, t, s, label)
        error = (found - (x_t - x_s) / _over(t - s, x_t)).square().flatten(1).mean(1)
        huber = (error + HUBER**2).sqrt() - HUBER
        return Loss(huber.mean(), {"jump error": error.detach().sqrt()})

    def _labels(self, which: Tensor) -> Tensor | None:
        """The classes of these walks: they take turns."""
        return which % len(self.labels) if self.labels else None

    @torch.no_grad()
    def _walks(self, which: list[int], teacher: GenerativeModel, device: torch.device) -> Tensor:
        """Places of the teacher's walks from the noise of seeds `which`, (n, GRID + 1, *shape), on the CPU.

        They are walked TOGETHER at a time, always the same ones, and there are more of them with every step of the
        training: what a training learns does not depend on whether it was stopped in between.
        """
        with torch.autocast(device.type, enabled=False):
            for part in sorted({k // TOGETHER for k in which} - self._walked.keys()):
                seeds = range(part * TOGETHER, (part + 1) * TOGETHER)
                label = self.label_rows(self._labels(torch.tensor(seeds)), TOGETHER)
                frames = teacher.sample(Noise(seeds, device), label=label, **self.target())
                self._walked[part] = torch.stack([frame.x for frame in frames], 1).half().cpu()
            return torch.stack([self._walked[k // TOGETHER][k % TOGETHER] for k in which])

    # ---- jumping -------------------------------------------------------------------------------------------------

    def velocity(self, x_t: Tensor, t: Tensor, s: Tensor, label: Tensor | None) -> Tensor:
        """The mean velocity of the walk between the times t and s, both (B,)."""
        return self.network(x_t, torch.stack([t, s], 1), label)

    def jump(self, x_t: Tensor, t: float, s: float, *, label: Tensor | None = None) -> Tensor:
        """Where the walk from x_t (B, *shape) at time t stands at the earlier time s: one call."""
        times = (x_t.new_full((len(x_t),), time) for time in (t, s))
        return x_t + (s - t) * self.velocity(x_t, *times, self.label_rows(label, len(x_t)))

    def sample(
        self, noise: Noise, *, label: Tensor | None = None, steps: Annotated[int, Choices(JUMPS)] = 2
    ) -> Iterator[Frame]:
        """One frame for each jump; equal jumps from t = 1 to t = 0."""
        x = noise.normal(*self.space.shape).to(self.device)
        yield Frame(x, 0, steps)
        for k, jumped in enumerate(self._jumps(x, label, steps), 1):
            yield Frame(jumped, k, steps, calls=k)

    def decode(self, z: Tensor, *, label: Tensor | None = None) -> Tensor:
        """The sample that begins with the noise z, in two calls."""
        *_, x = self._jumps(z, label, 2)
        return x

    def _jumps(self, x: Tensor, label: Tensor | None, steps: int) -> Iterator[Tensor]:
        for k in range(steps):
            x = self.jump(x, 1 - k / steps, 1 - (k + 1) / steps, label=label)
            yield x.clamp(-1, 1) if k + 1 == steps and self.space.kind == "image" else x


def _taught(teacher: GenerativeModel | None) -> GenerativeModel:
    if teacher is None or not hasattr(teacher, "network"):
        raise BadInput("A flow map learns from a trained diffusion model: name one as its entry's teacher.")
    return teacher


def _over(values: Tensor, like: Tensor) -> Tensor:
    """(B,) with the dimensions of `like` behind it."""
    return values.view(-1, *(1,) * (like.dim() - 1))
