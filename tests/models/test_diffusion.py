"""Targets of diffusion and flow matching: what their networks should answer, and that they learn it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from toys import lively

from gen_models import zoo
from gen_models.interface import BadInput, Batch, Scores, Space, State, Turn, checked
from gen_models.models import diffusion
from gen_models.models.diffusion import DDPM, FlowMatching
from gen_models.noise import Noise
from gen_models.training import Recipe, Stage, Training

POINTS, CLASSES = Space("points", (2,)), Space("points", (2,), labels=("a", "b", "c"))
KINDS = (DDPM, FlowMatching)


def turn(seed: int = 0) -> Turn:
    return Turn("", "training", 0, 0.0, torch.Generator().manual_seed(seed))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Oracle(nn.Module):
    """A network that answers from what it is told: `answer(x_t, t)`; the calls are kept."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.calls = answer, []
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x_t, t, label=None):
        self.calls.append((x_t, t, label))
        return self.answer(x_t, t)


class Place:
    """Every x of the data set is the same."""

    log_prob = None

    def __init__(self, point: torch.Tensor, space: Space = POINTS):
        self.point, self.space = point, space

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        return Batch(self.point.expand(n, *self.space.shape).clone())


def known(kind: type, point: torch.Tensor):
    """A model whose network is perfect on data that is one point: eps = (x_t - alpha p) / sigma, v = eps - p."""
    model = kind(POINTS, channels=8)

    def answer(x_t, t):
        alpha, sigma = (a.to(x_t.dtype).view(-1, 1) for a in model.schedule(t))
        eps = (x_t - alpha * point) / sigma
        return eps if kind is DDPM else eps - point

    model.network = Oracle(answer)
    return model


# ---- the objective -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_perfect_answer_costs_nothing_and_another_its_squared_error(kind):
    point = torch.tensor([1.0, -2.0])
    model = known(kind, point)
    batch = Place(point).batch(200, torch.Generator())
    assert_close(model.loss(batch, turn()).minimise, torch.tensor(0.0), rtol=0, atol=1e-5)
    perfect = model.network.answer
    model.network.answer = lambda x_t, t: perfect(x_t, t) + 0.5
    assert_close(model.loss(batch, turn()).minimise, torch.tensor(0.25), rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_becomes_the_guess_that_explains_x_t(kind):
    point = torch.tensor([1.0, -2.0])
    model, x_t = known(kind, point), normal(5, 2)
    for t in (0.05, 0.5, 1.0):
        alpha, sigma = (float(a) for a in model.schedule(t))
        guess = model.denoise(x_t, t)
        assert_close(guess.x0, point.expand(5, 2), rtol=1e-3, atol=1e-3)
        assert_close(alpha * guess.x0 + sigma * guess.eps, x_t, rtol=1e-3, atol=1e-3)


def test_ddpm_trains_on_all_thousand_levels_alike():
    model = known(DDPM, torch.zeros(2))
    model.loss(Batch(torch.zeros(50_000, 2)), turn())
    ((_, t, _),) = model.network.calls
    levels = (t * 1000).round().long()
    assert levels.min() == 1
    assert levels.max() == 1000
    counts = torch.histc(levels.float(), 10, 1, 1000)
    assert (counts - 5000).abs().max() < 5 * 5000**0.5


def test_flow_matching_draws_logit_normal_times():
    model = known(FlowMatching, torch.zeros(2))
    model.loss(Batch(torch.zeros(50_000, 2)), turn())
    ((_, t, _),) = model.network.calls
    logits = torch.logit(t)
    assert_close(logits.mean(), torch.tensor(-0.3), rtol=0, atol=4 / 50_000**0.5)
    assert_close(logits.std(), torch.tensor(1.0), rtol=0, atol=4 / 100_000**0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_sees_data_and_noise_in_the_schedules_shares(kind):
    model = known(kind, torch.zeros(2))
    model.loss(Batch(torch.full((20_000, 2), 3.0)), turn())
    ((x_t, t, _),) = model.network.calls
    alpha, sigma = (a.float() for a in model.schedule(t))
    standard = (x_t - 3 * alpha[:, None]) / sigma[:, None]
    assert standard.mean().abs() < 4 / 40_000**0.5
    assert (standard.std() - 1).abs() < 4 / 80_000**0.5


# ---- classes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_the_labels_is_dropped(kind):
    model = kind(CLASSES, channels=8, conditional=True, label_dropout=0.25)
    model.network = Oracle(lambda x_t, t: x_t)
    label = torch.arange(20_000) % 3
    model.loss(Batch(torch.zeros(20_000, 2), label), turn())
    ((_, _, rows),) = model.network.calls
    kept = rows.sum(1)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert_close(1 - kept.mean(), torch.tensor(0.25), rtol=0, atol=4 * 0.44 / 20_000**0.5)
    assert torch.equal(rows[kept == 1].argmax(1), label[kept == 1])


def test_unconditional_models_offer_no_guidance():
    for entry in (zoo.live(FlowMatching, POINTS), zoo.live(DDPM, POINTS)):
        with pytest.raises(BadInput, match="guidance"):
            checked(entry.model.sample, {"guidance": 2.0}, entry.limits())
        assert checked(entry.model.sample, {}, entry.limits())["guidance"] == 1.0
    entry = zoo.live(FlowMatching, CLASSES)
    assert checked(entry.model.sample, {"guidance": 2.0}, entry.limits())["guidance"] == 2.0


# ---- density -------------------------------------------------------------------------------------------------


def test_the_perfect_networks_density_is_that_of_the_data():
    """x0 ~ N(m, s^2): the best velocity is linear in x_t."""
    mean, spread = 1.5, 0.4
    model = FlowMatching(POINTS, channels=8)

    def answer(x_t, t):
        t = t[:, None]
        off = (x_t - (1 - t) * mean) / ((1 - t) ** 2 * spread**2 + t**2)
        return t * off - mean - (1 - t) * spread**2 * off

    model.network = Oracle(answer)
    x = torch.linspace(-0.5, 3, 40, dtype=torch.float64).view(20, 2)
    truth = torch.distributions.Normal(mean, spread).log_prob(x).sum(1)
    assert_close(model.log_prob(x), truth, rtol=0, atol=1e-3)
    assert len(model.network.calls) == 3 * 24


def test_densities_are_of_total_mass_one():
    model = lively(zoo.live(FlowMatching, CLASSES, channels=8))
    side = torch.arange(-6, 6, 0.2)
    for label in (None, torch.eye(3)[1:2]):
        grid = torch.cartesian_prod(side, side)
        label = None if label is None else label.expand(len(grid), 3)
        mass = model.log_prob(grid, label=label).exp().sum() * 0.2**2
        assert mass.item() == pytest.approx(1, abs=2e-3)


def test_a_samples_density_is_found_from_where_it_came():
    """The walk from noise to data and the way back are one flow: ends agree, so the density holds for samples."""
    model = lively(zoo.live(FlowMatching, POINTS, channels=8))
    noise = Noise(range(50))
    with torch.no_grad():
        *_, last = model.sample(noise, steps=100, solver="heun")
    start, nudge = Noise(range(50)).normal(2), 1e-2
    ends = []
    for axis in (0, 1):
        moved = start.clone()
        moved[:, axis] += nudge
        with torch.no_grad():
            *_, end = model.sample(noise, steps=100, solver="heun", start=State(1.0, moved))
        ends.append((end.x - last.x) / nudge)
    stretch = torch.linalg.det(torch.stack(ends, -1)).abs().log()
    truth = torch.distributions.Normal(0.0, 1.0).log_prob(start).sum(1) - stretch
    assert_close(model.log_prob(last.x).float(), truth, rtol=0, atol=2e-2)


def pictures_model() -> FlowMatching:
    space = Space("image", (1, 8, 8), labels=("a", "b"))
    return lively(zoo.live(FlowMatching, space, channels=8))


def test_more_signs_bring_a_pictures_density_closer_to_the_exact_one(monkeypatch):
    model, x = pictures_model(), normal(1, 1, 8, 8)
    monkeypatch.setattr(diffusion, "_crowded", lambda steps, near: [0.0, 0.3, 1.0])
    single = model.log_prob(x.expand(200, 1, 8, 8), Noise(range(200)))
    several = model.log_prob(x.expand(20, 1, 8, 8), Noise(range(20)), samples=25)
    monkeypatch.setattr(diffusion, "FEW", 64)
    truth = model.log_prob(x)
    assert single.std() > 0.05
    assert (single.mean() - truth).abs() < 4 * single.std() / 200**0.5
    assert several.std() < 0.4 * single.std()


def test_a_pictures_density_depends_on_its_own_row_alone(monkeypatch):
    model, x, label = pictures_model(), normal(5, 1, 8, 8), torch.tensor([0, 1, 0, 1, 0])
    together = model.log_prob(x, Noise([5, 6, 7, 8, 9]), label=label, samples=2)
    for k in (0, 3):
        alone = model.log_prob(x[k : k + 1], Noise([5 + k]), label=label[k : k + 1], samples=2)
        assert_close(alone, together[k : k + 1], rtol=1e-5, atol=1e-3)
    monkeypatch.setattr(diffusion, "AT_ONCE", 2 * 64)
    in_parts = model.log_prob(x, Noise([5, 6, 7, 8, 9]), label=label, samples=2)
    assert_close(in_parts, together, rtol=1e-5, atol=1e-3)
    assert torch.equal(model.log_prob(x, label=label), model.log_prob(x, Noise(range(5)), label=label))


def test_labels_matter_and_none_is_a_zero_row():
    model, x = pictures_model(), normal(3, 1, 8, 8)
    found = [model.log_prob(x, label=label) for label in (torch.eye(2)[[0, 0, 0]], torch.tensor([1, 1, 1]), None)]
    assert ((found[0] - found[1]).abs() > 0.01).all()
    assert ((found[0] - found[2]).abs() > 0.01).all()
    assert torch.equal(found[2], model.log_prob(x, label=torch.zeros(3, 2)))
    assert torch.equal(found[0], model.log_prob(x, label=torch.tensor([0, 0, 0])))


@pytest.mark.parametrize("frozen", [False, True])
def test_densities_need_no_gradients_around_them(frozen):
    model, x = pictures_model().requires_grad_(not frozen), normal(2, 1, 8, 8)
    with torch.no_grad():
        inside = model.log_prob(x)
        assert not torch.is_grad_enabled()
    outside = model.log_prob(x)
    assert torch.equal(inside, outside)
    assert not outside.requires_grad
    assert not x.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_flow_is_a_density_and_the_epsilon_objective_claims_none():
    assert FlowMatching.exact
    assert FlowMatching.measure(POINTS, {}) == "density"
    assert not issubclass(DDPM, Scores)


# ---- diffusers' network --------------------------------------------------------------------------------------


def test_diffusers_network_is_asked_for_its_own_timesteps():
    model = DDPM(Space("image", (1, 8, 8)), channels=8, network="diffusers")
    seen = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].tolist()))
    with torch.no_grad():
        list(model.sample(Noise([0]), steps=4))
    assert seen == [[999], [749], [499], [249]]


def test_our_sampler_is_the_ddim_pipeline(tmp_path):
    """The network loaded as others would load it, run by their pipeline, draws the picture that we draw."""
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    model = lively(zoo.live(DDPM, Space("image", (1, 8, 8)), channels=8, network="diffusers"))
    model.network.save_pretrained(tmp_path)
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    pipeline = DDIMPipeline(UNet2DModel.from_pretrained(tmp_path), scheduler)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    theirs = pipeline(batch_size=2, generator=generators, num_inference_steps=10, output_type="np").images
    with torch.no_grad():
        *_, last = model.sample(Noise([3, 4]), steps=10, solver="ddim")
    assert_close(last.x.permute(0, 2, 3, 1) / 2 + 0.5, torch.from_numpy(theirs), rtol=0, atol=2e-3)


def test_diffusers_network_is_for_plain_pictures():
    for space, conditional in ((POINTS, False), (Space("image", (1, 8, 8), labels=("a", "b")), True)):
        with pytest.raises(BadInput, match="choose the network 'ours'"):
            DDPM(space, network="diffusers", conditional=conditional)


@pytest.mark.parametrize("shape", [(1, 9, 8), (3, 4, 4), (1, 30, 30)])
def test_pictures_that_cannot_be_halved_twice_are_refused(shape):
    with pytest.raises(BadInput, match="multiples of 4"):
        FlowMatching(Space("image", shape), channels=8)


# ---- learning ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_moments_training_on_one_point_converges_to_it(kind):
    point = torch.tensor([1.0, -0.5])
    entry = zoo.live(kind, POINTS, channels=8)
    recipe = Recipe({"training": Stage(400)}, batch_size=128, lr=1e-2, betas=(0.9, 0.99), ema=0.98)
    training = Training(zoo.build(entry), Place(point), recipe)
    list(training)
    with torch.no_grad():
        *_, last = training.shown.sample(Noise(range(64)), steps=20)
    assert_close(last.x.mean(0), point, rtol=0, atol=0.1)
    assert last.x.std(0).max() < 0.2
