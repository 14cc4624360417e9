"""The decoder against what is known: nothing depends on the future, a cache changes nothing, choices are as said."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from gen_models.interface import BadInput
from gen_models.nn import Decoder, kept
from gen_models.nn.decoder import dropped, read, rotated

SYMBOLS, CONTEXT = 11, 12


def decoder(classes: int = 0, dropout: float = 0.0, kind: torch.dtype = torch.float64) -> Decoder:
    """A small one with nothing at zero."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        made = Decoder(SYMBOLS, CONTEXT, width=16, layers=3, heads=2, classes=classes, dropout=dropout)
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        return made.to(kind)


def tokens(rows: int = 4, length: int = CONTEXT, seed: int = 0) -> Tensor:
    return torch.randint(SYMBOLS, (rows, length), generator=torch.Generator().manual_seed(seed))


# ---- the future ------------------------------------------------------------------------------------------------


def test_no_output_depends_on_the_future():
    model, x = decoder(), tokens()
    before = model(x)
    for place in range(CONTEXT):
        changed = x.clone()
        changed[:, place:] = (changed[:, place:] + 1) % SYMBOLS
        after = model(changed)
        assert torch.equal(after[:, : place + 1], before[:, : place + 1]), "symbols up to place are given the past"
        assert not torch.isclose(after[:, place + 1], before[:, place + 1]).all()


def test_no_gradient_flows_from_the_future():
    model, x, seen = decoder(), tokens(1), []
    model.embedding.register_forward_hook(lambda _, __, out: seen.append(out.retain_grad() or out))
    logits = model(x)
    for place in range(CONTEXT + 1):
        (gradient,) = torch.autograd.grad(logits[0, place].square().sum(), seen[0], retain_graph=True)
        moved = gradient[0].abs().sum(1) > 0
        assert moved[:place].all(), "all of the past counts"
        assert not moved[place:].any()


def test_attention_sums_to_one_over_the_past():
    weights = decoder().attention(tokens())
    assert weights.shape == (4, 3, 2, CONTEXT + 1, CONTEXT + 1)
    assert_close(weights.sum(-1), torch.ones(4, 3, 2, CONTEXT + 1).double())
    assert not weights.triu(1).any()
    assert (weights.tril() > 0).sum() == weights[0, 0, 0].tril().count_nonzero() * 24


def test_attention_is_what_the_output_is_made_of():
    model, x = decoder(), tokens()
    logits, weights = model.explicit(x)
    assert_close(logits, model(x))
    assert_close(weights, model.attention(x))


def test_reading_is_scaled_dot_product_attention():
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 4, generator=rng).double() for _ in range(3))
    assert_close(read(q, k, v), F.scaled_dot_product_attention(q, k, v, is_causal=True))


def test_what_two_places_say_to_each_other_depends_on_their_distance_alone():
    rng = torch.Generator().manual_seed(0)
    q, k = (torch.randn(8, generator=rng).double() for _ in range(2))
    angle = torch.arange(20)[:, None] * 10_000.0 ** (-torch.arange(4) / 4)
    turn = angle.cos(), angle.sin()
    scores = rotated(q.expand(1, 1, 20, 8), turn) @ rotated(k.expand(1, 1, 20, 8), turn).transpose(-1, -2)
    for distance in range(-19, 20):
        along = scores[0, 0].diagonal(distance)
        assert_close(along, along[:1].expand_as(along), rtol=1e-5, atol=1e-5)
    assert scores[0, 0, 0].std() > 0.1


# ---- the cache -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "near"), [(torch.float64, {"rtol": 1e-10, "atol": 1e-10}), (torch.float32, {"rtol": 1e-4, "atol": 1e-5})]
)
@pytest.mark.parametrize("pieces", [(1,) * CONTEXT, (CONTEXT,), (5, 1, 6)])
def test_a_cache_changes_nothing(pieces, kind, near):
    model, x, label = decoder(classes=3, kind=kind), tokens(), torch.eye(3)[[0, 1, 2, 0]]
    whole = model(x, label=label)
    logits, cache = model.start(4, label=label)
    assert_close(logits, whole[:, 0], **near)
    with torch.no_grad():
        for piece in x.split(pieces, 1):
            logits = model.step(piece, cache)
            assert_close(logits, whole[:, cache.length - 1], **near)
    assert cache.room == 0


def test_the_first_symbol_is_given_the_start_alone():
    model = decoder(classes=3)
    nothing = torch.empty(2, 0, dtype=torch.int64)
    assert model(nothing).shape == (2, 1, SYMBOLS)
    assert_close(model.start(2)[0], model(tokens(2))[:, 0])
    label = torch.eye(3)[:2]
    assert not torch.allclose(model(nothing, label=label)[0], model(nothing, label=label)[1]), "a class is heeded"
    assert_close(model(nothing, label=torch.zeros(2, 3)), model(nothing), msg="a zero row is no class")


def test_rows_with_different_classes_are_what_they_are_alone():
    model, x, label = decoder(classes=3), tokens(3), torch.eye(3)
    together = model(x, label=label)
    for k in range(3):
        assert_close(together[k : k + 1], model(x[k : k + 1], label=label[k : k + 1]))


def test_a_full_context_says_so():
    model = decoder()
    with pytest.raises(BadInput, match="context of 12"):
        model(tokens(1, CONTEXT + 1))
    _, cache = model.start(1)
    model.step(tokens(1), cache)
    with pytest.raises(BadInput, match="context of 12"):
        model.step(tokens(1, 1), cache)
    with pytest.raises(BadInput, match="multiple of 6"):
        Decoder(5, 8, width=16, layers=1, heads=3)


# ---- training --------------------------------------------------------------------------------------------------


def test_dropout_is_of_its_generator_and_keeps_the_mean():
    x = torch.ones(200, 1001, dtype=torch.float64)
    rng = torch.Generator().manual_seed(1)
    y = dropped(x, 0.2, rng)
    share = round(256 * 0.2) / 256
    assert set(y.unique().tolist()) == {0.0, 1 / (1 - share)}
    assert_close(y.mean(), torch.ones(()).double(), rtol=0, atol=0.01)
    assert torch.equal(y, dropped(x, 0.2, torch.Generator().manual_seed(1)))
    assert not torch.equal(y, dropped(x, 0.2, rng)), "the generator goes on"
    assert dropped(x, 0.2, None) is x
    assert dropped(x, 0.0, rng) is x


def test_dropout_disturbs_no_other_generator():
    model, x = decoder(dropout=0.3), tokens()
    before = torch.random.get_rng_state()
    one, two = (model(x, rng=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.allclose(one, model(x))
    assert torch.equal(model(x), model(x)), "without a generator there is none"


def test_a_fresh_decoder_only_passes_its_symbols_on():
    """Residual branches end in zeros: the output at a place is that of its own symbol, whatever stands before."""
    model = Decoder(SYMBOLS, CONTEXT, width=16, layers=2, heads=2)
    one, other = tokens(1, 3), tokens(1, 3, seed=1)
    other[:, -1] = one[:, -1]
    assert_close(model(one)[:, -1], model(other)[:, -1])
    found = sum(p.numel() for p in model.parameters())
    assert found == 2 * 12 * 16 * 16 + SYMBOLS * 16 + 16 + 2 * 2 + 16, "blocks, embedding, start, heads, gain"


def test_every_parameter_learns():
    model = decoder(classes=3)
    model(tokens(), label=torch.eye(3)[[0, 1, 2, 0]]).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_it_learns_where_to_look():
    """Two random symbols, over and over: all but the first two are known from the one two places before."""
    model, rng = decoder(kind=torch.float32), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(150):
        x = torch.randint(5, (64, 2), generator=rng).repeat(1, 5)
        cost = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x.flatten(), reduction="none").view(64, 10)
        optimizer.zero_grad()
        cost.mean().backward()
        optimizer.step()
    assert cost[:, 2:].mean() < 0.1
    assert cost[:, :2].mean() > math.log(5) - 0.1, "what is random stays so"


# ---- choosing --------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([[2.0, 0.0, 1.0, -1.0]])


def test_kept_alone_is_softmax():
    assert_close(kept(LOGITS), LOGITS.softmax(-1))
    assert_close(kept(LOGITS, 0.5), (LOGITS / 0.5).softmax(-1))
    assert_close(kept(LOGITS.log_softmax(-1)), LOGITS.softmax(-1), msg="log-probabilities are logits")


def test_temperature_zero_is_the_most_probable_symbol():
    for temperature in (0.0, 1e-300):
        assert kept(LOGITS, temperature).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    tied = torch.zeros(1, 4)
    assert kept(tied, 0.0).tolist() == [[1.0, 0.0, 0.0, 0.0]], "of equal ones the first"
    assert kept(1e4 * LOGITS, 0.01).isfinite().all()


def test_top_k_keeps_so_many():
    p = LOGITS.softmax(-1)[0]
    assert_close(kept(LOGITS, top_k=2)[0], torch.tensor([p[0], 0, p[2], 0]) / (p[0] + p[2]))
    assert_close(kept(LOGITS, top_k=200), LOGITS.softmax(-1))
    assert kept(torch.zeros(1, 4), top_k=3).count_nonzero() == 3


def test_top_p_keeps_the_fewest_that_reach_it():
    p = LOGITS.softmax(-1)[0]  # 0.64, 0.09, 0.24, 0.03
    assert kept(LOGITS, top_p=0.0).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert kept(LOGITS, top_p=0.5).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert_close(kept(LOGITS, top_p=0.7)[0], torch.tensor([p[0], 0, p[2], 0]) / (p[0] + p[2]))
    assert kept(LOGITS, top_p=0.9).count_nonzero() == 3
    assert_close(kept(LOGITS, top_p=1.0), LOGITS.softmax(-1))


def test_top_p_counts_what_top_k_and_temperature_left():
    two = kept(LOGITS, top_k=2)[0]
    assert two[0] > 0.7
    assert kept(LOGITS, top_k=2, top_p=0.7).count_nonzero() == 1, "of all four the first alone would not reach 0.7"
    assert kept(LOGITS, 0.5, top_p=0.8).count_nonzero() == 1
    assert kept(LOGITS, 2.0, top_p=0.8).count_nonzero() == 3
