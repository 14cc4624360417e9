"""The losses of the three games against numbers worked out by hand, on judges that are linear."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gen_models.interface import Batch, Space, Turn
from gen_models.models.gan import GAN, R3GAN, WGANGP
from gen_models.noise import Noise

POINTS, PICTURES = Space("points", (2,)), Space("image", (1, 8, 8), labels=("a", "b", "c"))
WEIGHT = torch.tensor([0.6, -0.8])  # of norm 1


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


def turn(player: str = "discriminator", step: int = 0) -> Turn:
    return Turn(player, "training", step, 0.0, torch.Generator().manual_seed(0))


class Linear(nn.Module):
    """score = w . x"""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())

    def forward(self, x, label=None):
        return x.flatten(1) @ self.weight


def judged(kind: type, weight: torch.Tensor = WEIGHT, **config):
    model = kind(POINTS, latent_dim=2, channels=8, **config)
    setattr(model, model.players[0], Linear(weight))
    return model


REAL = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # scores 0.6, -0.8
FALSE = torch.tensor([[2.0, 1.0], [0.0, 0.0]])  # scores 0.4, 0


def average(*values: float) -> torch.Tensor:
    return torch.tensor(sum(values) / len(values))


# ---- the losses ----------------------------------------------------------------------------------------------


def test_the_non_saturating_losses():
    model = judged(GAN)
    loss = model.judge_loss(REAL, FALSE, None, turn())
    on_real = average(-log_sigmoid(0.6), -log_sigmoid(-0.8))
    on_false = average(-log_sigmoid(-0.4), -log_sigmoid(0.0))
    assert_close(loss.minimise, on_real + on_false)
    assert_close(loss.show["discriminator is right"], torch.tensor(0.25))  # one real of two, no generated one of two
    assert_close(model.generator_loss(REAL, FALSE, None).minimise, average(-log_sigmoid(0.4), -log_sigmoid(0.0)))


def test_the_wasserstein_losses():
    model = judged(WGANGP, 3 * WEIGHT, penalty=10.0)
    loss = model.judge_loss(REAL, FALSE, None, turn("critic"))
    distance = 3 * (-0.1 - 0.2)
    assert_close(loss.show["Wasserstein estimate"], torch.tensor(distance))
    assert_close(loss.show["gradient penalty"], torch.tensor(4.0))  # (3 - 1)^2
    assert_close(loss.minimise, torch.tensor(10 * 4.0 - distance))
    assert_close(model.generator_loss(REAL, FALSE, None).minimise, torch.tensor(-3 * 0.2))


def test_the_relativistic_losses():
    model = judged(R3GAN, gamma=0.0)
    loss = model.judge_loss(REAL, FALSE, None, turn())
    assert_close(loss.minimise, average(-log_sigmoid(0.6 - 0.4), -log_sigmoid(-0.8 - 0.0)))
    assert_close(loss.show["discriminator is right"], torch.tensor([1.0, 0.0]))
    expected = average(-log_sigmoid(0.4 - 0.6), -log_sigmoid(0.0 + 0.8))
    assert_close(model.generator_loss(REAL, FALSE, None).minimise, expected)


# ---- the penalties -------------------------------------------------------------------------------------------


def test_a_linear_critic_of_norm_one_pays_no_penalty():
    assert_close(judged(WGANGP).gradient_penalty(REAL), torch.tensor(0.0))
    assert_close(judged(WGANGP, 0.5 * WEIGHT).gradient_penalty(REAL), torch.tensor(0.25))


def test_r1_and_r2_of_a_linear_discriminator_are_its_squared_norm():
    for step, every in ((0, 1), (3, 1), (8, 4)):
        model = judged(R3GAN, 3 * WEIGHT, gamma=0.2, penalty_every=every)
        loss = model.judge_loss(REAL, FALSE, None, turn(step=step))
        assert_close(loss.show["R1"], torch.tensor(9.0))
        assert_close(loss.show["R2"], torch.tensor(9.0))
        assert_close(loss.minimise - loss.show["discriminator"], torch.tensor(0.1 * every * 18))


def test_lazy_penalties_rest_between_their_steps():
    model = judged(R3GAN, gamma=1.0, penalty_every=4)
    paid = ["R1" in model.judge_loss(REAL, FALSE, None, turn(step=step)).show for step in range(9)]
    assert paid == [True, False, False, False, True, False, False, False, True]


@pytest.mark.parametrize("kind", [WGANGP, R3GAN])
def test_the_penalty_pulls_the_weights_of_the_judge(kind):
    """Of a linear judge, d/dw of R1 + R2 = 4 w, and of the gradient penalty 2 (|w| - 1) w / |w|."""
    model = judged(kind, 3 * WEIGHT, **({"gamma": 2.0} if kind is R3GAN else {"penalty": 1.0}))
    weight = model.get_submodule(model.players[0]).weight
    loss = model.judge_loss(REAL, REAL.clone(), None, turn(model.players[0]))  # the games' own terms cancel
    (gradient,) = torch.autograd.grad(loss.minimise, weight)
    expected = 4 * weight if kind is R3GAN else 2 * (3 - 1) * WEIGHT
    assert_close(gradient, expected.detach())


def test_the_wasserstein_penalty_is_taken_between_real_and_generated():
    model, seen = judged(WGANGP), []
    model.critic.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    real, false = torch.zeros(500, 2), torch.ones(500, 2)
    model.judge_loss(real, false, None, turn("critic"))
    between = seen[0]
    assert torch.equal(between[:, 0], between[:, 1]), "one mixture per pair"
    assert 0 <= between.min() < 0.05 < 0.95 < between.max() <= 1
    assert_close(between.mean(), torch.tensor(0.5), rtol=0, atol=4 * 0.29 / 500**0.5)


# ---- the game ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GAN, WGANGP, R3GAN])
def test_the_judge_learns_nothing_of_the_generator_and_the_generator_through_the_judge(kind):
    model = kind(POINTS, latent_dim=4, channels=8)
    batch, judge = Batch(torch.randn(6, 2, generator=torch.Generator().manual_seed(0))), model.players[0]
    loss = model.loss(batch, turn(judge)).minimise
    gradients = torch.autograd.grad(loss, list(model.generator.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in gradients)
    loss = model.loss(batch, turn("generator")).minimise
    gradients = torch.autograd.grad(loss, list(model.generator.parameters()))
    assert all(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("kind", [GAN, WGANGP, R3GAN])
def test_the_turns_generator_decides_what_is_generated(kind):
    model, batch = kind(POINTS, latent_dim=4, channels=8), Batch(REAL)
    model.eval()  # spectral norm's own iterations rest

    def value(seed: int) -> torch.Tensor:
        return model.loss(batch, Turn("generator", "training", 0, 0.0, torch.Generator().manual_seed(seed))).minimise

    assert torch.equal(value(1), value(1))
    assert not torch.equal(value(1), value(2))


@pytest.mark.parametrize("space", [POINTS, PICTURES])
def test_spectral_norm_holds_every_weight_at_one(space):
    model = GAN(space, channels=8, conditional=bool(space.labels))
    model.train()
    for _ in range(30):  # one power iteration each
        label = torch.eye(3)[:2] if space.labels else None
        model.discriminator(torch.zeros(2, *space.shape), label)
    layers = [layer for layer in model.discriminator.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) >= 4
    for layer in layers:
        assert_close(torch.linalg.matrix_norm(layer.weight.flatten(1), 2), torch.tensor(1.0), rtol=0.03, atol=0)


def test_only_the_plain_gan_has_spectral_norm():
    for kind in (WGANGP, R3GAN):
        assert not any("parametrizations" in name for name, _ in kind(PICTURES, channels=8).named_parameters())


# ---- what it can do ------------------------------------------------------------------------------------------


def test_truncation_scales_the_codes():
    model = GAN(POINTS, latent_dim=4, channels=8).eval()
    with torch.no_grad():
        *_, half = model.sample(Noise([3, 4]), truncation=0.5)
        assert_close(half.x, model.decode(0.5 * Noise([3, 4]).normal(4)))


def test_classes_change_the_picture_and_the_judgement():
    from toys import lively

    from gen_models import zoo

    model = lively(zoo.live(R3GAN, PICTURES, channels=8))
    z = Noise([0]).normal(64).expand(3, 64)
    with torch.no_grad():
        x = model.decode(z, label=torch.eye(3))
        scores = model.criticise(x[:1].expand(3, -1, -1, -1), label=torch.eye(3))
        indices = model.decode(z, label=torch.arange(3))
    assert not torch.allclose(x[0], x[1])
    assert len(scores.unique()) == 3
    assert_close(indices, x)


def test_pictures_are_clamped_for_the_eye_only():
    model = R3GAN(PICTURES, channels=8).eval()
    with torch.no_grad():
        model.generator.head.bias.fill_(3.0)
        assert model.decode(torch.zeros(1, 64)).max() == 1
        assert model.generator(torch.zeros(1, 64)).max() > 1, "training sees the whole range"
