"""Counting as a yardstick: probabilities that add up to one, and that come from the text alone."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gen_models.interface import BadInput
from gen_models.metrics import KneserNey, kneser_ney

TEXT = "she sells sea shells by the sea shore; the shells she sells are sea shells, i am sure. "
ALPHABET = sorted(set(TEXT))


def symbols(text: str) -> Tensor:
    return torch.tensor([ALPHABET.index(c) for c in text], dtype=torch.int64)


def lines(*words: str) -> Tensor:
    """Lines of letters a .. j as 1 .. 10, ended and filled up with 0."""
    width = max(map(len, words)) + 1
    return torch.tensor([[ord(c) - 96 for c in word] + [0] * (width - len(word)) for word in words])


@pytest.mark.parametrize("order", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("context", ["", "s", "she ", "sea she", "qqqqqqqq".replace("q", ";"), "are sea shells, "])
def test_probabilities_add_up_to_one(order, context):
    model = KneserNey(symbols(TEXT), order, len(ALPHABET) + 3)
    p = model.distribution(symbols(context))
    assert_close(p.sum(), torch.ones(()).double())
    assert (p > 0).all(), "what never occurred may occur"


@pytest.mark.parametrize("order", [1, 2, 4])
def test_lines_have_probabilities_that_add_up_to_one(order):
    model = KneserNey(lines("abba", "acdc", "abba", "bab", "c"), order, 11, lines=True)
    for context in ([], [1], [1, 2, 2], [10, 10], [3, 3, 3, 3]):
        assert_close(model.distribution(torch.tensor(context, dtype=torch.int64)).sum(), torch.ones(()).double())


@pytest.mark.parametrize("order", [1, 3, 6])
def test_scores_are_those_of_the_distributions(order):
    held, model = symbols("the sea sells shells; i am she"), KneserNey(symbols(TEXT), order, len(ALPHABET))
    each = [model.distribution(held[:k])[held[k]].log() for k in range(len(held))]
    assert_close(model.log_probs(held), torch.stack(each))
    assert kneser_ney(symbols(TEXT), held, order, len(ALPHABET)) == pytest.approx(-float(torch.stack(each).mean()))


def test_scores_of_lines_are_those_of_the_distributions_with_their_ends():
    model, held = KneserNey(lines("abba", "acdc", "abba", "bab"), 3, 11, lines=True), lines("abc", "b")
    each = [model.distribution(row[:k])[row[k]].log() for row, n in zip(held, (4, 2), strict=True) for k in range(n)]
    assert_close(model.log_probs(held), torch.stack(each))


def test_a_bigram_is_what_the_paper_says():
    """p(w | v) = (c(v w) - D) / c(v) + D N(v .) / c(v) * p(w), p(w) from how many symbols w follows; D one half."""
    text = "abracadabra"
    x = torch.tensor([ord(c) - 97 for c in text])
    model = KneserNey(x, 2, 26)
    pairs = Counter(zip("^" + text, text, strict=False))
    kinds = Counter(w for _, w in pairs)  # how many symbols (or the beginning) w follows
    lower = {w: (kinds[w] - 0.5) / len(pairs) if w in kinds else 0.0 for w in map(chr, range(97, 123))}
    lower = {w: p + 0.5 * len(kinds) / len(pairs) / 26 for w, p in lower.items()}
    seen = sum(n for (v, _), n in pairs.items() if v == "a")
    freed = 0.5 * sum(v == "a" for v, _ in pairs) / seen
    expected = [max(pairs[("a", w)] - 0.5, 0) / seen + freed * lower[w] for w in map(chr, range(97, 123))]
    assert_close(model.distribution(torch.tensor([0])), torch.tensor(expected).double())


def test_it_is_computed_from_the_text():
    other = torch.randint(10, (500,), generator=torch.Generator().manual_seed(0))
    again = symbols(TEXT)
    known = kneser_ney(again, again, 5, len(ALPHABET))
    assert known < 0.5, "what was counted is known by heart"
    assert kneser_ney(other, again, 5, len(ALPHABET)) > math.log(len(ALPHABET)) - 0.1
    assert kneser_ney(again, again, 1, len(ALPHABET)) > known + 1


def test_a_chain_costs_its_entropy():
    """Each symbol is the one before it plus 1 or 2, at random: log 2 nats, whatever the order."""
    rng = torch.Generator().manual_seed(0)
    x = (1 + torch.randint(2, (30_000,), generator=rng)).cumsum(0) % 7
    for order in (2, 3, 4):
        assert kneser_ney(x[:20_000], x[20_000:], order, 7) == pytest.approx(math.log(2), abs=0.01)
    assert kneser_ney(x[:20_000], x[20_000:], 1, 7) == pytest.approx(math.log(7), abs=0.01)


def test_what_follows_the_end_of_a_line_does_not_count():
    short, long = lines("ab", "ba"), torch.nn.functional.pad(lines("ab", "ba"), (0, 5))
    assert kneser_ney(short, short, 3, 11, lines=True) == kneser_ney(long, long, 3, 11, lines=True)
    assert len(KneserNey(short, 3, 11, lines=True).log_probs(long)) == 6


def test_an_alphabet_of_thousands_takes_any_order():
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(6000, (3000,), generator=rng)
    assert math.isfinite(kneser_ney(x[:2000], x[2000:], 12, 6000))


def test_what_cannot_be_counted_says_so():
    with pytest.raises(BadInput, match="from 1 to"):
        KneserNey(symbols(TEXT), 0, 30)
    with pytest.raises(BadInput, match="nothing to count"):
        KneserNey(symbols(""), 3, 30)
