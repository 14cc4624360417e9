"""The transformer against what is known: probabilities add up to one, a cache changes nothing, text grows in order."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gen_models import data, training
from gen_models.interface import BadInput, Batch, Space, Turn, options
from gen_models.models.transformer import FIGURE, Transformer
from gen_models.noise import Noise
from gen_models.training import Recipe, Stage, Training

PLAIN = Space("text", (8,), alphabet=tuple("abcde"))
LINES = Space("text", (5,), alphabet=tuple("\nabc"), encoding="lines")
RHYME = "Die Katze tritt die Treppe krumm, der Kater tritt sie gerade.\n" * 30


def model(space: Space = PLAIN, dropout: float = 0.0, shaken: float = 0.3) -> Transformer:
    """A small one with nothing at zero, in float64 and not training."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        made = Transformer(space, width=16, layers=2, heads=2, dropout=dropout).double().eval()
        for parameter in made.parameters():
            parameter.add_(shaken * torch.randn_like(parameter))
        return made


def some(space: Space = PLAIN, rows: int = 3, length: int | None = None) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randint(len(space.alphabet), (rows, length or space.size), generator=rng)


def turn(seed: int = 0) -> Turn:
    return Turn("", "training", 0, 0.0, torch.Generator().manual_seed(seed))


def last(frames) -> Tensor:
    *_, frame = frames
    return frame.x


def words(*texts: str) -> Tensor:
    return torch.tensor([[LINES.alphabet.index(c) for c in text.ljust(5, "\n")] for text in texts])


# ---- the likelihood ------------------------------------------------------------------------------------------------


def test_the_probabilities_of_all_texts_add_up_to_one():
    x = torch.tensor(list(itertools.product(range(5), repeat=3)))
    assert_close(model().log_prob(x).exp().sum(), torch.ones(()).double())


def test_the_probabilities_of_all_lines_add_up_to_one():
    every = {line.partition("\n")[0] for line in map("".join, itertools.product(LINES.alphabet, repeat=5))}
    x = words(*sorted(every))
    assert len(x) == 1 + 3 + 9 + 27 + 81 + 243
    assert_close(model(LINES).log_prob(x).exp().sum(), torch.ones(()).double())


def test_what_stands_after_the_end_of_a_line_counts_for_nothing():
    net, x = model(LINES), words("ab", "", "cccc")
    nats = net.log_probs(x)
    assert (nats[0, 3:] == 0).all()
    assert (nats[1, 1:] == 0).all()
    assert (nats[2] < 0).all()
    loss = net.loss(Batch(x), turn())
    assert_close(loss.minimise, -nats.sum() / (3 + 1 + 5))
    assert_close(loss.show[FIGURE], loss.minimise)
    changed = x.clone()
    changed[0, 3:] = 2
    assert_close(net.log_prob(changed), net.log_prob(x))


def test_the_loss_is_the_mean_of_what_is_scored():
    net, x = model(), some()
    assert_close(net.loss(Batch(x), turn()).minimise, -net.log_prob(x).mean() / 8)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 12, 13, 14, 40, 300])
def test_long_texts_are_scored_as_they_would_be_written(length):
    net, x = model(), some(rows=2, length=length)
    one_by_one = [net.next_distribution(x[:, :k]).gather(1, x[:, k : k + 1])[:, 0] for k in range(length)]
    assert_close(net.log_probs(x), torch.stack(one_by_one, 1))
    assert_close(net.log_prob(x), net.log_probs(x).sum(1))


def test_beyond_the_context_each_character_has_at_least_half_of_it_before_it():
    net, x = model(), some(rows=1, length=40)
    for k in range(9, 40):
        near = x.clone()
        near[:, k - 5] = (near[:, k - 5] + 1) % 5
        assert not torch.isclose(net.next_distribution(near[:, :k]), net.next_distribution(x[:, :k])).all()
        far = x.clone()
        far[:, : k - 8] = (far[:, : k - 8] + 1) % 5
        assert torch.equal(net.next_distribution(far[:, :k]), net.next_distribution(x[:, :k])), "the context is all"


@pytest.mark.parametrize("space", [PLAIN, LINES])
def test_distributions_add_up_to_one(space):
    net = model(space)
    for n in range(space.size):
        p = net.next_distribution(some(space)[:, :n]).exp()
        assert p.shape == (3, len(space.alphabet))
        assert_close(p.sum(1), torch.ones(3).double())
    if space is LINES:
        assert net.next_distribution(words("a", "ab")[:, :3]).exp().tolist()[0] == [1, 0, 0, 0], "an end stays one"


def test_attention_is_causal():
    weights = model().attention(some())
    assert weights.shape == (3, 2, 2, 9, 9)
    assert_close(weights.sum(-1), torch.ones(3, 2, 2, 9).double())
    assert not weights.triu(1).any()


# ---- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 8, 9, 30])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_a_cache_changes_no_character(length, kind):
    net = model().to(kind)
    with_cache = last(net.sample(Noise(range(4)), length=length))
    net.cached = False
    assert torch.equal(last(net.sample(Noise(range(4)), length=length)), with_cache)


def test_text_grows_by_a_character_a_frame():
    frames = list(model().sample(Noise([5, 6]), length=12))
    assert [frame.x.shape for frame in frames] == [(2, n) for n in range(13)]
    assert [frame.step for frame in frames] == [frame.calls for frame in frames] == list(range(13))
    for frame in frames:
        assert frame.total == 12
        assert torch.equal(frame.x, frames[-1].x[:, : frame.step]), "what is written stays"


def test_a_row_is_what_it_is_alone():
    for space in (PLAIN, LINES):
        chosen = {"length": 20} if space is PLAIN else {}
        together = last(model(space).sample(Noise(range(4)), **chosen))
        for seed in range(4):
            assert torch.equal(last(model(space).sample(Noise([seed]), **chosen)), together[seed : seed + 1])


def test_a_text_goes_on_from_any_prefix_as_it_would_have():
    net = model()
    whole = last(net.sample(Noise([3, 4]), length=30))
    for n in (0, 1, 8, 9, 13, 29, 30):
        known = (torch.arange(30) < n).expand(2, 30)
        frames = list(net.complete(whole.where(known, torch.zeros_like(whole)), known, Noise([3, 4])))
        assert torch.equal(frames[0].x, whole[:, :n])
        assert torch.equal(frames[-1].x, whole)
        assert frames[-1].calls == 30 - n


def test_what_is_known_stays_in_rows_of_any_length():
    net, x = model(), some(length=12)
    known = torch.arange(12) < torch.tensor([[0], [5], [12]])
    frames = list(net.complete(x, known, Noise([1, 2, 3])))
    assert torch.equal(frames[-1].x[known], x[known])
    alone = last(net.complete(x[1:2], known[1:2], Noise([2])))
    assert torch.equal(frames[-1].x[1:2], alone)
    with pytest.raises(BadInput, match="beginning"):
        next(net.complete(x, ~known, Noise([1, 2, 3])))


def test_lines_end_by_themselves():
    net = model(LINES)
    frames = list(net.sample(Noise(range(20))))
    x = frames[-1].x
    assert x.shape == (20, 5)
    ended = (x == 0).cumsum(1) > 0
    assert not x[ended].any()
    assert ended.any()
    assert not ended.all(), "of many lines some are long"
    assert frames[-1].step == frames[-1].total == 5
    assert "length" not in {name for name, o in options(net.sample, net.limits(LINES, {})).items() if not o.fixed}
    x = words("ab")
    frames = list(net.complete(x, torch.arange(5)[None] < 3, Noise([0])))
    assert torch.equal(frames[-1].x, x), "a line that has ended is written"


def test_samples_have_the_probabilities_that_are_claimed():
    net = model(LINES)
    drawn = last(net.sample(Noise(range(3000))))
    for line in ("", "a", "b"):
        x = words(line)
        share, p = float((drawn == x).all(1).double().mean()), float(net.log_prob(x).detach().exp())
        assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 3000)


def test_temperature_zero_and_top_p_zero_write_what_is_most_probable():
    net = model()
    coldest = last(net.sample(Noise([1, 2]), temperature=0.0, length=20))
    assert torch.equal(coldest[0], coldest[1]), "no chance is left"
    assert torch.equal(last(net.sample(Noise([7, 8]), top_p=0.0, length=20)), coldest)
    assert torch.equal(last(net.sample(Noise([7, 8]), top_k=1, length=20)), coldest)
    best = [net.next_distribution(coldest[:1, :k]).argmax() for k in range(20)]
    assert coldest[0].tolist() == best


def test_an_empty_prompt_is_a_sample():
    net, x = model(), some(rows=2, length=10)
    nothing = torch.zeros(2, 10, dtype=torch.bool)
    assert torch.equal(last(net.complete(x, nothing, Noise([1, 2]))), last(net.sample(Noise([1, 2]), length=10)))


# ---- training ------------------------------------------------------------------------------------------------------


def small(layers: int = 1, dropout: float = 0.0) -> Transformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        space = data.from_text(RHYME, length=32).space
        return Transformer(space, width=32, layers=layers, heads=2, dropout=dropout)


def recipe(steps: int, **values) -> Recipe:
    return Recipe({"training": Stage(steps)}, batch_size=8, lr=1e-2, optimizer="muon", weight_decay=0.1, **values)


def test_a_rhyme_is_learnt_by_heart():
    source = data.from_text(RHYME, length=32)
    run = Training(small(layers=2), source, recipe(150, ema=0.9))
    *_, progress = run
    assert progress.show[FIGURE] < 0.3
    start = data.encoded("Die Katze tritt die Treppe", source.space)
    x = torch.nn.functional.pad(start, (0, 36))[None]
    frames = run.shown.complete(x, torch.arange(62)[None] < len(start), Noise([0]), temperature=0.0)
    assert data.decoded(last(frames)[0], source.space) == RHYME[:62]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_by_muon_goes_on_bit_for_bit(precision):
    source, chosen = data.from_text(RHYME, length=32), recipe(6, ema=0.9, warmup=2, precision=precision)
    whole = Training(small(dropout=0.2), source, chosen, report=0.0)
    list(whole)
    first = Training(small(dropout=0.2), source, chosen, report=0.0)
    for progress in first:
        if progress.step == 3:
            break
    later = Training(small(dropout=0.2), source, chosen, report=0.0)
    later.load_state_dict(first.state_dict())
    list(later)
    for mine, theirs in zip(later.shown.parameters(), whole.shown.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_muon_moves_matrices_of_linear_layers_and_adamw_the_rest():
    run = Training(small(), data.from_text(RHYME, length=32), recipe(3))
    muon, adamw = run._optimizers[""].parts
    matrices = [p for group in muon.param_groups for p in group["params"]]
    assert sorted(p.numel() for p in matrices) == [32 * 32] * 4 + [4 * 32 * 32] * 2
    others = [p for group in adamw.param_groups for p in group["params"]]
    assert len(matrices) + len(others) == len(list(run.model.parameters()))
    before = [p.clone() for p in run.model.parameters()]
    list(run)
    assert all(not torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))


def test_an_old_pytorch_says_that_it_has_no_muon(monkeypatch):
    monkeypatch.delattr(training.torch.optim, "Muon")
    with pytest.raises(BadInput, match=r"Muon needs PyTorch 2\.9"):
        Training(small(), data.from_text(RHYME, length=32), recipe(3))


def test_dropout_is_for_training_alone_and_of_the_turns_generator():
    net, x = model(dropout=0.3), some()
    assert torch.equal(net.loss(Batch(x), turn(1)).minimise, net.loss(Batch(x), turn(2)).minimise)
    net.train()
    assert torch.equal(net.loss(Batch(x), turn(1)).minimise, net.loss(Batch(x), turn(1)).minimise)
    assert not torch.equal(net.loss(Batch(x), turn(1)).minimise, net.loss(Batch(x), turn(2)).minimise)


def test_it_says_what_it_is_for():
    with pytest.raises(BadInput, match="text"):
        Transformer(Space("image", (1, 8, 8)))
    with pytest.raises(BadInput, match="multiple of 10"):
        Transformer(PLAIN, width=16, heads=5)
