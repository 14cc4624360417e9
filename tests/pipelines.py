"""What the tests of pipelines in diffusers' format share: ours and theirs, drawn from the same seeds."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.testing import assert_close

from gen_models.noise import Noise

SEEDS = (3, 4)


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def opened(kind, folder: Path, **more):
    space, config = kind.described(folder)
    return kind(space, files=folder, **config | more).eval()


def last(model, **values) -> torch.Tensor:
    with torch.no_grad():
        *_, frame = model.sample(Noise(SEEDS), **values)
    return frame.x


def assert_same(x: torch.Tensor, theirs) -> None:
    theirs = torch.from_numpy(theirs)
    assert theirs.std() > 0.02, "not all one colour"
    assert_close(x.permute(0, 2, 3, 1) / 2 + 0.5, theirs, rtol=0, atol=1e-4)


def theirs(pipeline, steps: int = 10, **values):
    return pipeline(generator=generators(), num_inference_steps=steps, output_type="np", **values).images
