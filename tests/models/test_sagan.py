"""The hinge losses by hand, attention and its twin of equal size, and what DiffAugment does to a picture."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gen_models.interface import BadInput, Batch, Space, Turn
from gen_models.models.sagan import SAGAN, ConditionalNorm, Pointwise, SelfAttention
from gen_models.nn import diff_augment
from gen_models.nn.adversarial import cut_out, recoloured, translated
from gen_models.noise import Noise

PICTURES = Space("image", (3, 16, 16), labels=("a", "b", "c"))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def turn(player: str = "discriminator") -> Turn:
    return Turn(player, "training", 0, 0.0, rng())


def small(space: Space = PICTURES, **config) -> SAGAN:
    """A model whose every parameter counts, the gates too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SAGAN(space, **{"latent_dim": 8, "channels": 8, "conditional": bool(space.labels)} | config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
                if name.endswith("gate"):
                    parameter.fill_(0.5)
    return model.eval()


def pictures(n: int, space: Space = PICTURES) -> torch.Tensor:
    return torch.rand(n, *space.shape, generator=rng(n)) * 2 - 1


# ---- the losses ----------------------------------------------------------------------------------------------


class Mean(nn.Module):
    """The score of a picture is its mean."""

    def forward(self, x, label=None):
        return x.mean((1, 2, 3))


def test_the_hinge_losses():
    model = small()
    model.discriminator = Mean()
    grey = torch.ones(2, 3, 16, 16)
    real = torch.tensor([2.0, -0.25]).view(2, 1, 1, 1) * grey  # beyond the margin; on the wrong side
    false = torch.tensor([-0.5, 0.75]).view(2, 1, 1, 1) * grey  # within the margin; on the wrong side
    loss = model.judge_loss(real, false, None, turn())
    assert_close(loss.minimise, torch.tensor((0 + 1.25) / 2 + (0.5 + 1.75) / 2))
    assert_close(loss.show["discriminator is right"], torch.tensor(0.5))
    assert_close(model.generator_loss(real, false, None).minimise, torch.tensor(-0.125))


def test_the_judge_looks_at_real_and_generated_as_if_each_stood_alone():
    model, label = small(), torch.eye(3)[[0, 1]]
    real, false = pictures(2), -pictures(2)
    loss = model.judge_loss(real, false, label, turn()).minimise
    on_real, on_false = model.criticise(real, label=label), model.criticise(false, label=label)
    assert_close(loss, (1 - on_real).clamp_min(0).mean() + (1 + on_false).clamp_min(0).mean())


@pytest.mark.parametrize("augment", [False, True])
def test_each_player_learns_alone(augment):
    model = small(augment=augment).train()
    batch = Batch(pictures(4), torch.tensor([0, 1, 2, 0]))
    loss = model.loss(batch, turn()).minimise
    gradients = torch.autograd.grad(loss, list(model.generator.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in gradients)
    loss = model.loss(batch, turn("generator")).minimise
    gradients = torch.autograd.grad(loss, list(model.generator.parameters()))
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


def test_augmentation_is_of_training_alone_and_of_both_kinds_of_picture():
    plain, augmented = small(), small(augment=True)
    x, seen = pictures(4), []
    augmented.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    augmented.loss(Batch(x, torch.zeros(4, dtype=torch.long)), turn())
    z = torch.randn(4, 8, generator=rng())
    drawn = augmented.generator(z, torch.eye(3)[[0, 0, 0, 0]])
    for shown, clean in zip(seen[0].chunk(2), (x, drawn), strict=True):
        assert (shown - clean).flatten(1).abs().amax(1).min() > 0.05, "every picture is changed"
    assert_close(augmented.criticise(x), plain.criticise(x))


def test_spectral_norm_holds_every_weight_of_the_discriminator_at_one():
    model = small().train()
    for _ in range(40):  # one power iteration each
        model.discriminator(pictures(2), torch.eye(3)[:2])
    layers = [layer for layer in model.discriminator.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 19
    for layer in layers:
        assert_close(torch.linalg.matrix_norm(layer.weight.flatten(1), 2), torch.tensor(1.0), rtol=0.05, atol=0)


# ---- attention -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [PICTURES, Space("image", (1, 28, 28)), Space("image", (3, 32, 32))])
def test_the_twin_without_attention_has_as_many_parameters(space):
    for channels in (8, 48):
        with_, without = (
            sum(p.numel() for p in SAGAN(space, channels=channels, attention=attention).parameters())
            for attention in (True, False)
        )
        assert with_ == without


def test_attention_gets_what_its_weights_say():
    """A place that only looks at places like itself gets their value; far places count as much as near ones."""
    layer = SelfAttention(8)
    with torch.no_grad():
        for linear in (layer.query, layer.key):
            linear.weight.copy_(20 * torch.eye(8))
        layer.value.weight.copy_(torch.eye(4, 8))
        layer.out.weight.copy_(torch.eye(8, 4))
        layer.gate.fill_(1.0)
    x = torch.zeros(1, 8, 2, 2)
    x[0, 0, 0, 0] = x[0, 0, 1, 1] = 1  # two corners alike
    x[0, 1, 0, 1] = x[0, 2, 1, 0] = 1
    half, alone = torch.tensor([[0.5, 0.0], [0.0, 0.5]]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    weights = layer.weights(x).view(2, 2, 2, 2)
    assert_close(weights[0, 0], half)
    assert_close(weights[1, 1], half)
    assert_close(weights[0, 1], alone)
    assert_close(layer(x), torch.cat([2 * x[:, :4], x[:, 4:]], 1))


@pytest.mark.parametrize("block", [SelfAttention, Pointwise])
def test_the_gate_is_closed_at_first(block):
    x = torch.randn(2, 16, 4, 4, generator=rng())
    assert torch.equal(block(16)(x), x)


def test_only_attention_carries_far():
    x = torch.randn(1, 16, 4, 4, generator=rng(), requires_grad=True)
    for block, reach in ((SelfAttention(16), 16), (SelfAttention(16, pooled=True), 16), (Pointwise(16), 1)):
        with torch.no_grad():
            block.gate.fill_(1.0)
        (gradient,) = torch.autograd.grad(block(x)[0, :, 0, 0].sum(), x)
        assert int(gradient.abs().sum(1).count_nonzero()) == reach


def test_the_maps_are_the_generators_own():
    """Moving what the second layer attends with changes its map alone; each map sums to 1."""
    model, z = small(), torch.randn(2, 8, generator=rng())
    with torch.no_grad():
        maps = model.attention_maps(z, label=torch.tensor([0, 2]))
        assert {name: tuple(x.shape) for name, x in maps.items()} == {
            "4 x 4": (2, 1, 4, 4, 4, 4),
            "8 x 8": (2, 1, 8, 8, 8, 8),
        }
        for seen in maps.values():
            assert_close(seen.sum((-2, -1)), torch.ones_like(seen[..., 0, 0]))
        model.generator.mixing[1].query.weight.mul_(-2)
        after = model.attention_maps(z, label=torch.tensor([0, 2]))
    assert torch.equal(after["4 x 4"], maps["4 x 4"])
    assert not torch.allclose(after["8 x 8"], maps["8 x 8"])


def test_a_model_without_attention_has_nothing_to_show():
    assert small(attention=False).attention_maps(torch.zeros(1, 8)) == {}


# ---- the generator -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 20), (1, 28, 28), (3, 32, 32)])
def test_pictures_of_many_sizes(shape):
    model = small(Space("image", shape))
    with torch.no_grad():
        x = model.decode(torch.zeros(2, 8))
        maps = model.attention_maps(torch.zeros(2, 8))
    assert x.shape == (2, *shape)
    assert [tuple(seen.shape[2:4]) for seen in maps.values()] == [(shape[1] // n, shape[2] // n) for n in (4, 2)]


@pytest.mark.parametrize("space", [Space("points", (2,)), Space("image", (3, 18, 18))])
def test_what_it_cannot_draw_is_refused(space):
    with pytest.raises(BadInput):
        SAGAN(space)


def test_a_sample_is_the_same_alone_and_after_training_in_batches():
    """Batch norm uses what it has gathered: the other samples of a batch do not matter."""
    model = small().train()
    model.loss(Batch(pictures(4), torch.tensor([0, 1, 2, 0])), turn("generator"))
    model.eval()
    with torch.no_grad():
        *_, batch = model.sample(Noise([3, 4, 5]), label=torch.tensor([0, 1, 2]))
        *_, alone = model.sample(Noise([4]), label=torch.tensor([1]))
    assert_close(alone.x[0], batch.x[1], rtol=1e-4, atol=1e-5)


def test_the_condition_scales_and_shifts_what_is_normalised():
    norm = ConditionalNorm(4, 2)
    with torch.no_grad():
        norm.film.weight.copy_(torch.cat([torch.eye(2).repeat(2, 1), torch.zeros(4, 2)]))  # scales only
        norm.film.bias[4:] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    x = 5 + 3 * torch.randn(64, 4, 8, 8, generator=rng())
    y = norm(x, torch.tensor([[1.0, 3.0]]).expand(64, 2))
    assert_close(y.mean((0, 2, 3)), torch.tensor([1.0, 2.0, 3.0, 4.0]), rtol=0, atol=1e-4)
    assert_close(y.std((0, 2, 3)), torch.tensor([2.0, 4.0, 2.0, 4.0]), rtol=1e-3, atol=0)


# ---- DiffAugment ---------------------------------------------------------------------------------------------


def test_translation_moves_the_picture_and_leaves_nothing_behind():
    x = torch.zeros(300, 1, 16, 16)
    x[:, :, 8, 8] = 1
    moved = translated(x, rng())
    assert_close(moved.sum((1, 2, 3)), torch.ones(300))
    places = moved.flatten(1).argmax(1)
    for line in (places // 16, places % 16):
        assert sorted(line.unique().tolist()) == [6, 7, 8, 9, 10], "an eighth of the side, each way"
    edge = torch.ones(300, 1, 16, 16)
    assert translated(edge, rng()).flatten(1).sum(1).min() == 14 * 14


def test_a_square_of_half_the_side_is_cut_out():
    cut = 1 - cut_out(torch.ones(200, 2, 16, 16), rng())
    assert torch.equal(cut[:, 0], cut[:, 1]), "of all colours alike"
    rows, columns = cut[:, 0].amax(2).sum(1), cut[:, 0].amax(1).sum(1)
    assert_close(cut[:, 0].sum((1, 2)), rows * columns)
    assert rows.max() == columns.max() == 8
    assert rows.min() >= 4, "at least a quarter of it lies in the picture"


def test_colours_move_within_their_bounds():
    grey = torch.full((500, 3, 2, 2), 0.25)
    brighter = recoloured(grey, rng()) - grey
    assert_close(brighter.flatten(1).std(1), torch.zeros(500), rtol=0, atol=1e-6)
    assert brighter.min() < -0.45 < 0.45 < brighter.max()
    assert brighter.abs().max() <= 0.5 + 1e-6
    x = torch.zeros(500, 3, 1, 2)
    x[:, 0, :, 0], x[:, 0, :, 1] = 1.0, -1.0  # one colour of two places: saturation and contrast both scale it
    y = recoloured(x, rng())
    between = (y[:, 0] - y[:, 1]).abs().amax((1, 2))
    assert between.max() <= 2 * 1.5 + 1e-5
    assert between.min() < 0.1 < 2.5 < between.max()


def test_diff_augment_is_differentiable_and_decided_by_the_generator_of_the_turn():
    x = pictures(6)
    assert torch.equal(diff_augment(x, rng(1)), diff_augment(x, rng(1)))
    assert not torch.equal(diff_augment(x, rng(1)), diff_augment(x, rng(2)))
    x = x[:2, :, :6, :6].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: diff_augment(y, rng(1)), x)
