"""CycleGAN's losses against numbers worked out by hand, on translators that only brighten or darken."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gen_models.interface import BadInput, Batch, Space, Turn
from gen_models.models.cyclegan import CycleGAN, Discriminator, Generator, Invention, bounded, pieces
from gen_models.training import Recipe, Stage, Training

SPACE = Space("image", (3, 8, 8), domains=("dark", "bright"))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def turn(player: str, seed: int = 0) -> Turn:
    return Turn(player, "training", 0, 0.0, rng(seed))


def pictures(n: int = 4, space: Space = SPACE, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, *space.shape, generator=rng(seed)) - 0.5


def both(n: int = 4, seed: int = 0) -> Batch:
    return Batch(pictures(n, seed=seed), None, pictures(n, seed=seed + 1))


class Brighter(nn.Module):
    """x + step"""

    invention = None

    def __init__(self, step: float):
        super().__init__()
        self.step = nn.Parameter(torch.tensor(step))

    def forward(self, x, like=None):
        return x + self.step


class Mean(nn.Module):
    """Two scores per picture, both its mean times the gain."""

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x):
        return self.gain * x.flatten(1).mean(1, keepdim=True).expand(-1, 2)


def brightened(a: float, b: float, **config) -> CycleGAN:
    """To A by adding a, to B by adding b, judged by the mean."""
    model = CycleGAN(SPACE, channels=8, blocks=1, **config)
    model.generators = nn.ModuleDict({"A": Brighter(a), "B": Brighter(b)})
    model.discriminators = nn.ModuleDict({"A": Mean(), "B": Mean()})
    return model


FLAT = Batch(torch.full((2, 3, 8, 8), -0.5), None, torch.full((3, 3, 8, 8), 0.25))


# ---- the losses ----------------------------------------------------------------------------------------------


def test_the_least_squares_of_the_discriminators():
    loss = brightened(-0.5, 0.5).loss(FLAT, turn("discriminators"))
    on_a, on_b = -0.5, 0.25  # real; generated: A = 0.25 - 0.5, B = -0.5 + 0.5
    a, b = ((on_a - 1) ** 2 + (-0.25) ** 2) / 2, ((on_b - 1) ** 2 + 0.0**2) / 2
    assert_close(loss.show["discriminator A"], torch.tensor(a))
    assert_close(loss.show["discriminator B"], torch.tensor(b))
    assert_close(loss.minimise, torch.tensor(a + b))


def test_the_four_terms_of_the_generators():
    """There and back adds -0.3 + 0.5 = 0.2 in both cycles; a picture of A is darkened by 0.3 on its own side."""
    model = brightened(-0.3, 0.5, cycle=10.0, back=2.0, identity=0.5)
    loss = model.loss(FLAT, turn("generators"))
    game = {"generator A": (0.25 - 0.3 - 1) ** 2, "generator B": (-0.5 + 0.5 - 1) ** 2}
    rest = {"cycle A": 0.2, "cycle B": 0.2, "identity A": 0.3, "identity B": 0.5}
    assert set(loss.show) == set(game | rest)
    for name, value in (game | rest).items():
        assert_close(loss.show[name], torch.tensor(value), msg=lambda text, name=name: f"{name}: {text}")
    expected = sum(game.values()) + 10 * (0.2 + 0.5 * 0.3) + 2 * (0.2 + 0.5 * 0.5)
    assert_close(loss.minimise, torch.tensor(expected))


def test_generators_that_do_nothing_cost_no_cycle_and_no_identity():
    model = CycleGAN(SPACE, channels=8, blocks=1)
    loss = model.loss(both(), turn("generators"))
    for name in ("cycle A", "cycle B", "identity A", "identity B"):
        assert loss.show[name] == 0, "fresh generators leave every picture as it is"
    assert_close(loss.minimise, loss.show["generator A"] + loss.show["generator B"])


def test_the_noise_against_hiding_disturbs_the_way_back_only():
    batch = both(n=64)
    loss = brightened(0.0, 0.0, noise=0.1).loss(batch, turn("generators"))
    assert_close(loss.show["cycle A"], torch.tensor(0.1 * (2 / torch.pi) ** 0.5), rtol=0.05, atol=0)
    assert loss.show["identity A"] == loss.show["identity B"] == 0
    quiet, other = (brightened(0.1, 0.0, noise=level) for level in (0.0, 0.1))

    def value(model: CycleGAN, seed: int) -> torch.Tensor:
        return model.loss(batch, turn("generators", seed)).minimise

    assert value(quiet, 0) == value(quiet, 1)
    assert value(other, 0) == value(other, 0)
    assert value(other, 0) != value(other, 1), "the turn's generator draws it"


def test_what_is_disturbed_is_the_cycle_that_comes_back_from_b():
    loss = brightened(0.0, 0.0, disturb=1.0).loss(both(n=16), turn("generators"))
    assert loss.show["cycle A"] > 0.05
    assert loss.show["cycle B"] == loss.show["identity A"] == loss.show["identity B"] == 0


def test_which_picture_stands_beside_which_does_not_matter():
    model = CycleGAN(SPACE, channels=8, blocks=1, invents=4).eval()
    batch = both(6)
    model.begin(batch, rng())
    shuffled = Batch(batch.x, None, batch.other[torch.randperm(6, generator=rng())])
    for player in model.players:
        assert_close(model.loss(batch, turn(player)).minimise, model.loss(shuffled, turn(player)).minimise)


def test_each_player_learns_through_the_other_but_not_for_it():
    model, batch = CycleGAN(SPACE, channels=8, blocks=1), both()
    found = {}
    for player in model.players:
        loss = model.loss(batch, turn(player)).minimise
        found[player] = torch.autograd.grad(loss, list(model.generators.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in found["discriminators"])
    assert all(gradient is not None for gradient in found["generators"])
    heads = [model.generators[domain].head.weight for domain in "AB"]
    gradients = torch.autograd.grad(model.loss(batch, turn("generators")).minimise, heads)
    assert all(gradient.any() for gradient in gradients), "from the game alone: the cycles cost nothing yet"


def test_brightness_is_learnt_without_pairs():
    class Levels:
        space, log_prob = SPACE, None

        def batch(self, n: int, rng: torch.Generator) -> Batch:
            a, b = 0.3 * torch.rand(2, n, *SPACE.shape, generator=rng)
            return Batch(a - 0.8, None, b + 0.4)

    torch.manual_seed(0)
    model = CycleGAN(SPACE, channels=8, blocks=1, cycle=1.0, back=1.0, identity=0.0)
    recipe = Recipe({"training": Stage(50)}, batch_size=8, lr=4e-3, optimizer="adam", betas=(0.5, 0.99), clip=10.0)
    training = Training(model, Levels(), recipe)
    list(training)
    batch = Levels().batch(64, rng(7))
    with torch.no_grad():
        to_b, to_a = training.shown.translate(batch.x, "B"), training.shown.translate(batch.other, "A")
    assert to_b.mean() > batch.x.mean() + 0.8, "of a way of 1.2"
    assert to_a.mean() < batch.other.mean() - 0.8


# ---- the networks --------------------------------------------------------------------------------------------


def lively(module: nn.Module) -> nn.Module:
    """In eval mode, with nothing left at 0."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng(parameter.numel())))
    return module.eval()


def test_what_is_cut_off_can_come_back():
    x = torch.tensor([-3.0, -0.5, 1.0, 2.0], requires_grad=True)
    y = bounded(x)
    assert y.tolist() == [-1.0, -0.5, 1.0, 1.0]
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert_close(gradient, torch.tensor([0.1, 1.0, 1.0, 0.1]))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 8, 12)])
def test_any_picture_whose_sides_can_be_halved_twice(shape):
    space = Space("image", shape, domains=("a", "b"))
    model = lively(CycleGAN(space, channels=8, blocks=1, invents=3))
    x = pictures(3, space)
    with torch.no_grad():
        for to in ("A", "B"):
            y = model.translate(x, to)
            assert y.shape == x.shape
            assert y.abs().max() <= 1
            assert not torch.allclose(y, x, atol=0.01)
            assert_close(model.translate(x[1:2], to), y[1:2], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model.translate(x, "A"), model.translate(x, "B"), atol=0.01)


def test_the_two_directions_are_the_two_generators():
    model = brightened(-0.25, 0.125)
    x = pictures()
    with torch.no_grad():
        assert_close(model.translate(x, "A"), x - 0.25)
        assert_close(model.translate(x, "B"), x + 0.125)


def test_the_discriminator_sees_parts_and_the_whole():
    judge = lively(Discriminator(Space("image", (3, 32, 32), domains=("a", "b")), 8))
    x = torch.randn(4, 3, 32, 32, generator=rng(), requires_grad=True)
    scores = judge(x)
    assert scores.shape == (4, 2 * 64)
    (corner,) = torch.autograd.grad(scores[:, 0].sum(), x, retain_graph=True)
    (whole,) = torch.autograd.grad(scores[:, -1].sum(), x)
    assert corner[:, :, :8, :8].any()
    assert not corner[:, :, 24:, 24:].any(), "the first part knows nothing of the opposite corner"
    assert whole.abs().sum((0, 1)).gt(0).all()
    assert torch.equal(scores[:, 64:], scores[:, 64:65].expand(-1, 64)), "weighed like all parts together"


def test_spectral_norm_holds_the_hidden_layers_of_the_discriminators_at_one():
    judge = Discriminator(SPACE, 8).train()
    for _ in range(40):  # one power iteration each
        judge(torch.zeros(2, *SPACE.shape))
    layers = [layer for layer in judge.modules() if hasattr(layer, "parametrizations")]
    assert len(layers) == 4
    for layer in layers:
        assert_close(torch.linalg.matrix_norm(layer.weight.flatten(1), 2), torch.tensor(1.0), rtol=0.03, atol=0)


def test_the_discriminator_compares_the_pictures_of_a_batch():
    """A picture among copies of itself is judged otherwise than among others: what is always the same is caught."""
    judge, x = lively(Discriminator(SPACE, 8)), pictures(4)
    with torch.no_grad():
        among_others, among_copies = judge(x)[:1], judge(x[:1].expand(4, -1, -1, -1))[:1]
    assert_close(among_others[:, :4], among_copies[:, :4])  # parts are judged alone
    assert not torch.allclose(among_others[:, -1], among_copies[:, -1], atol=1e-4)


# ---- invention -----------------------------------------------------------------------------------------------


def test_inventions_have_the_mean_and_the_spread_of_the_domain():
    space = Space("image", (3, 8, 8), domains=("a", "b"))
    invention = Invention(space, 2)
    ways = torch.linalg.qr(torch.randn(48, 2, generator=rng())).Q.T  # two directions of coarse pictures, 3 x 4 x 4
    weights = torch.randn(500, 2, generator=rng(1)) * torch.tensor([0.6, 0.3])
    coarse = 0.1 + weights @ ways
    invention.learn(nn.functional.interpolate(coarse.view(-1, 3, 4, 4), scale_factor=2))
    assert_close(invention.mean.flatten(), coarse.mean(0))
    learnt = invention.directions.flatten(1)
    assert_close(learnt.T @ learnt, torch.cov(coarse.T, correction=0), rtol=1e-3, atol=1e-5)
    drawn = invention(pictures(2000, space))
    assert drawn.shape == (2000, 3, 8, 8)
    smooth = nn.functional.interpolate(learnt.view(2, 3, 4, 4), scale_factor=2, mode="bilinear").flatten(1)
    assert_close(torch.cov(drawn.flatten(1).T), smooth.T @ smooth, rtol=0, atol=0.01)


def test_an_invention_is_read_off_the_picture():
    invention = Invention(SPACE, 4)
    invention.learn(pictures(50, seed=5))
    x = pictures(2)
    assert torch.equal(invention(x)[:1], invention(x)[:1])
    assert not torch.allclose(invention(x)[0], invention(x)[1])
    near = x.clone()
    near[:, :, 0, 0] += 0.01
    moved, other = (invention(near) - invention(x)).abs().mean(), (invention(x)[0] - invention(x)[1]).abs().mean()
    assert moved < 0.1 * other, "a small change leaves it much as it was"


def test_a_picture_is_drawn_again_from_its_own_coordinates():
    invention, x = Invention(SPACE, 30), pictures(20, seed=5)
    invention.learn(x)  # 19 directions hold 20 pictures without loss
    coarse = nn.functional.avg_pool2d(x, 2)
    smooth = nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    assert_close(invention.blurred(x), smooth.clamp(-1, 1), rtol=1e-3, atol=1e-4)


def test_the_cycle_from_b_takes_what_it_invents_from_where_it_started():
    model, seen = CycleGAN(SPACE, channels=8, blocks=1, invents=4), []
    model.generators["B"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1:]))
    batch = both()
    model.loss(batch, turn("generators"))
    invention = model.generators["B"].invention
    there = torch.cat([invention(batch.x), invention(batch.other)])
    assert torch.equal(seen[0][0], there), "on the way there it is invented"
    assert torch.equal(seen[1][0], invention.blurred(batch.other))


@pytest.mark.parametrize("player", CycleGAN.players)
def test_what_is_lent_are_pieces_of_the_batch(player):
    """Pictures of one colour each have pieces of that colour; both players see the translation with what is lent."""
    model, seen = CycleGAN(SPACE, channels=8, blocks=1, invents=4, lent=1.0), []
    model.generators["B"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    colours = torch.tensor([-0.75, -0.25, 0.5])
    batch = Batch(pictures(40), None, colours.view(3, 1, 1, 1).expand(3, *SPACE.shape).clone())
    model.loss(batch, turn(player))
    lent = seen[0][:40]
    assert_close(lent, lent[:, :1, :1, :1].expand_as(lent), rtol=0, atol=1e-5)
    assert {round(x, 2) for x in lent[:, 0, 0, 0].tolist()} == {-0.75, -0.25, 0.5}
    half, parts = CycleGAN(SPACE, channels=8, blocks=1, invents=4, lent=0.5), []
    half.generators["B"].register_forward_pre_hook(lambda _, inputs: parts.append(inputs[1]))
    half.loss(batch, turn(player))
    own = half.generators["B"].invention(batch.x)
    kept = (parts[0][:40] == own).flatten(1).all(1)
    assert 8 < int(kept.sum()) < 32


def slopes(dim: int, **asked) -> torch.Tensor:
    """How steep pieces of 200 pictures are, away from their border, that rise by 1 along the dimension."""
    ramp = torch.linspace(-1, 1, 8).view([8 if k == dim else 1 for k in range(4)]).expand(200, 3, 8, 8)
    found = pieces(ramp, rng(), 1 / 3, 2 / 3, **asked).diff(dim=dim).select(5 - dim, 4)[:, 0, 2:5] / (2 / 7)
    assert_close(found, found[:, :1].expand_as(found), rtol=0, atol=1e-5)
    return found[:, 0]


def test_a_piece_is_as_large_as_was_asked_and_mirrored_half_of_the_time():
    for dim in (2, 3):
        assert slopes(dim).abs().min() > 0.33
        assert slopes(dim).abs().max() < 0.67
        assert 60 < int((slopes(dim) < 0).sum()) < 140
    assert (slopes(2, upright=True) > 0).all(), "nothing stands on its head"


def test_the_discriminators_see_pieces_only_with_augmentation():
    """Pieces of pictures that are black but for their border are blacker."""
    framed = torch.full((16, *SPACE.shape), 1.0)
    framed[:, :, 1:-1, 1:-1] = -1
    batch, seen = Batch(framed, None, framed.clone()), {}
    for augment in (False, True):
        model = brightened(0.0, 0.0, augment=augment)
        model.discriminators["A"].register_forward_hook(lambda _, inputs, __, k=augment: seen.setdefault(k, inputs[0]))
        model.loss(batch, turn("discriminators"))
    assert torch.equal(seen[False], framed)
    assert seen[True].mean() < framed.mean() - 0.05


def test_what_is_close_costs_by_how_much_it_changed():
    """To A 0.3 are taken away, to B 0.5 are added."""
    near, free = (brightened(-0.3, 0.5, close=close).loss(FLAT, turn("generators")).minimise for close in (2.0, 0.0))
    assert_close(near - free, torch.tensor(2.0 * (0.3 + 0.5)))


def test_smooth_changes_hold_no_pattern_of_single_pixels():
    x, rough = pictures(2), {}
    for smooth in (False, True):
        changed = lively(Generator(SPACE, 8, 1, smooth=smooth)).changes(x).detach()
        coarse = nn.functional.interpolate(nn.functional.avg_pool2d(changed, 2), scale_factor=2, mode="bilinear")
        rough[smooth] = float((changed - coarse).abs().mean() / changed.abs().mean())
    assert rough[True] < 0.5 * rough[False]


def test_trust_weighs_what_the_discriminator_of_a_says():
    with_half, whole = (brightened(-0.3, 0.5, trust=trust).loss(FLAT, turn("generators")) for trust in (0.5, 1.0))
    assert_close(whole.minimise - with_half.minimise, 0.5 * whole.show["generator A"])


@pytest.mark.parametrize("through", [True, False])
def test_a_cycle_teaches_the_way_back_and_the_way_there_only_where_it_may(through):
    model = brightened(-0.3, 0.5, through=through)
    loss = model.loss(FLAT, turn("generators"))
    there, back = {"cycle A": "B", "cycle B": "A"}, {"cycle A": "A", "cycle B": "B"}
    for cycle in there:
        ways = [model.generators[domain].step for domain in (there[cycle], back[cycle])]
        gradients = torch.autograd.grad(loss.show[cycle], ways, allow_unused=True, retain_graph=True)
        assert (gradients[0] is not None) == through
        assert gradients[1] is not None


def test_only_the_way_to_b_invents_and_begins_from_its_pictures():
    model = CycleGAN(SPACE, channels=8, blocks=1, invents=4)
    assert model.generators["A"].invention is None
    batch = both(20)
    model.begin(batch, rng())
    rows = nn.functional.avg_pool2d(batch.other, 2)
    assert_close(model.generators["B"].invention.mean, rows.mean(0))
    few = Generator(SPACE, 8, 1, invents=60)
    few.invention.learn(batch.other)  # 20 pictures have no more than 20 directions
    assert few.invention.directions[:19].any()
    assert not few.invention.directions[20:].any()


# ---- what it is not for --------------------------------------------------------------------------------------


def test_data_that_does_not_fit_is_named():
    with pytest.raises(BadInput, match="needs pictures of two domains"):
        CycleGAN(Space("image", (3, 8, 8)))
    with pytest.raises(BadInput, match="needs pictures of two domains"):
        CycleGAN(Space("points", (2,), domains=("a", "b")))
    with pytest.raises(BadInput, match="multiples of 4"):
        CycleGAN(Space("image", (3, 30, 30), domains=("a", "b")))
    for player in CycleGAN.players:
        with pytest.raises(BadInput, match="this data has one"):
            CycleGAN(SPACE, channels=8, blocks=1).loss(Batch(pictures()), turn(player))
