"""What the Arena draws of a model in training: samples and their paths, its density, its critic, its components."""

from __future__ import annotations

import base64
from typing import Any

import torch
from torch import Tensor

from gen_models import zoo
from gen_models.interface import Clusters, Criticises, Frame, GenerativeModel, Scores, options
from gen_models.noise import Noise
from gen_models.ui.film import LIMIT
from gen_models.ui.panels.sources import coded

COUNT = 300  # samples in a picture
PATHS, ARROWS = 32, 24  # samples whose path, or whose pull, is drawn
DENSITY, FIELD = 40, 24  # cells along a side
FEW = {"steps": 6, "solver": "dpm++2m"}  # for samplers that walk
DRAWS = 8  # of a bound, where it is drawn or shown while training
LONGEST = 0.9  # units: the longest arrow


def frames(model: GenerativeModel, n: int, sampling: dict[str, Any]) -> list[Frame]:
    """The frames of n samples with seeds 0, 1, ..: the same noise in every picture, so that points move smoothly."""
    known = options(type(model).sample)
    values = {name: value for name, value in FEW.items() if name in known} | sampling
    return list(zoo.sample(model, 0, n, **values))


def paths(found: list[Frame]) -> dict[str, Any] | None:
    """Where the first samples came from, step by step; None for a model that draws in one go."""
    if found[-1].total < 2:
        return None
    walked = torch.stack([frame.x[:PATHS] for frame in found], 1)  # (PATHS, frames, 2)
    return {"count": len(walked), "length": walked.shape[1], "points": coded(walked.reshape(-1, 2))}


def plane(side: int) -> Tensor:
    """The middles of side x side cells of the view, top row first: (side^2, 2)."""
    middle = (torch.arange(side) + 0.5) / side * 2 * LIMIT - LIMIT
    y, x = torch.meshgrid(-middle, middle, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)


def log_prob(model: Scores, x: Tensor, draws: int = DRAWS) -> Tensor:
    """(B,) nats on the CPU; a bound takes `draws` draws."""
    with torch.no_grad():
        noise = None if model.exact else Noise(range(len(x)), model.device)
        return model.log_prob(x.to(model.device), noise, samples=1 if model.exact else draws).cpu()


def density(model: GenerativeModel, highest: float | None) -> dict[str, Any] | None:
    """The root of its density over the view as bytes; 255 is `highest` nats, or the model's own peak."""
    return shades(log_prob(model, plane(DENSITY)), highest) if isinstance(model, Scores) else None


def shades(values: Tensor, highest: float | None) -> dict[str, Any]:
    """Log-densities (side^2,) as bytes: roots, so that faint parts show."""
    values = torch.nan_to_num(values.double(), -1e9, -1e9, -1e9)
    peak = values.max() if highest is None else highest
    return _bytes(torch.exp((values - peak) / 2).clamp(max=1))


def field(model: GenerativeModel, points: Tensor) -> dict[str, Any] | None:
    """The critic's scores over the view, and where they pull the first samples; None for a model without critic."""
    if not isinstance(model, Criticises):
        return None
    with torch.no_grad():
        scores = model.criticise(plane(FIELD).to(model.device)).cpu()
    low, high = scores.quantile(0.05), scores.quantile(0.95)
    at = points[:ARROWS].detach().clone().to(model.device).requires_grad_()
    (pull,) = torch.autograd.grad(model.criticise(at).sum(), at)
    pull = pull.cpu() * LONGEST / pull.norm(dim=1).max().clamp_min(1e-9).cpu()
    arrows = torch.stack([points[:ARROWS].cpu(), points[:ARROWS].cpu() + pull], 1).reshape(-1, 2)
    return _bytes(((scores - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)) | {"arrows": coded(arrows)}


def ellipses(model: GenerativeModel) -> list[dict[str, Any]] | None:
    """Means and axes of the components, one standard deviation each; None for a model without components."""
    if not isinstance(model, Clusters):
        return None
    with torch.no_grad():
        found = model.components()
    rows = zip(found.weight.tolist(), found.mean.tolist(), found.factors.tolist(), strict=True)
    return [{"weight": weight, "mean": mean, "axes": axes} for weight, mean, axes in rows]


def _bytes(shares: Tensor) -> dict[str, Any]:
    whole = torch.nan_to_num(shares * 255).round().to(torch.uint8)
    return {"side": round(len(whole) ** 0.5), "bytes": base64.b64encode(whole.numpy().tobytes()).decode()}
