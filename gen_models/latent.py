"""Ways through a latent space: straight lines, great circles, walks past key points, directions that matter.

Animating Rotation with Quaternion Curves (Shoemake, 1985) for slerp; the directions are those of the decoder's
pull-back metric, Latent Space Oddity (Arvanitidis, Hansen and Hauberg, 2018), arXiv:1710.11379.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from gen_models.interface import BadInput
from gen_models.noise import mixed

PARALLEL = 1e-4  # sine of the angle below which the great circle is not determined in float32
STEP = 0.02  # half the distance of a central difference, in standard deviations of z
ROWS = 128  # latents decoded at once


def lerp(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """The straight line from a to b, both (B, *shape), at t: a number or (B,); exact at 0 and 1."""
    return torch.lerp(a, b, _aligned(t, a))


def slerp(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """The great circle from a to b, both (B, *shape) and each row one vector, at t: a number or (B,).

    The norm goes linearly from a's to b's, so that a walk between samples of N(0, I) stays where the samples lie.
    Rows that are nearly parallel, opposite or zero take the straight line.
    """
    t = _aligned(t, a)
    norms = [v.flatten(1).norm(dim=1).view(-1, *(1,) * (v.dim() - 1)) for v in (a, b)]
    u, v = (x / n.clamp_min(torch.finfo(x.dtype).tiny) for x, n in zip((a, b), norms, strict=True))
    apart, along = ((u + sign * v).flatten(1).norm(dim=1) for sign in (-1, 1))
    angle = (2 * torch.atan2(apart, along)).view_as(norms[0])  # exact near 0 and pi, where arccos is not
    sine = angle.sin()
    safe = torch.where(sine < PARALLEL, 1, sine)
    circle = (((1 - t) * angle).sin() * u + (t * angle).sin() * v) / safe * torch.lerp(*norms, t)
    straight = (sine < PARALLEL) | (torch.minimum(*norms) == 0)
    return torch.where(straight, torch.lerp(a, b, t), circle)


def key_frames(points: int, frames: int, loop: bool = False) -> list[int]:
    """The frames at which a walk stands on its key points, spread as evenly as whole numbers allow."""
    if points < 2:
        raise BadInput("A walk needs at least two key points; add another.")
    if frames < points:
        raise BadInput(f"A walk through {points} key points needs at least {points} frames; got {frames}.")
    length = frames / points if loop else (frames - 1) / (points - 1)
    return [math.floor(k * length + 0.5) for k in range(points)]


def walk(points: Tensor, frames: int, how: Literal["slerp", "lerp"] = "slerp", loop: bool = False) -> Tensor:
    """Frames (frames, *latent_shape) along key points (K, *latent_shape), each of which is passed exactly.

    The first frame is the first key point and the last frame the last one; with `loop` the walk returns towards the
    first, which is not repeated. BadInput for fewer than two key points, fewer frames than key points or another `how`.
    """
    if how not in ("slerp", "lerp"):
        raise BadInput(f"A walk is slerp or lerp; got {how!r}.")
    keys = key_frames(len(points), frames, loop)
    ends = [*keys[1:], frames] if loop else keys[1:]
    start, t = [], []
    for k, (first, end) in enumerate(zip(keys, ends, strict=False)):
        start += [k] * (end - first)
        t += [i / (end - first) for i in range(end - first)]
    if not loop:
        start, t = [*start, len(points) - 1], [*t, 0.0]
    index = torch.tensor(start, device=points.device)
    a, b = points[index], points[(index + 1) % len(points)]
    along = torch.tensor(t, device=points.device, dtype=points.dtype)
    path = (slerp if how == "slerp" else lerp)(a, b, along)
    path[torch.tensor(keys, device=points.device)] = points  # exact: slerp rounds
    return path


@torch.no_grad()
def principal_directions(
    decode: Callable[[Tensor], Tensor],
    latent_shape: tuple[int, ...],
    n: int,
    samples: int = 256,
    seed: int = 0,
    *,
    device: str | torch.device = "cpu",
) -> tuple[Tensor, Tensor]:
    """The n unit directions (n, *latent_shape) that move the decoder's output most, and by how much (n,).

    They are the leading eigenvectors of the mean of J^T J over z ~ N(0, I), J the decoder's Jacobian from central
    differences; a scale is the root mean square change of the output (Euclidean norm) per unit step. `samples` is the
    number of (z, axis) pairs looked at, raised to cover every axis at least once. decode takes (B, *latent_shape) for
    any B up to 128. The largest entry of a direction is positive. BadInput unless 1 <= n <= the latent's size.
    """
    size = math.prod(latent_shape)
    if not 1 <= n <= size:
        raise BadInput(f"This latent space has {size} directions; ask for 1 to {size}, got {n}.")
    rng = torch.Generator().manual_seed(mixed("principal directions", seed))
    axes = torch.eye(size, device=device) * STEP
    metric = torch.zeros(size, size, dtype=torch.float64)
    places = max(1, math.ceil(samples / size))
    for z in torch.randn(places, size, generator=rng).to(device):
        probes = torch.cat([z + axes, z - axes]).view(-1, *latent_shape)
        out = torch.cat([decode(rows).flatten(1) for rows in probes.split(ROWS)])  # (2 size, outputs)
        columns = (out[:size] - out[size:]) / (2 * STEP)  # row i: how axis i moves the output
        metric += (columns @ columns.T).double().cpu()
    strength, vectors = torch.linalg.eigh(metric / places)
    directions = vectors.flip(1)[:, :n].T.float()
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    scales = strength.flip(0)[:n].clamp_min(0).sqrt().float()
    return (directions * largest.sign()).reshape(n, *latent_shape).to(device), scales.to(device)


def _aligned(t: float | Tensor, like: Tensor) -> Tensor:
    """t as a tensor that multiplies (B, *shape) row by row."""
    t = torch.as_tensor(t, dtype=like.dtype, device=like.device)
    return t.view(-1, *(1,) * (like.dim() - 1)) if t.dim() else t
