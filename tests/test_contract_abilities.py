"""What every entry keeps of each ability that it lists: shapes, ranges, and what the words of the ability promise."""

from __future__ import annotations

import pytest
import torch
from contract import FEW, able, drawn, rows, some
from torch import Tensor
from torch.testing import assert_close

from gen_models import music, zoo
from gen_models.interface import (
    Attends,
    AttendsWithin,
    Completes,
    Criticises,
    Decodes,
    Denoises,
    Encodes,
    Predicts,
    Quantises,
    Reconstructs,
    Scores,
    Translates,
)
from gen_models.noise import Noise

# ---- symbol by symbol -----------------------------------------------------------------------------------------


def beginning(x: Tensor, count: int) -> Tensor:
    """Which places are the first `count` in the order of writing."""
    return (torch.arange(x[0].numel()) < count).view(1, *x.shape[1:]).expand_as(x)


def symbols(name: str, x: Tensor) -> Tensor:
    """x as symbols in the order of writing: pixels are black or white."""
    return x.flatten(1) if zoo.ZOO[name].where.kind in ("text", "music") else (x.flatten(1) > 0).long()


@able(Completes)
def test_an_opening_of_music_stays_and_goes_on_as_sampling_does(name, models):
    if zoo.ZOO[name].where.kind != "music":
        pytest.skip("of other kinds the whole is given, and what is known of it")
    model, whole = models[name], drawn(models[name], [7, 8])[-1].x

    def gone_on(opening, seeds):
        known = torch.ones_like(opening, dtype=torch.bool)
        with torch.no_grad():
            return list(model.complete(opening, known, Noise(seeds), bars=FEW["bars"]))

    assert torch.equal(gone_on(whole[:, :0], [7, 8])[-1].x, whole)
    opening = whole[:, : 3 * music.VOICES] if whole.dim() == 2 else whole[:, :3]
    frames = gone_on(opening, [7, 8])
    assert torch.equal(frames[0].x, opening)
    assert torch.equal(frames[-1].x, whole), "an unchanged opening goes on unchanged"
    other = gone_on(opening, [1, 2])[-1].x
    assert torch.equal(other[:, : opening.shape[1]], opening)
    assert not torch.equal(other, whole)
    for x in (whole, other):
        assert max(len(music.grid(row, model.space)) for row in x) == FEW["bars"] * music.BAR, "all bars are filled"


@able(Completes)
def test_what_is_known_stays_and_the_rest_is_what_sampling_writes(name, models):
    if zoo.ZOO[name].where.kind == "music":
        pytest.skip("of music an opening is given")
    model, whole = models[name], drawn(models[name], [7, 8], rows(name, 2))[-1].x
    count = whole[0].numel() // 2
    with torch.no_grad():
        nothing = list(
            model.complete(whole, torch.zeros_like(whole, dtype=torch.bool), Noise([7, 8]), label=rows(name, 2))
        )
        half = list(model.complete(whole, beginning(whole, count), Noise([7, 8]), label=rows(name, 2)))
        other = list(model.complete(whole, beginning(whole, count), Noise([1, 2]), label=rows(name, 2)))[-1].x
    assert torch.equal(nothing[-1].x, whole)
    assert torch.equal(half[-1].x, whole), "an unchanged beginning goes on unchanged"
    known = beginning(whole, count)
    assert torch.equal(other[known], whole[known])
    assert not torch.equal(other, whole)


@able(Predicts)
def test_each_symbol_has_the_probability_that_those_before_it_give_it(name, models):
    model, x = models[name].double(), some(name, 2)
    x = x if zoo.ZOO[name].where.kind in ("text", "music") else torch.where(x.double() > 0, 1.0, -1.0).double()
    order = symbols(name, x)
    try:
        with torch.no_grad():
            nats = model.log_probs(x, label=rows(name, 2))
            for place in (0, 1, order.shape[1] // 2):
                told = model.next_distribution(order[:, :place], label=rows(name, 2))
                assert_close(told.exp().sum(1), torch.ones(2, dtype=told.dtype))
                assert_close(told.gather(1, order[:, place, None])[:, 0], nats[:, place])
    finally:
        model.float()
    assert nats.shape == order.shape


@able(Attends)
def test_a_symbol_looks_back_only(name, models):
    model, x = models[name], some(name, 2)[:, :9]
    with torch.no_grad():
        seen = model.attention(x)
    assert seen.shape[0] == 2
    assert seen.shape[3:] == (10, 10)
    assert_close(seen.sum(-1), torch.ones_like(seen[..., 0]))
    assert seen.triu(1).abs().max() == 0


@able(AttendsWithin)
def test_a_place_of_the_picture_attends_to_all_of_it_once(name, models):
    model, z = models[name], Noise([1, 2]).normal(*models[name].latent_shape)
    with torch.no_grad():
        maps = model.attention_maps(z, label=rows(name, 2))
        alone = model.attention_maps(z[1:], label=None if rows(name, 2) is None else rows(name, 2)[1:])
    assert bool(maps) == zoo.ZOO[name].config.get("attention", True), "a model without attention has none to show"
    for layer, seen in maps.items():
        assert seen.shape[0] == 2
        assert seen.shape[2] * seen.shape[3] > 1
        assert_close(seen.sum((-2, -1)), torch.ones_like(seen[..., 0, 0]))
        assert_close(alone[layer], seen[1:], rtol=1e-3, atol=1e-4)


@able(Translates)
def test_pictures_are_redrawn_in_the_other_domain_one_by_one(name, models):
    model, x = models[name], some(name)
    for to in ("A", "B"):
        y = model.translate(x, to)
        assert y.shape == x.shape
        assert y.abs().max() <= 1
        assert_close(model.translate(x[1:2], to), y[1:2], rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        assert not torch.allclose(model.translate(x, "A"), model.translate(x, "B"))


@able(Quantises)
def test_codes_make_the_picture_and_known_ones_stay(name, models):
    model, x = models[name], some(name, 2)
    with torch.no_grad():
        tokens = model.tokens(x)
        filled = list(model.fill(tokens, torch.ones_like(tokens, dtype=torch.bool), Noise([0, 1]), label=rows(name, 2)))
        part = torch.ones_like(tokens, dtype=torch.bool)
        part[:, 1:3, 1:3] = False
        again = list(model.fill(tokens, part, Noise([0, 1]), label=rows(name, 2)))[-1]
        drawn_ = drawn(model, [0, 1], rows(name, 2))[-1]
        whole = list(model.fill(tokens, torch.zeros_like(part), Noise([0, 1]), label=rows(name, 2)))[-1]
        assert_close(model.from_tokens(tokens), model.reconstruct(x))
    assert tokens.shape == (2, *model.grid)
    assert 0 <= tokens.min() <= tokens.max() < model.codes
    assert torch.equal(filled[-1].show["tokens"], tokens)
    assert torch.equal(again.show["tokens"][part], tokens[part])
    assert torch.equal(whole.x, drawn_.x), "nothing known is a sample"


# ---- the other abilities --------------------------------------------------------------------------------------


@able(Denoises)
def test_a_denoisers_guesses_explain_x_t(name, models):
    model, x = models[name], some(name)
    eps = Noise(range(3)).normal(*x.shape[1:])
    with torch.no_grad():
        for t in (0.1, 1.0):
            x_t = model.noised(x, t, eps)
            guess = model.denoise(x_t, t, label=rows(name, 3))
            assert guess.x0.shape == guess.eps.shape == x.shape
            alpha, sigma = (float(a) for a in model.schedule(t))
            assert_close(alpha * guess.x0 + sigma * guess.eps, x_t, rtol=1e-3, atol=1e-3)
        assert_close(model.noised(x, 0.0, eps), x)


@able(Decodes)
def test_codes_are_decoded_at_once_and_differentiably(name, models):
    model, label = models[name], rows(name, 3)
    z = Noise(range(3)).normal(*model.latent_shape).requires_grad_()
    x = model.decode(z, label=label)
    assert x.shape == (3, *zoo.ZOO[name].where.shape)
    assert_close(model.decode(z[1:2], label=None if label is None else label[1:2]), x[1:2], rtol=1e-3, atol=1e-4)
    if zoo.ZOO[name].where.kind == "image":
        assert x.detach().abs().max() <= 1
    if not x.is_floating_point():  # symbols and events: nothing passes through a choice
        assert len({row.numpy().tobytes() for row in x}) == 3
        return
    (gradient,) = torch.autograd.grad(x.sum(), z)
    assert gradient.isfinite().all()
    assert gradient.flatten(1).any(1).all(), "every picture depends on its own code"
    (other,) = torch.autograd.grad(model.decode(z, label=label)[0].sum(), z)
    assert not other[1:].any(), "and on no other"


@able(Decodes, Encodes)
def test_encoding_gives_the_codes_that_decoding_takes(name, models):
    model, x = models[name], some(name)
    with torch.no_grad():
        z = model.encode(x)
        assert z.shape == (3, *model.latent_shape)
        assert model.decode(z).shape == x.shape
        assert_close(model.encode(x[1:2]), z[1:2], rtol=1e-3, atol=1e-4)


@able(Reconstructs)
def test_reconstructions_have_the_shape_and_range_of_data(name, models):
    x = some(name)
    with torch.no_grad():
        again = models[name].reconstruct(x)
    assert again.shape == x.shape
    assert again.isfinite().all()
    if zoo.ZOO[name].where.kind == "image":
        assert again.abs().max() <= 1


@able(Scores)
def test_scores_are_nats_per_row_and_repeatable(name, models):
    model, x = models[name], some(name)
    with torch.no_grad():
        scores = model.log_prob(x, Noise([1, 2, 3]), samples=2)
        assert scores.shape == (3,)
        assert scores.isfinite().all()
        assert torch.equal(model.log_prob(x, Noise([1, 2, 3]), samples=2), scores)
        assert_close(model.log_prob(x[1:2], Noise([2]), samples=2), scores[1:2], rtol=1e-4, atol=1e-2)
    assert type(model).measure(zoo.ZOO[name].where, zoo.ZOO[name].config) in ("density", "grey", "binary", "symbols")


@able(Criticises)
def test_a_judge_gives_each_x_a_score_of_its_own(name, models):
    model, x, label = models[name], some(name), rows(name, 3)
    with torch.no_grad():
        scores = model.criticise(x, label=label)
        assert scores.shape == (3,)
        assert len(scores.unique()) == 3
        alone = model.criticise(x[1:2], label=None if label is None else label[1:2])
        assert_close(alone, scores[1:2], rtol=1e-3, atol=1e-4)
