"""The VQ-VAE: codes there and back, a prior that does not see the future, cells that stay as they are."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from toys import FakePictures

from gen_models import latent
from gen_models.interface import BadInput, Batch, Frame, Space, Turn
from gen_models.models import vqvae
from gen_models.models.vqvae import DROPPED, UNWRITTEN, VQVAE
from gen_models.noise import Noise
from gen_models.training import Recipe, Stage, Training

PICTURES, COLOURS = Space("image", (1, 16, 12), labels=("a", "b", "c")), Space("image", (3, 8, 8))
SMALL: dict[str, Any] = {"codes": 64, "dim": 4, "channels": 8, "hidden": 16, "layers": 2}
kinds = pytest.mark.parametrize(("quantiser", "space"), [("ema", PICTURES), ("fsq", COLOURS)])


def made(quantiser: str = "ema", space: Space = PICTURES, **config: Any) -> VQVAE:
    """A small model in eval mode that has begun; nothing of it stands at its start, where the prior would be even."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = VQVAE(space, quantiser=quantiser, conditional=bool(space.labels), **SMALL | config)
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        model.begin(FakePictures(space, 200).split("train"), torch.Generator().manual_seed(0))
    return model.eval().requires_grad_(False)


def some(model: VQVAE, n: int = 4) -> Tensor:
    return FakePictures(model.space, n).x


def random_tokens(model: VQVAE, n: int = 4, seed: int = 0) -> Tensor:
    return torch.randint(model.codes, (n, *model.grid), generator=torch.Generator().manual_seed(seed))


def rows(model: VQVAE, n: int) -> Tensor | None:
    return torch.eye(len(model.labels))[torch.arange(n) % len(model.labels)] if model.labels else None


def drawn(model: VQVAE, seeds: list[int], **values: Any) -> list[Frame]:
    return list(model.sample(Noise(seeds), label=rows(model, len(seeds)), **values))


def turn(player: str, seed: int = 0) -> Turn:
    return Turn(player, "training", 0, 0.0, torch.Generator().manual_seed(seed))


# ---- pictures and codes ----------------------------------------------------------------------------------------


@kinds
def test_pictures_are_written_as_codes_and_read_again(quantiser, space):
    model = made(quantiser, space)
    x = some(model)
    tokens = model.tokens(x)
    assert tokens.shape == (4, space.shape[1] // 4, space.shape[2] // 4) == (4, *model.grid)
    assert tokens.dtype == torch.int64
    assert 0 <= tokens.min() <= tokens.max() < model.codes == 64
    assert len(tokens.unique()) > 1
    again = model.from_tokens(tokens)
    assert again.shape == x.shape
    assert torch.equal(model.reconstruct(x), again)
    assert not torch.allclose(again[0], again[1])


@kinds
def test_decoding_the_vectors_of_codes_is_reading_the_codes(quantiser, space):
    model = made(quantiser, space)
    tokens = random_tokens(model)
    z = model.quantiser.vectors(tokens).permute(0, 3, 1, 2)
    assert z.shape[1:] == model.latent_shape
    assert torch.equal(model.decode(z), model.from_tokens(tokens))


@kinds
def test_decoding_does_not_quantise(quantiser, space):
    model = made(quantiser, space)
    z = model.encode(some(model)).requires_grad_()
    (gradient,) = torch.autograd.grad(model.decode(z).sum(), z)
    assert gradient.flatten(1).any(1).all()
    assert not torch.equal(model.decode(z), model.reconstruct(some(model))), "what rounding takes away is still there"


def test_a_walk_begins_and_ends_at_its_pictures():
    model = made()
    z = model.encode(some(model, 2))
    x = model.decode(latent.walk(z, 9, "lerp"))
    assert_close(x[[0, -1]], model.decode(z))
    moved = (x[1:] - x[:-1]).abs().flatten(1).amax(1)
    assert (moved > 0).all(), "every step shows, though codes would jump"


def test_a_changed_code_changes_the_picture_where_it_stands():
    model = made()
    tokens = random_tokens(model, 1)
    other = tokens.clone()
    other[0, 0, 0] = (other[0, 0, 0] + 1) % model.codes
    changed = (model.from_tokens(tokens) - model.from_tokens(other)).abs()[0, 0]
    assert changed[:4, :4].max() > 0
    assert model.usage(other).sum() == 12
    assert torch.equal(model.usage(tokens), torch.bincount(tokens.flatten(), minlength=64))


# ---- training --------------------------------------------------------------------------------------------------


@kinds
def test_the_encoder_learns_as_if_nothing_were_rounded(quantiser, space):
    """Without commitment the gradient at the encoder's output is that of the decoder at the codes."""
    model = made(quantiser, space)
    model.quantiser.commitment = 0.0
    x = some(model)
    z = model.encode(x).requires_grad_()
    model.encode = lambda _: z
    (gradient,) = torch.autograd.grad(model.loss(Batch(x), turn("autoencoder")).minimise, z)
    q = model.quantiser.vectors(model.quantiser.codes_of(z.permute(0, 2, 3, 1))).permute(0, 3, 1, 2).requires_grad_()
    error = (model.autoencoder.decoder(q) - x).square().mean() / model.variance
    assert_close(gradient, torch.autograd.grad(error, q)[0])


@kinds
def test_a_stage_moves_its_player_alone(quantiser, space):
    model = made(quantiser, space).requires_grad_(True)
    stages = {"autoencoder": Stage(3, turns={"prior": 0}), "prior": Stage(3, turns={"autoencoder": 0})}
    run = Training(model, FakePictures(space), Recipe(stages, batch_size=4))
    at = {}
    for progress in run:
        if progress.step in (0, 3):
            at[progress.stage if progress.step else "start"] = {k: v.clone() for k, v in model.state_dict().items()}

    def changed(before: str, after: str) -> set[str]:
        return {key.partition(".")[0] for key, v in at[after].items() if not torch.equal(v, at[before][key])}

    learnt = {"autoencoder", "quantiser"} if quantiser == "ema" else {"autoencoder"}
    assert changed("start", "autoencoder") - {"variance"} == learnt
    assert changed("autoencoder", "prior") == {"prior"}, "the codebook stays, too"


def test_only_training_moves_the_codebook():
    model = made()
    before = model.quantiser.codebook.clone()
    model.loss(Batch(some(model)), turn("autoencoder"))
    assert torch.equal(model.quantiser.codebook, before)
    model.train().loss(Batch(some(model)), turn("autoencoder"))
    assert not torch.equal(model.quantiser.codebook, before)


def test_the_figures_are_what_they_say():
    model = made()
    x = some(model, 50)
    show = model.loss(Batch(x), turn("autoencoder")).show
    tokens = model.tokens(x)
    share = torch.stack([(tokens == k).float().mean() for k in range(model.codes)])
    assert_close(show["perplexity"], torch.distributions.Categorical(share).entropy().exp())
    assert_close(show["live codes"].mean(), torch.tensor(len(tokens.unique()) / 64))
    raw = model.autoencoder.decoder(model.quantiser.vectors(tokens).permute(0, 3, 1, 2))
    assert_close(show["squared error"].mean(), (((raw + 1) / 2 - (x + 1) / 2) ** 2).mean())


@kinds
def test_a_short_training_rebuilds_pictures_and_knows_their_codes(quantiser, space):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VQVAE(space, quantiser=quantiser, conditional=bool(space.labels), **SMALL)
    source = FakePictures(space)
    source.x = torch.nn.functional.interpolate(source.x[:, :, ::4, ::4], space.shape[1:])  # plain squares
    stages = {"autoencoder": Stage(100, turns={"prior": 0}), "prior": Stage(100, turns={"autoencoder": 0})}
    run = Training(model, source, Recipe(stages, batch_size=16, lr=5e-3, warmup=10, ema=0.9))
    list(run)
    shown, x = run.shown, source.x
    with torch.no_grad():
        assert (shown.reconstruct(x) - x).square().mean() < 0.25 * x.var()
        nats = shown.token_log_probs(shown.tokens(x), label=source.label).sum(1)
    even = -math.log(64) * shown.grid[0] * shown.grid[1]
    assert nats.mean() > 0.75 * even


def test_one_label_in_ten_is_hidden_from_the_prior():
    model, seen = made(), []
    model.prior.register_forward_pre_hook(lambda _, __, given: seen.append(given["label"]), with_kwargs=True)
    label = torch.arange(2000) % 3
    model.loss(Batch(some(model, 2000), label), turn("prior"))
    (given,) = seen
    hidden = ~given.any(1)
    assert torch.equal(given[~hidden], torch.eye(3)[label[~hidden]])
    assert abs(float(hidden.float().mean()) - DROPPED) < 0.03


# ---- the prior -------------------------------------------------------------------------------------------------


def test_the_probability_of_a_code_depends_on_those_before_it_alone():
    model = made()
    tokens, label = random_tokens(model, 2), rows(model, 2)
    nats = model._nats(tokens, label)
    assert nats.shape == (2, 12)
    for cell in (0, 5, 11):
        other = tokens.flatten(1).clone()
        other[:, cell] = (other[:, cell] + 7) % model.codes
        changed = model._nats(other.view_as(tokens), label) != nats
        assert not changed[:, :cell].any()
        assert changed[:, cell:].all(), "what follows reads it"


def test_the_first_codes_probabilities_add_up_to_one_and_heed_the_class():
    model = made()
    tokens = random_tokens(model, 1).repeat(64, 1, 1)
    tokens[:, 0, 0] = torch.arange(64)
    each = [model._nats(tokens, row.expand(64, 3))[:, 0] for row in (*torch.eye(3), torch.zeros(3))]
    for nats in each:
        assert_close(nats.exp().sum(), torch.ones(()))
    assert all(not torch.allclose(a, b) for i, a in enumerate(each) for b in each[:i])


def test_the_probability_of_a_pictures_codes_is_the_product_of_all_cells():
    model = made()
    x, label = some(model), torch.tensor([0, 1, 2, 0])
    found = model.token_log_probs(model.tokens(x), label=label).sum(1)
    assert_close(found, model._nats(model.tokens(x), torch.eye(3)[label]).sum(1))
    assert_close(
        found[2:3], model.token_log_probs(model.tokens(x[2:3]), label=torch.eye(3)[2:3]).sum(1), rtol=1e-4, atol=1e-3
    )


def test_writing_draws_from_the_probabilities_that_the_prior_gives():
    """Codes are drawn by inversion: the number drawn for a cell lies within the drawn code's share of [0, 1)."""
    model, noise = made(), Noise(range(5))
    tokens = list(model.sample(noise, label=rows(model, 5), guidance=1.0))[-1].show["tokens"]
    logits = model.prior(tokens.flatten(1)[:, :-1], label=rows(model, 5))
    upper = logits.double().softmax(-1).cumsum(-1)
    for cell in range(12):
        u = noise.at(cell).uniform().double()
        code = tokens.flatten(1)[:, cell]
        above = upper[torch.arange(5), cell, code]
        below = torch.where(code > 0, upper[torch.arange(5), cell, code - 1], 0.0)
        assert ((below - 1e-4 <= u) & (u <= above + 1e-4)).all()


# ---- sampling --------------------------------------------------------------------------------------------------


@kinds
def test_a_frame_for_every_cell(quantiser, space):
    model = made(quantiser, space)
    cells = model.grid[0] * model.grid[1]
    frames = drawn(model, [3, 4])
    assert [frame.step for frame in frames] == [frame.calls for frame in frames] == list(range(cells + 1))
    assert all(frame.total == cells for frame in frames)
    last = frames[-1].show["tokens"].flatten(1)
    for frame in frames:
        tokens = frame.show["tokens"].flatten(1)
        assert torch.equal(tokens[:, : frame.step], last[:, : frame.step])
        assert (tokens[:, frame.step :] == UNWRITTEN).all()
        grey = torch.nn.functional.interpolate((frame.show["tokens"] == UNWRITTEN)[:, None].float(), space.shape[1:])
        assert not (frame.x * grey).any()
        assert frame.x.abs().max() <= 1
    assert torch.equal(frames[-1].x, model.from_tokens(frames[-1].show["tokens"]))


@kinds
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_sample_depends_on_its_seed_alone(quantiser, space, guidance):
    model = made(quantiser, space)
    together = drawn(model, [5, 6, 7], guidance=guidance)[-1]
    assert torch.equal(drawn(model, [5, 6, 7], guidance=guidance)[-1].x, together.x)
    alone = drawn(model, [5], guidance=guidance)[-1]
    assert torch.equal(alone.show["tokens"], together.show["tokens"][:1])
    assert_close(alone.x, together.x[:1], rtol=1e-3, atol=1e-4)
    assert not torch.equal(together.show["tokens"][1], together.show["tokens"][2])


def test_large_sets_are_decoded_less_often_to_the_same_end(monkeypatch):
    model = made()
    every = drawn(model, [1, 2])
    monkeypatch.setattr(vqvae, "LOOKED_AT", 1)
    rarely = drawn(model, [1, 2])
    assert [frame.step for frame in rarely] == [frame.step for frame in every]
    assert torch.equal(rarely[-1].x, every[-1].x)
    assert torch.equal(rarely[3].x, every[3].x), "at the end of a row of three"
    assert torch.equal(rarely[5].x, every[3].x)


def test_guidance_exaggerates_the_class():
    model = made()
    plain, none = drawn(model, [1, 2, 3], guidance=1.0), list(model.sample(Noise([1, 2, 3])))
    assert torch.equal(drawn(model, [1, 2, 3], guidance=1.5)[-1].x, drawn(model, [1, 2, 3])[-1].x)
    assert torch.equal(drawn(model, [1, 2, 3], guidance=0.0)[-1].show["tokens"], none[-1].show["tokens"])
    far = drawn(model, [1, 2, 3], guidance=4.0)[-1].show["tokens"]
    assert not torch.equal(far, plain[-1].show["tokens"])
    unlabelled = list(model.sample(Noise([1, 2, 3]), guidance=4.0))[-1]
    assert torch.equal(unlabelled.x, none[-1].x), "there is nothing to exaggerate"


def test_at_temperature_zero_and_with_one_candidate_all_samples_are_one():
    model = made()
    label = torch.eye(3)[:1].expand(3, 3)
    first = None
    for values in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}):
        tokens = list(model.sample(Noise(range(3)), label=label, **values))[-1].show["tokens"]
        first = tokens[:1] if first is None else first
        assert torch.equal(tokens, first.expand(3, 4, 3))


# ---- filling ---------------------------------------------------------------------------------------------------


@kinds
def test_known_cells_stay_whatever_the_mask(quantiser, space):
    model = made(quantiser, space)
    tokens = random_tokens(model, 5)
    known = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    given = tokens.clone()
    frames = list(model.fill(tokens, known, Noise(range(5)), label=rows(model, 5)))
    assert torch.equal(tokens, given), "the caller's codes are left alone"
    assert len(frames) == 1 + int((~known).any(0).sum())
    assert torch.equal(frames[0].x, model.from_tokens(tokens)), "at first stands what stood there"
    for frame in frames:
        assert torch.equal(frame.show["tokens"][known], tokens[known])
    last = frames[-1]
    assert 0 <= last.show["tokens"].min() <= last.show["tokens"].max() < model.codes
    assert not torch.equal(last.show["tokens"], tokens)
    assert torch.equal(last.x, model.from_tokens(last.show["tokens"]))


def test_with_nothing_known_filling_is_sampling():
    model = made()
    nothing = torch.zeros(3, *model.grid, dtype=torch.bool)
    values = {"temperature": 0.8, "top_k": 20, "guidance": 2.0}
    *_, filled = model.fill(random_tokens(model, 3), nothing, Noise([4, 5, 6]), label=rows(model, 3), **values)
    sampled = drawn(model, [4, 5, 6], **values)[-1]
    assert torch.equal(filled.show["tokens"], sampled.show["tokens"])
    assert torch.equal(filled.x, sampled.x)


def test_a_sample_goes_on_from_its_own_beginning():
    model = made()
    whole = drawn(model, [4, 5])[-1].show["tokens"]
    known = torch.zeros_like(whole, dtype=torch.bool)
    known[:, :2] = True
    known[:, 3, 1] = True
    *_, again = model.fill(whole, known, Noise([4, 5]), label=rows(model, 2))
    assert torch.equal(again.show["tokens"], whole)


def test_a_known_cell_is_context_for_later_ones_and_not_for_earlier_ones():
    model = made()
    tokens = random_tokens(model, 6)
    known = torch.zeros_like(tokens, dtype=torch.bool)
    known[:, 1, 1] = True  # cell 4
    other = tokens.clone()
    other[:, 1, 1] = (other[:, 1, 1] + 9) % model.codes
    one, two = (
        list(model.fill(t, known, Noise(range(6)), label=rows(model, 6)))[-1].show["tokens"].flatten(1)
        for t in (tokens, other)
    )
    assert torch.equal(one[:, :4], two[:, :4])
    assert not torch.equal(one[:, 5:], two[:, 5:])


def test_with_everything_known_there_is_nothing_to_do():
    model = made()
    tokens = random_tokens(model, 2)
    (frame,) = model.fill(tokens, torch.ones_like(tokens, dtype=torch.bool), Noise([1, 2]))
    assert frame.total == frame.calls == 0
    assert torch.equal(frame.x, model.from_tokens(tokens))


# ---- what it is not for ----------------------------------------------------------------------------------------


def test_codes_that_are_none_are_refused():
    model = made()
    tokens = random_tokens(model, 2)
    shapes, values = (tokens[:, :2], tokens.flatten(1)), (tokens - 100, tokens + 64, tokens.float())
    for wrong, word in [*((t, "4 x 3") for t in shapes), *((t, "whole number from 0 to 63") for t in values)]:
        with pytest.raises(BadInput, match=word):
            model.from_tokens(wrong)
        with pytest.raises(BadInput, match=word):
            next(model.fill(wrong, torch.ones_like(wrong, dtype=torch.bool), Noise([1, 2])))
    with pytest.raises(BadInput, match="known"):
        next(model.fill(tokens, torch.ones(2, 3, 4, dtype=torch.bool), Noise([1, 2])))


def test_a_vq_vae_says_what_it_is_for():
    with pytest.raises(BadInput, match="multiples of 4"):
        VQVAE(Space("points", (2,)))
    with pytest.raises(BadInput, match="multiples of 4"):
        VQVAE(Space("image", (1, 30, 28)))
    with pytest.raises(BadInput, match="smaller"):
        VQVAE(Space("image", (3, 128, 128)))
    with pytest.raises(BadInput, match="classes"):
        VQVAE(COLOURS, conditional=True)
    assert VQVAE.limits(COLOURS, {"codes": 64})["guidance"].high == 1.0
    assert not VQVAE.limits(PICTURES, {"codes": 64, "conditional": True})
