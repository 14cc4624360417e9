"""Noise: sample k depends on seed k alone, agrees with torch, and has the distribution that it claims."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from gen_models.noise import SEEDS, Noise, mixed


def test_the_first_draw_is_torchs_own():
    torch_draw = torch.randn(3, 4, generator=torch.Generator().manual_seed(7))
    assert torch.equal(Noise([3, 7]).normal(3, 4)[1], torch_draw)
    assert torch.equal(Noise([7]).uniform(5)[0], torch.rand(5, generator=torch.Generator().manual_seed(7)))


def test_a_stream_does_not_depend_on_its_company():
    together, alone = Noise([5, 6, 7]), Noise([7])
    for _ in range(3):
        assert torch.equal(together.normal(4)[2], alone.normal(4)[0])
    assert torch.equal(together.at(9).uniform(2)[2], alone.at(9).uniform(2)[0])


def test_draws_follow_each_other_and_steps_do_not():
    noise = Noise([0, 1])
    later = noise.at(3).normal(8)
    first, second = noise.normal(8), noise.normal(8)
    assert not torch.equal(first, second)
    assert torch.equal(noise.at(3).normal(8), later), "a step's noise ignores what was drawn before"
    assert not torch.equal(noise.at(4).normal(8), later)
    assert not torch.equal(first[0], first[1])


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    noise = Noise(range(4))
    noise.normal(2), noise.uniform(2), noise.choice(torch.ones(4, 3)), noise.at(1).normal(2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_samples_are_an_empty_batch():
    assert len(Noise([])) == 0
    assert Noise([]).normal(2, 3).shape == (0, 2, 3)


def test_normal_and_uniform_have_their_moments():
    x, u = Noise(range(20)).normal(5000), Noise(range(20)).uniform(5000)
    n = x.numel()
    assert x.mean().abs() < 4 / n**0.5
    assert (x.var() - 1).abs() < 4 * (2 / n) ** 0.5
    assert (u.mean() - 0.5).abs() < 4 * (1 / 12 / n) ** 0.5
    assert 0 <= u.min() < u.max() < 1


def test_streams_of_neighbouring_seeds_and_steps_are_uncorrelated():
    noise = Noise(range(8))
    rows = torch.cat([stream.normal(5000) for stream in (noise, noise.at(0), noise.at(1))])
    correlation = torch.corrcoef(rows) - torch.eye(24)
    assert correlation.abs().max() < 5 / 5000**0.5


def test_choice_follows_the_probabilities():
    p = torch.tensor([0.1, 0.0, 0.6, 0.3])
    drawn = Noise(range(10)).choice(p.expand(10, 2000, 4))
    share = torch.bincount(drawn.flatten(), minlength=4) / drawn.numel()
    assert drawn.shape == (10, 2000)
    assert share[1] == 0, "what has no probability is never drawn"
    assert_close(share, p, rtol=0, atol=4 * 0.5 / drawn.numel() ** 0.5)


def test_choice_takes_weights_that_do_not_sum_to_one():
    p = torch.tensor([0.1, 0.0, 0.6, 0.3]).expand(10, 200, 4)
    for scale in (0.01, 8.0):
        assert torch.equal(Noise(range(10)).choice(scale * p), Noise(range(10)).choice(p))


def test_mixed_seeds_are_63_bits_apart_and_the_same_in_every_process():
    seeds = {mixed(a, b) for a in range(100) for b in range(100)}
    assert len(seeds) == 10_000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mixed(1, 23) != mixed(12, 3), "where one part ends matters"
    words = "from gen_models.noise import mixed; print(mixed(5, 'step', 7))"
    other = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert int(other.stdout) == mixed(5, "step", 7)


@pytest.mark.parametrize("seed", [0, SEEDS - 1])
def test_the_ends_of_the_range_of_seeds_work(seed):
    assert Noise([seed]).normal(3).isfinite().all()
