"""The transformer that writes chorales: it knows its place in the bar, and whole bars are kept where memory is full."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close
from toys import fake_chorales

from gen_models import music
from gen_models.interface import BadInput, Batch, Space, Turn, options
from gen_models.models.chorales import PLACES, ChoraleTransformer
from gen_models.noise import Noise

SPACE = music.tokens_space(32)  # a context of two bars, of which one is kept


def lively(seed: int = 0, **config) -> ChoraleTransformer:
    torch.manual_seed(seed)
    model = ChoraleTransformer(SPACE, **{"width": 16, "layers": 2, "heads": 2} | config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def last(frames):
    *_, frame = frames
    return frame.x


def piece(steps: int = 80) -> torch.Tensor:
    return music.tokens(fake_chorales(SPACE).pieces("test")[0][:steps])[None]


def test_it_writes_tokens_of_music_in_an_even_number_of_bars():
    for space in (music.events_space(100), Space("text", (128,), alphabet=("a", "b"))):
        with pytest.raises(BadInput, match="chorales as tokens"):
            ChoraleTransformer(space)
    with pytest.raises(BadInput, match="number of bars"):
        ChoraleTransformer(music.tokens_space(48))


def test_the_same_token_in_another_place_of_the_bar_is_another():
    model = lively()
    with torch.no_grad():
        model.decoder.blocks = torch.nn.ModuleList()  # nothing but the token and its place
        x = torch.full((1, 2 * PLACES), 30)
        logits = model.decoder(x)[0, 1:]
    assert_close(logits[PLACES:], logits[:-PLACES])
    assert len(logits[:PLACES].unique(dim=0)) == PLACES


def test_a_long_piece_has_the_likelihood_of_its_tokens_one_by_one():
    model, x = lively().double(), piece()
    with torch.no_grad():
        nats = model.log_probs(x)
        assert_close(model.log_prob(x), nats.sum(1))
        for place in (0, 1, 63, 128, 129, 191, 192, 250, 319):
            told = model.next_distribution(x[:, :place])
            assert_close(told.exp().sum(1), torch.ones(1, dtype=torch.float64))
            assert_close(told[0, x[0, place]], nats[0, place])


def test_writing_with_a_memory_is_writing_without():
    quick, slow = lively(), lively()
    slow.cached = False
    x = [last(model.sample(Noise([1, 2]), bars=4)) for model in (quick, slow)]
    assert torch.equal(*x)
    assert x[0].shape == (2, 4 * PLACES)


def test_every_place_is_drawn_with_its_probability():
    model, n = lively().double(), 4000
    with torch.no_grad():
        frames = model.sample(Noise(range(n)), bars=1)
        next(frames)
        first = next(frames).x[:, 0]
        p = model.next_distribution(torch.empty(1, 0, dtype=torch.int64)).exp()[0]
    share = torch.bincount(first, minlength=len(p)) / n
    assert (share - p).abs().max() < 4 * (0.25 / n) ** 0.5


@pytest.mark.parametrize("length", [0, 5, 4 * 7, 150])
def test_an_opening_stays_and_goes_on_until_the_bars_are_full(length):
    model, seeds = lively(), [1, 2]
    whole = last(model.sample(Noise(seeds), bars=3))
    opening = whole[:, :length]
    known = torch.ones_like(opening, dtype=torch.bool)
    frames = list(model.complete(opening, known, Noise(seeds), bars=3))
    assert torch.equal(frames[0].x, opening)
    assert [frame.x.shape[1] for frame in frames] == list(range(length, 3 * PLACES + 1))
    assert torch.equal(frames[-1].x, whole)
    other = last(model.complete(opening, known, Noise([8, 9]), bars=3))
    assert torch.equal(other[:, :length], opening)
    assert not torch.equal(other, whole)


def test_an_opening_that_is_longer_than_its_bars_stays_as_it_is():
    x = piece()
    assert torch.equal(last(lively().complete(x, x >= 0, Noise([1]), bars=1)), x)


def test_its_length_is_said_in_bars():
    found = options(ChoraleTransformer.sample, ChoraleTransformer.limits(SPACE, {}))
    assert set(found) == {"temperature", "top_k", "top_p", "bars"}


def test_an_untrained_one_finds_all_tokens_alike():
    torch.manual_seed(0)
    model = ChoraleTransformer(SPACE, width=16, layers=1, heads=2)
    x = fake_chorales(SPACE).batch(2, torch.Generator().manual_seed(0)).x
    loss = model.loss(Batch(x), Turn("", "training", 0, 0.0, torch.Generator().manual_seed(0)))
    assert float(loss.show["nats per token"].detach()) == pytest.approx(math.log(len(music.ALPHABET)), rel=0.05)


def test_what_comes_later_changes_nothing_before():
    model, x = lively(), piece(32)
    changed = x.clone()
    changed[:, 70:] = 1
    with torch.no_grad():
        assert_close(model.log_probs(x)[:, :70], model.log_probs(changed)[:, :70])
