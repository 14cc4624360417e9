"""Flows against what is known: layers undo themselves, determinants are autograd's, densities integrate to one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from toys import FakePictures

from gen_models import data
from gen_models.interface import BadInput, Batch, Space, Turn
from gen_models.models.coupling import spline
from gen_models.models.flow import Flow, Glow, NeuralSpline, RealNVP
from gen_models.models.levels import LEVELS, ActNorm, GlowStep, LevelCoupling, Mix
from gen_models.noise import Noise
from gen_models.training import Recipe, Stage, Training

POINTS, PICTURES = Space("points", (2,)), Space("image", (1, 8, 8), labels=("a", "b", "c"))
COLOURS = Space("image", (3, 8, 8))
SMALL = {RealNVP: {"layers": 4, "hidden": 16}, NeuralSpline: {"layers": 4, "hidden": 16, "bins": 6}}
SMALL[Glow] = {"channels": 8, "hidden": 16, "steps": 2, "bins": 6}
ON_POINTS = (RealNVP, NeuralSpline)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(n: int, space: Space = PICTURES, seed: int = 0) -> Tensor:
    """Bytes as pictures, half of them black."""
    level = torch.randint(-255, 256, (n, *space.shape), generator=torch.Generator().manual_seed(seed)).clamp_min(0)
    return level / LEVELS - 1


def turn(seed: int = 0) -> Turn:
    return Turn("", "training", 0, 0.0, torch.Generator().manual_seed(seed))


def flow(kind: type[Flow], space: Space | None = None, *, shaken: float = 0.0, **config) -> Flow:
    """A small flow in float64 that has begun; `shaken` moves every parameter, so that no layer stays at its start."""
    space = space or (PICTURES if kind is Glow else POINTS)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = kind(space, **SMALL[kind] | config).double()
        x = pictures(300, space) if space.kind == "image" else 2 * normal(300, 2) + torch.tensor([1.0, -3.0])
        model.begin(Batch(x.double()), torch.Generator().manual_seed(0))
        for parameter in model.parameters():
            parameter.add_(shaken * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def some(model: Flow, n: int = 5) -> Tensor:
    """Data of the model's space, pictures dequantised."""
    if model.space.kind == "points":
        return (2 * normal(n, 2, seed=1) + torch.tensor([1.0, -3.0])).double()
    return model.dequantised(pictures(n, model.space, seed=1).double(), torch.Generator().manual_seed(1))


SHAKEN = [(RealNVP, POINTS, 0.3), (NeuralSpline, POINTS, 0.3), (Glow, PICTURES, 0.03), (Glow, COLOURS, 0.03)]
shaken = pytest.mark.parametrize(("kind", "space", "by"), SHAKEN)


# ---- there and back --------------------------------------------------------------------------------------------


@shaken
def test_encoding_and_decoding_undo_each_other(kind, space, by):
    model = flow(kind, space, shaken=by)
    x, z = some(model), normal(5, space.size, seed=2).double()
    assert_close(list(model.path(model.encode(x)))[-1], x, rtol=0, atol=1e-9)
    assert_close(model.encode(list(model.path(z))[-1]), z, rtol=0, atol=1e-6)
    inside = pictures(5, space, seed=3).double() if space.kind == "image" else x
    assert_close(model.decode(model.encode(inside)), inside, rtol=0, atol=1e-9)


@shaken
def test_the_way_back_stops_where_the_way_there_did(kind, space, by):
    model = flow(kind, space, shaken=by)
    x = some(model)
    back = list(model.path_back(x))
    there = list(model.path(back[-1].flatten(1)))
    assert len(there) == len(model.layers) + 1
    for one, other in zip(there, reversed(back), strict=True):
        assert_close(one, other, rtol=0, atol=1e-8)


@pytest.mark.parametrize("label", [torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.5, 0.0, 0.5]]), None])
def test_codes_of_a_class_are_decoded_as_that_class(label):
    model = flow(Glow, shaken=0.03, conditional=True)
    x = pictures(1).double()
    assert_close(model.decode(model.encode(x, label=label), label=label), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ON_POINTS)
def test_outliers_stay_finite_and_come_back(kind):
    model = flow(kind, shaken=0.3)
    x = torch.tensor([[1e6, -1e6], [0.0, 1e4], [-50.0, 50.0]]).double()
    assert model.log_prob(x).isfinite().all()
    assert_close(model.decode(model.encode(x)), x, rtol=1e-9, atol=1e-9)


# ---- determinants and densities --------------------------------------------------------------------------------


@shaken
def test_log_determinants_are_those_of_the_jacobian(kind, space, by):
    model = flow(kind, space, shaken=by)
    x = some(model, 1 if space.size > 64 else 2)

    def outward(flat: Tensor) -> Tensor:
        return model.towards_noise(flat.view(1, *space.shape))[0][0]

    found = model.towards_noise(x)[1]
    for row, log_det in zip(x, found, strict=True):
        jacobian = torch.autograd.functional.jacobian(outward, row.flatten())
        assert_close(log_det, torch.linalg.slogdet(jacobian)[1], rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("kind", ON_POINTS)
def test_the_density_integrates_to_one(kind):
    model = flow(kind, shaken=0.1)
    side = torch.linspace(-30, 30, 401, dtype=torch.float64)
    plane = torch.cartesian_prod(side, side)
    total = model.log_prob(plane).exp().sum() * (side[1] - side[0]) ** 2
    assert_close(total, torch.ones_like(total), rtol=0, atol=2e-3)


@pytest.mark.parametrize("kind", ON_POINTS)
def test_samples_have_the_density_that_is_claimed(kind):
    """Of drawn points, the mean of 1 / (A p(x)) inside a box of area A is the box's share of its own probability: 1."""
    model = flow(kind, shaken=0.1)
    x = model.decode(normal(40_000, 2, seed=4).double())
    box = ((x - model.mean).abs() < 0.5 * model.deviation).all(1)
    ratio = box / (model.log_prob(x).exp() * model.deviation.prod())
    assert_close(ratio.mean(), torch.ones_like(ratio.mean()), rtol=0, atol=5 * float(ratio.std()) / 200)


@pytest.mark.parametrize(("shape", "part"), [((1, 1, 1), "rest"), ((1, 1, 2), "cross"), ((1, 2, 2), "centre")])
def test_the_levels_of_a_pixel_have_probabilities_that_add_up_to_one(shape, part):
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        layer = LevelCoupling(shape, 1, part, hidden=8, bins=6).double()
        layer.begin(pictures(40, Space("image", shape)).double())
        for parameter in layer.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        x = pictures(1, Space("image", shape)).double().repeat(256, 1, 1, 1)
        x.flatten(2)[:, 0, layer.target[0]] = torch.arange(256).double() / LEVELS - 1

        def density(x: Tensor) -> Tensor:
            z, log_det = layer(x)
            return (log_det - 0.5 * (z.flatten(2)[:, 0, layer.target[0]] ** 2 + math.log(math.tau))).exp()

        assert_close((density(x) / LEVELS).sum(), torch.ones(()).double())
        shifted = x.clone()
        shifted.flatten(2)[:, 0, layer.target[0]] += 0.4 / LEVELS
        assert_close(density(shifted), density(x), msg="a level's probability is spread evenly over it")


def test_whatever_the_noise_levels_lie_between_black_and_white():
    model = flow(Glow, shaken=0.03)
    x = list(model.path(100 * normal(5, 64).double()))[-1]
    assert x.abs().max() <= 1 + 0.5 / LEVELS + 1e-9
    assert model.decode(100 * normal(5, 64).double()).abs().max() <= 1


def test_couplings_of_levels_move_every_pixel_once():
    for shape in ((1, 8, 8), (3, 8, 12), (1, 28, 28)):
        layers = [layer for layer in Glow(Space("image", shape)).layers if isinstance(layer, LevelCoupling)]
        moved = torch.cat([layer.target for layer in layers])
        assert torch.equal(moved.sort().values, torch.arange(shape[1] * shape[2]))


def test_actnorm_gives_the_first_batch_mean_zero_and_deviation_one():
    layer, x = ActNorm(4), 3 * normal(50, 4, 5, 5) + torch.arange(4.0).view(4, 1, 1)
    with torch.no_grad():
        layer.begin(x)
        z, log_det = layer(x)
    deviation, mean = torch.std_mean(z, (0, 2, 3), correction=0)
    assert_close(mean, torch.zeros(4), rtol=0, atol=1e-5)
    assert_close(deviation, torch.ones(4))
    assert_close(log_det, -25 * x.std((0, 2, 3), correction=0).log().sum().expand(50))


def test_a_mix_is_the_product_of_its_factors_and_starts_as_a_rotation():
    layer = flow(Glow).layers[-1].parts[1]
    assert isinstance(layer, Mix)
    assert_close(layer.weight @ layer.weight.T, torch.eye(16).double(), rtol=0, atol=1e-5)
    shaken = flow(Glow, shaken=0.1).layers[-1].parts[1]
    x = normal(2, 16, 3, 3).double()
    z, log_det = shaken(x)
    assert_close(z, torch.einsum("oc,bchw->bohw", shaken.weight, x))
    assert_close(log_det, 9 * torch.linalg.slogdet(shaken.weight)[1].expand(2))


def test_a_step_of_glow_only_normalises_and_rotates_before_it_has_learnt():
    x = normal(200, 1, 8, 8).double()
    step = GlowStep(1, 2, 16).double()
    with torch.no_grad():
        step.begin(x)
        z, _ = step(x)
    assert_close(torch.linalg.vector_norm(z) / x.numel() ** 0.5, torch.ones(()).double(), rtol=1e-6, atol=0)


# ---- the spline ------------------------------------------------------------------------------------------------


def test_a_spline_is_monotone_and_its_inverse_undoes_it():
    x = torch.linspace(-4, 4, 2001, dtype=torch.float64)
    params = 3 * normal(17, seed=5).double().expand(2001, 17)
    y, log_slope = spline(x, params, 3.0)
    assert (y.diff() > 0).all()
    back, inverse_slope = spline(y, params, 3.0, inverse=True)
    assert_close(back, x, rtol=0, atol=1e-9)
    assert_close(inverse_slope, -log_slope, rtol=0, atol=1e-6)


def test_a_splines_slope_is_its_derivative():
    x = torch.linspace(-2.99, 2.99, 500, dtype=torch.float64).requires_grad_()
    params = normal(500, 17, seed=6).double()
    y, log_slope = spline(x, params, 3.0)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert_close(log_slope.exp(), slope)


def test_beyond_its_bound_and_without_parameters_a_spline_is_the_identity():
    x = torch.tensor([-1e8, -3.5, 3.5, 40.0, 1e8], dtype=torch.float64)
    y, log_slope = spline(x, normal(5, 17).double(), 3.0)
    assert torch.equal(y, x)
    assert not log_slope.any()
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    y, log_slope = spline(x, torch.zeros(101, 17, dtype=torch.float64), 3.0)
    assert_close(y, x)
    assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-6)


# ---- classes ---------------------------------------------------------------------------------------------------


def test_the_density_without_a_label_is_that_of_all_classes_alike():
    model = flow(Glow, shaken=0.03, conditional=True)
    x, one = some(model), torch.eye(3)
    each = torch.stack([model.log_prob(x, label=one[k].expand(5, 3)) for k in range(3)], 1)
    assert_close(model.log_prob_of_classes(x), each)
    assert_close(model.log_prob(x), each.logsumexp(1) - math.log(3))
    assert_close(model.log_prob(x, label=torch.zeros(5, 3)), each.logsumexp(1) - math.log(3))
    some_without = torch.stack([one[1], torch.zeros(3), one[2], one[0], torch.zeros(3)])
    expected = torch.stack([each[0, 1], model.log_prob(x)[1], each[2, 2], each[3, 0], model.log_prob(x)[4]])
    assert_close(model.log_prob(x, label=some_without), expected)


def test_z_is_standard_within_every_class():
    """log p(x | class) is that of a standard normal at the class's own z, and the layers' stretching."""
    model = flow(Glow, shaken=0.03, conditional=True)
    x, label = some(model), torch.eye(3)[[0, 1, 2, 0, 1]]
    z, log_det = model.towards_noise(x, label=label)
    assert torch.equal(z, model.encode(x, label=label))
    assert_close(model.log_prob(x, label=label), torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det)
    assert not torch.allclose(z, model.encode(x, label=label.roll(1, 0)))


def test_without_a_label_samples_get_a_class_by_chance():
    model = flow(Glow, shaken=0.03, conditional=True).float()
    z = Noise(range(20)).normal(64)
    each = torch.stack([model.decode(z, label=torch.eye(3)[k].expand(20, 3)) for k in range(3)])
    drawn = list(model.sample(Noise(range(20))))[-1].x
    hits = (each - drawn).abs().flatten(2).amax(2) < 1e-4
    assert hits.any(0).all()
    assert hits.any(1).all(), "every class among 20"


# ---- samples ---------------------------------------------------------------------------------------------------


@shaken
def test_frames_begin_with_the_draw_and_end_with_what_it_decodes_to(kind, space, by):
    model = flow(kind, space, shaken=by).float()
    z = Noise([3, 4]).normal(space.size)
    frames = list(model.sample(Noise([3, 4]), temperature=0.7))
    assert [frame.step for frame in frames] == [frame.calls for frame in frames] == list(range(len(model.layers) + 1))
    assert torch.equal(frames[0].x, model.in_space((0.7 * z).view(2, *space.shape)))
    assert torch.equal(frames[-1].x, model.decode(0.7 * z))
    if space.kind == "image":
        assert max(frame.x.abs().max() for frame in frames) <= 1
    alone = list(model.sample(Noise([4]), temperature=0.7))
    for frame, one in zip(frames, alone, strict=True):
        assert_close(frame.x[1:], one.x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ON_POINTS)
def test_at_temperature_zero_all_samples_are_one(kind):
    *_, last = flow(kind, shaken=0.3).float().sample(Noise(range(3)), temperature=0.0)
    assert_close(last.x, last.x[:1].expand(3, 2))


# ---- training --------------------------------------------------------------------------------------------------


def test_pictures_are_dequantised_over_exactly_one_level():
    model, x = flow(Glow), pictures(200).double()
    moved = (model.dequantised(x, torch.Generator().manual_seed(0)) - x) * LEVELS
    assert moved.min() >= -0.5
    assert moved.max() < 0.5
    assert_close(moved.mean(), torch.zeros(()).double(), rtol=0, atol=0.02)
    loss = model.loss(Batch(x), turn(3))
    dequantised = model.dequantised(x, torch.Generator().manual_seed(3))
    assert_close(loss.minimise, -model.log_prob(dequantised).mean())
    bits = (-model.log_prob(dequantised) / 64 + math.log(LEVELS)) / math.log(2)
    assert_close(loss.show["bits per dimension"], bits)


def test_at_the_start_glow_knows_the_brightness_of_every_place():
    """Before a step is made, no more bits are spent than on pixels that know their own histogram, but for smoothing."""
    x = torch.full((512, 1, 8, 8), -1.0)
    x[:, :, 4:] = pictures(512, Space("image", (1, 4, 8)))
    model = flow(Glow, steps=1)
    with torch.no_grad():
        model.begin(Batch(x.double()), torch.Generator().manual_seed(0))
    bits = float(model.loss(Batch(x.double()), turn()).show["bits per dimension"].mean())
    assert bits < 0.5 * (1 + 0.5 * 8) + 0.3, "half of the places are black, the others black every other time"


def test_data_of_any_scale_is_whitened():
    model = flow(NeuralSpline)
    with torch.no_grad():
        model.begin(Batch(torch.tensor([100.0, 0.0]) + normal(500, 2) * torch.tensor([20.0, 0.0])), turn().rng)
        h, log_det = model.enter(torch.tensor([[100.0, 0.0]]))
    assert h.abs().max() < 0.2
    assert log_det.isfinite().all(), "points on a line too"


def test_every_parameter_of_a_conditional_glow_learns():
    model = flow(Glow, shaken=0.03, conditional=True).requires_grad_(True)
    model.loss(Batch(pictures(30).double(), torch.arange(30) % 3), turn()).minimise.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_a_training_that_goes_on_does_not_begin_again(monkeypatch):
    recipe = Recipe({"training": Stage(3)}, batch_size=8)
    source = FakePictures(PICTURES)
    first = iter(run := Training(flow(Glow).float().requires_grad_(True), source, recipe))
    next(first)
    later = Training(flow(Glow).float().requires_grad_(True), source, recipe)
    monkeypatch.setattr(Flow, "begin", lambda *_: pytest.fail("begun again"))
    later.load_state_dict(run.state_dict())
    assert list(later)[-1].step == 3


@pytest.mark.parametrize("kind", ON_POINTS)
def test_a_short_training_beats_the_best_gaussian_on_two_moons(kind):
    source = data.load("moons")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(POINTS, layers=4, hidden=32)
    run = Training(model, source, Recipe({"training": Stage(150)}, batch_size=256, lr=5e-3))
    list(run)
    x = source.split("valid").x
    gaussian = math.log(math.tau * math.e) + 0.5 * float(torch.logdet(x.T.cov()))
    assert -float(run.shown.log_prob(x).mean()) < gaussian - 0.3


# ---- what it is not for ----------------------------------------------------------------------------------------


def test_a_flow_says_what_it_is_for():
    for kind in ON_POINTS:
        with pytest.raises(BadInput, match="Glow"):
            kind(PICTURES)
    with pytest.raises(BadInput, match="pictures"):
        Glow(POINTS)
    with pytest.raises(BadInput, match="smaller"):
        Glow(Space("image", (3, 256, 256)))
