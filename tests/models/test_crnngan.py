"""The recurrent GAN: its likelihood is one, its choices have its probabilities, its game reaches the generator."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from toys import fake_chorales, fake_text

from gen_models import music
from gen_models.interface import BadInput, Batch, Space, Turn, options
from gen_models.models.crnngan import CRNNGAN
from gen_models.noise import Noise
from gen_models.training import Recipe, Stage, Training

MUSIC = music.events_space(24)
LINES = Space("text", (4,), alphabet=("\n", "a", "b"), encoding="lines")
PLAIN = Space("text", (6,), alphabet=("a", "b", "c"))


def lively(space: Space, seed: int = 0, **config) -> CRNNGAN:
    """A small model whose choices differ: every parameter counts."""
    torch.manual_seed(seed)
    model = CRNNGAN(space, **{"width": 16, "window": 6, "dropout": 0.0} | config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


def turn(player: str, stage: str, seed: int = 0) -> Turn:
    return Turn(player, stage, 0, 0.0, torch.Generator().manual_seed(seed))


def pieces(n: int = 3) -> torch.Tensor:
    return fake_chorales(MUSIC).batch(n, torch.Generator().manual_seed(1)).x


def last(frames):
    *_, frame = frames
    return frame.x


def seeded(seeds: list[int], events: int, fields: int) -> torch.Tensor:
    """What a sample draws, event after event: (B, events, fields)."""
    return torch.stack([Noise(seeds).at(i).normal(fields) for i in range(events)], 1)


# ---- the likelihood ------------------------------------------------------------------------------------------------


def test_the_probabilities_of_all_lines_sum_to_one():
    model = lively(LINES).double()
    bodies = [body for n in range(4) for body in itertools.product((1, 2), repeat=n)]
    ended = torch.tensor([[*body, *[0] * (4 - len(body))] for body in bodies])
    unended = torch.tensor(list(itertools.product((1, 2), repeat=4)))
    with torch.no_grad():
        total = torch.cat([model.log_prob(ended), model.log_prob(unended)]).exp().sum()
    assert_close(total, torch.ones((), dtype=torch.float64))


def test_the_probabilities_of_all_second_events_sum_to_one():
    """Over each field in turn, the others summed out by the chain rule."""
    model, x = lively(MUSIC).double(), pieces(1)[:, :2]
    with torch.no_grad():
        for field, (low, size) in enumerate(zip(model.fields.low, model.fields.sizes, strict=True)):
            every = x.repeat(size, 1, 1)
            every[:, 1, field] = torch.arange(size) + low
            logits = model.generator(model.fields.one_hot(every).double())
            p = logits[field][:, 1].softmax(-1)
            assert_close(p.diagonal().sum(), torch.ones((), dtype=torch.float64), msg="a field is not told itself")
            assert not torch.allclose(p[0], logits[field][0, 0].softmax(-1))
        assert p.std(0).max() < 1e-12, "the bass is told nothing of itself, whatever it is"


def test_the_likelihood_of_a_piece_is_that_of_its_events_one_after_another():
    model, x = lively(MUSIC).double(), pieces()
    index, walk, nats = model.fields.index(x), model.generator.begin(3), []

    def told(field: int, logits: torch.Tensor) -> torch.Tensor:
        value = index[:, walk.written, field]
        nats.append(logits.log_softmax(-1).gather(1, value[:, None])[:, 0])
        return F.one_hot(value, logits.shape[-1]).double()

    with torch.no_grad():
        for _ in range(x.shape[1]):
            model.generator.step(walk, told)
        assert_close(model.log_prob(x), sum(nats))


def test_events_that_are_nothing_cost_nothing_and_ends_cost_once():
    model, x = lively(MUSIC), pieces()
    filled = F.pad(x, (0, 0, 0, 5))
    with torch.no_grad():
        assert_close(model.log_prob(filled), model.log_prob(x))
        assert_close(model.log_prob(x[:, :7]) >= model.log_prob(x), torch.ones(3, dtype=torch.bool))
        words = lively(LINES)
        assert_close(words.log_prob(torch.tensor([[1, 0, 0, 0]])), words.log_prob(torch.tensor([[1, 0]])))


def test_events_that_begin_together_are_never_written():
    model, x = lively(MUSIC), pieces(1)
    x[:, 3, 0] = 0
    with torch.no_grad():
        assert model.log_prob(x) == -math.inf
    late = pieces(1)
    late[:, 0, 0] = 9
    with torch.no_grad():
        assert_close(model.log_prob(late), model.log_prob(pieces(1)), msg="silence before a piece is no part of it")


def test_the_loss_of_the_first_stage_is_the_likelihood_per_event():
    model, x = lively(MUSIC), F.pad(pieces(), (0, 0, 0, 4))
    loss = model.loss(Batch(x), turn("generator", "likelihood"))
    assert_close(loss.minimise, -model.log_prob(x).sum() / (3 * MUSIC.shape[0]))
    assert_close(loss.show["nats per event"], loss.minimise)


def test_what_comes_later_changes_nothing_before():
    model, x = lively(MUSIC).double(), pieces(1)
    changed = x.clone()
    changed[:, 10:] = pieces(3)[1:2, 10:]
    with torch.no_grad():
        assert_close(model._log_probs(x)[:, :10], model._log_probs(changed)[:, :10])
        assert not torch.allclose(model._log_probs(x)[:, 11:], model._log_probs(changed)[:, 11:])


@pytest.mark.parametrize("wrong", [(1, 17), (0, 33), (2, 29), (5, 88)])
def test_values_off_their_grid_are_refused(wrong):
    x = pieces(1)
    x[0, 3, wrong[0]] = wrong[1]
    with pytest.raises(BadInput, match="30 to 87"):
        lively(MUSIC).log_prob(x)


@pytest.mark.parametrize("space", [Space("image", (1, 8, 8)), music.tokens_space(32)])
def test_other_data_is_refused(space):
    with pytest.raises(BadInput, match="music as events"):
        CRNNGAN(space)


# ---- writing -------------------------------------------------------------------------------------------------------


def test_a_sample_is_what_its_noise_decodes_to():
    for space in (MUSIC, LINES, PLAIN):
        model, seeds = lively(space), [3, 4, 5]
        values = {"bars": 2} if space is MUSIC else {"length": 9} if space is PLAIN else {}
        with torch.no_grad():
            x = last(model.sample(Noise(seeds), **values))
            z = seeded(seeds, x.shape[1], model.latent_shape[1])
            again = model.decode(z)
        assert again.dtype == torch.int64
        if space is MUSIC:  # which is not cut at a bar, and goes on in pieces that are full
            whole = x[..., 1] > 0
            inside = F.pad(whole[:, 1:], (0, 1))
            assert torch.equal(again[inside], x[inside])
            assert (again[..., 1] > 0).all()
        else:
            assert torch.equal(again, x)
    assert lively(MUSIC).latent_shape == (24, 6)
    assert lively(LINES).latent_shape == (4, 1)


def test_choices_have_the_probabilities_of_the_model():
    model, n = lively(MUSIC).double(), 20_000
    z = torch.randn(n, 1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        x = model.decode(z)
        logits = model.generator(model.fields.one_hot(x[:1]).double())
    for field in (0, 1):  # the first two do not depend on what was drawn: a gap of 0, then a length
        p = logits[field][0, 0].softmax(-1)
        share = torch.bincount(x[:, 0, field] - model.fields.low[field], minlength=len(p)) / n
        assert (share - p).abs().max() < 4 * (0.25 / n) ** 0.5
    assert (p > 0.01).sum() > 3


def test_a_higher_number_is_a_higher_pitch():
    model = lively(MUSIC)
    z = torch.zeros(61, 1, 6)
    z[:, 0, 2] = torch.linspace(-8, 8, 61)
    soprano = model.decode(z)[:, 0, 2]
    assert (soprano.diff() >= 0).all()
    assert (soprano[0], soprano[-1]) == (music.LOWEST, music.HIGHEST), "from the lowest to the highest"


def test_each_piece_is_written_from_its_own_seed():
    model = lively(MUSIC)
    together = last(model.sample(Noise([1, 2, 3]), bars=3))
    for k in range(3):
        alone = last(model.sample(Noise([1 + k]), bars=3))[0]
        assert torch.equal(together[k, : len(alone)], alone)
        assert not together[k, len(alone) :].any()


@pytest.mark.parametrize("bars", [1, 5])
def test_music_fills_its_bars_to_the_sixteenth(bars):
    model = lively(MUSIC)
    frames = list(model.sample(Noise(range(4)), bars=bars))
    assert frames[0].x.shape == (4, 0, 6)
    for frame, later in itertools.pairwise(frames):
        assert later.x.shape[1] - frame.x.shape[1] in (0, 1)
        assert later.step > frame.step
        assert later.calls == frame.calls + 1
    assert frames[-1].step == frames[-1].total == music.BAR * bars
    x = frames[-1].x
    assert (x[..., 1] > 0).any(0).all(), "as long as the longest piece needs"
    assert (x[:, 1:, 0][x[:, 1:, 1] > 0] > 0).all()
    for row in x:
        there = row[row[:, 1] > 0]
        starts = there[:, 0].cumsum(0)
        assert starts[-1] < music.BAR * bars
        assert (starts + there[:, 1]).max() <= music.BAR * bars
        assert not row[len(there) :].any()


def test_cold_choices_are_the_most_probable():
    model = lively(MUSIC)
    one, other = (last(model.sample(Noise([seed]), bars=1, temperature=0.0)) for seed in (1, 2))
    assert torch.equal(one, other)
    with torch.no_grad():
        logits = model.generator(model.fields.one_hot(one))
    for field, found in enumerate(logits):
        if field != 1:  # the last event's length was cut
            assert torch.equal(found.argmax(-1), model.fields.index(one)[..., field])


def test_an_opening_stays_and_goes_on():
    model, seeds = lively(MUSIC), [1, 2]
    whole = last(model.sample(Noise(seeds), bars=3))
    opening = whole[:, :3]
    known = torch.ones_like(opening, dtype=torch.bool)
    frames = list(model.complete(opening, known, Noise(seeds), bars=3))
    assert torch.equal(frames[0].x, opening)
    assert frames[0].calls == 0
    assert torch.equal(frames[-1].x, whole), "as the sample that it is the beginning of"
    other = last(model.complete(opening, known, Noise([8, 9]), bars=3))
    assert torch.equal(other[:, :3], opening)
    assert not torch.equal(other, whole)


def test_openings_of_different_lengths_go_on_where_they_end():
    model, x = lively(MUSIC), pieces(2)[:, :5].clone()
    x[1, 2:] = 0
    both = last(model.complete(x, torch.ones_like(x, dtype=torch.bool), Noise([1, 2]), bars=4))
    for k, n in ((0, 5), (1, 2)):
        alone = last(model.complete(x[k : k + 1, :n], x[k : k + 1, :n] >= 0, Noise([1 + k]), bars=4))[0]
        assert torch.equal(alone[:n], x[k, :n])
        assert torch.equal(both[k, : len(alone)], alone)
        assert len(alone) > n


def test_an_opening_that_is_longer_than_its_bars_stays_as_it_is():
    x = pieces(2)
    frames = list(lively(MUSIC).complete(x, torch.ones_like(x, dtype=torch.bool), Noise([1, 2]), bars=1))
    assert [frame.step for frame in frames] == [16]
    assert torch.equal(frames[-1].x, x)


def test_what_is_known_must_be_the_beginning():
    x = pieces(1)[:, :4]
    known = torch.ones_like(x, dtype=torch.bool)
    known[:, 1] = False
    with pytest.raises(BadInput, match="beginning"):
        next(lively(MUSIC).complete(x, known, Noise([1])))


def test_lines_end_and_stay_ended():
    model = lively(LINES)
    x = last(model.sample(Noise(range(50))))
    ended = (x == 0).cumsum(1) > 0
    assert x.shape == (50, 4)
    assert not x[ended].any()
    assert 0 < ended.float().mean() < 1


def test_text_is_filled_up_from_its_beginning():
    model, seeds = lively(PLAIN), [1, 2]
    whole = last(model.sample(Noise(seeds), length=9))
    known = (torch.arange(9) < 4).expand(2, 9)
    frames = list(model.complete(whole * known, known, Noise(seeds)))
    assert [frame.x.shape[1] for frame in frames] == [4, 5, 6, 7, 8, 9]
    assert torch.equal(frames[-1].x, whole)


@pytest.mark.parametrize(
    ("space", "free"), [(MUSIC, {"temperature", "bars"}), (LINES, {"temperature"}), (PLAIN, {"temperature", "length"})]
)
def test_only_what_can_be_chosen_is_an_option(space, free):
    found = options(CRNNGAN.sample, CRNNGAN.limits(space, {}))
    assert {name for name, option in found.items() if not option.fixed} == free


# ---- the game ------------------------------------------------------------------------------------------------------


class Deaf(nn.Module):
    """Scores by hand, whatever it reads: real pieces 2, generated ones 0.5; their states are their first event."""

    def forward(self, y, *, keep=False, alone=False):
        return torch.full((len(y),), 0.5 if y.requires_grad or not keep else 2.0), y[:, 0]


def test_the_relativistic_losses():
    model, x = lively(MUSIC, matching=0.0, anchor=0.0), pieces()
    model.discriminator = Deaf()
    loss = model.loss(Batch(x), turn("discriminator", "game"))
    assert_close(loss.minimise, torch.tensor(math.log(1 + math.exp(0.5 - 2.0))))
    assert_close(loss.show["discriminator is right"].mean(), torch.tensor(1.0))
    assert_close(model.loss(Batch(x), turn("generator", "game")).minimise, torch.tensor(math.log(2)), msg="0.5 - 0.5")


def test_matching_and_anchor_are_added_with_their_weights():
    x, parts = pieces(), {}
    for name, config in {
        "game": {"matching": 0.0, "anchor": 0.0},
        "matched": {"matching": 2.0, "anchor": 0.0},
        "anchored": {"matching": 0.0, "anchor": 0.5},
    }.items():
        parts[name] = lively(MUSIC, **config).loss(Batch(x), turn("generator", "game"))
    assert_close(parts["matched"].minimise, parts["game"].minimise + 2 * parts["game"].show["feature matching"])
    likelihood = lively(MUSIC).loss(Batch(x), turn("generator", "likelihood")).minimise
    assert_close(parts["anchored"].minimise, parts["game"].minimise + 0.5 * likelihood)
    assert parts["game"].show["feature matching"] > 0


@pytest.mark.parametrize("space", [MUSIC, LINES, PLAIN])
def test_what_the_game_hears_is_one_hot_and_free_running(space):
    model = lively(space)
    with torch.no_grad():
        y = model.generated(64, 4, torch.Generator().manual_seed(0))
    parts = y.split(model.fields.sizes, -1)
    for part in parts:
        assert_close(part.amax(-1), torch.ones(64, 4))
        assert_close(part.sum(-1), torch.ones(64, 4))
    x = model.fields.shaped(model.fields.values(y))
    with torch.no_grad():
        assert model.log_prob(x).isfinite().all(), "all that it writes it could have been taught"
    if space is LINES:
        ended = (x == 0).cumsum(1) > 0
        assert not x[ended].any()
        assert ended.any()


def test_soft_choices_have_the_probabilities_of_the_model():
    model, n = lively(PLAIN, softness=0.7), 20_000
    with torch.no_grad():
        y = model.generated(n, 1, torch.Generator().manual_seed(0))[:, 0]
        p = model.generator(model.fields.one_hot(torch.zeros(1, 1, 1, dtype=torch.int64)))[0][0, 0].softmax(-1)
    assert (y.mean(0) - p).abs().max() < 4 * (0.25 / n) ** 0.5


@pytest.mark.parametrize("space", [MUSIC, LINES])
def test_the_game_alone_moves_every_choice(space):
    model = lively(space, matching=0.0, anchor=0.0)
    x = pieces() if space is MUSIC else fake_text(LINES).batch(3, torch.Generator().manual_seed(0)).x
    loss = model.loss(Batch(x), turn("generator", "game"))
    names, parameters = zip(*model.generator.named_parameters(), strict=True)
    moved = torch.autograd.grad(loss.minimise, parameters)
    still = {name for name, gradient in zip(names, moved, strict=True) if not gradient.any()}
    assert not still


def test_each_piece_is_judged_alone():
    model, x = lively(MUSIC, window=24), pieces()
    model.loss(Batch(x), turn("discriminator", "game"))
    assert model.discriminator.usual > 0, "how much real pieces differ is remembered"
    with torch.no_grad():
        scores = model.criticise(x)
        assert_close(model.criticise(x[1:2]), scores[1:2])
        assert len(scores.unique()) == 3


def test_a_piece_is_judged_by_its_first_events_and_its_score_follows_the_batch_in_the_game():
    model, x = lively(MUSIC, window=6), pieces()
    changed = x.clone()
    changed[:, 6:] = x[:, 5:6]
    y = model.fields.one_hot(x)
    with torch.no_grad():
        assert_close(model.criticise(changed), model.criticise(x))
        assert not torch.allclose(model.criticise(x[:, :5]), model.criticise(x))
        together = model.discriminator(y)[0]
        alone = torch.cat([model.discriminator(row[None])[0] for row in y])
        assert not torch.allclose(together, alone), "how much the pieces of a batch differ is seen"


@pytest.mark.parametrize("space", [MUSIC, PLAIN])
def test_it_learns_in_all_stages_and_keeps_what_the_likelihood_taught(space):
    """A source with little to learn: after the likelihood a few nats, after the game not many more."""
    torch.manual_seed(0)
    source = fake_chorales(space, 2) if space is MUSIC else fake_text(PLAIN)
    if space is PLAIN:
        source._splits["train"] = torch.tensor([0, 1, 2] * 40, dtype=torch.int16)
    model = CRNNGAN(space, width=32, window=6, dropout=0.0)
    stages = {
        "likelihood": Stage(40, turns={"discriminator": 0}),
        "discriminator": Stage(3, turns={"generator": 0}),
        "game": Stage(6),
    }
    x = source.batch(16, torch.Generator().manual_seed(5)).x
    with torch.no_grad():
        before = float(-model.log_prob(x).mean())
    run = Training(model, source, Recipe(stages, batch_size=8, lr=1e-2, warmup=5, clip=1.0))
    costs = {}
    for _ in run:
        with torch.no_grad():
            costs[run.position] = float(-run.shown.log_prob(x).mean())
    assert costs[0] < 0.75 * before
    assert costs[2] < 1.15 * costs[0] + 0.5
