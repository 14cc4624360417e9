"""A judge learns classes, sees what is moved as what it was, and reads them from 64 features."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from toys import FakePictures

from gen_models.interface import BadInput, Batch, Space, Turn
from gen_models.models.judge import FEATURES, Judge
from gen_models.training import Recipe, Stage, Training

SPACE = Space("image", (1, 16, 16), labels=("a", "b", "c"))


def seeded(**config) -> Judge:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Judge(SPACE, channels=8, **config)


def blob(x: float, y: float) -> torch.Tensor:
    """A bright blob at (x, y), in the units of the grid: -1 .. 1."""
    at = (torch.arange(16) + 0.5) / 8 - 1
    return (-((at[None, :] - x) ** 2 + (at[:, None] - y) ** 2) * 30).exp()[None] * 2 - 1


@pytest.mark.parametrize("network", ["residual", "plain"])
def test_a_judge_learns_what_can_be_learnt(network):
    source = FakePictures(SPACE, 30)
    recipe = Recipe({"training": Stage(40)}, batch_size=30, lr=5e-3)
    training = Training(seeded(network=network), source, recipe)
    *_, last = training
    assert last.show["accuracy"] > 0.9
    with torch.no_grad():
        logits = training.shown.classify(source.x)
        features = training.shown.features(source.x)
    assert (logits.argmax(1) == source.label).float().mean() > 0.9
    assert features.shape == (30, FEATURES)
    assert (features >= 0).all()
    assert_close(training.shown.head(features), logits)


def test_the_two_networks_differ():
    sizes = {network: sum(p.numel() for p in seeded(network=network).parameters()) for network in ("residual", "plain")}
    assert sizes["residual"] != sizes["plain"]


def test_a_picture_that_is_not_moved_stays_as_it_is():
    x = FakePictures(SPACE, 6).x
    assert_close(seeded(turn=0.0, shift=0.0).moved(x, torch.Generator().manual_seed(0)), x, atol=1e-5, rtol=0)


def test_shifts_and_turns_stay_within_their_bounds():
    def centre(x):
        at = (torch.arange(16) + 0.5) / 8 - 1
        light = (x[:, 0] + 1).clamp_min(0)
        total = light.sum((1, 2))
        return torch.stack([(light.sum(1) * at).sum(1) / total, (light.sum(2) * at).sum(1) / total], 1)

    x = blob(0.0, 0.0).expand(200, -1, -1, -1)
    rng = torch.Generator().manual_seed(0)
    moved = centre(seeded(turn=0.0, shift=0.25).moved(x, rng))
    assert moved.abs().max() < 0.27
    assert moved.abs().max() > 0.2
    turned = centre(seeded(turn=0.1, shift=0.0).moved(blob(0.5, 0.0).expand(200, -1, -1, -1), rng))
    assert (turned - torch.tensor([0.5, 0.0])).norm(dim=1).max() < 0.12
    assert turned.std(0).min() > 0.01


def test_only_a_mirrored_judge_mirrors():
    x, rng = blob(0.6, 0.0).expand(100, -1, -1, -1), torch.Generator().manual_seed(0)
    left = lambda x: (x[:, 0, :, :8].sum((1, 2)) > x[:, 0, :, 8:].sum((1, 2))).float().mean()  # noqa: E731
    assert left(seeded(turn=0.0, shift=0.0).moved(x, rng)) == 0
    assert 0.3 < left(seeded(turn=0.0, shift=0.0, mirrored=True).moved(x, rng)) < 0.7


def test_moves_depend_on_the_turns_generator_alone():
    model, x = seeded(), FakePictures(SPACE, 6)
    values = [
        model.loss(Batch(x.x, x.label), Turn("", "training", 0, 0.0, torch.Generator().manual_seed(seed))).minimise
        for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    "space", [Space("points", (2,)), Space("image", (1, 16, 16)), Space("image", (1, 15, 16), labels=("a", "b"))]
)
def test_what_cannot_be_judged_is_refused(space):
    with pytest.raises(BadInput):
        Judge(space)


def test_data_without_classes_is_refused():
    with pytest.raises(BadInput, match="classes"):
        seeded().loss(Batch(FakePictures(SPACE).x), Turn("", "training", 0, 0.0, torch.Generator()))
