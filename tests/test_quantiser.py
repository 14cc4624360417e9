"""Quantisers against what is known: nearest by brute force, averages by hand, every code there and back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gen_models.models.quantiser import DEAD, DECAY, REVIVED, FiniteScalarQuantiser, VectorQuantiser, straight_through

LATTICES = [(4, 4, 4), (8, 4, 4), (8, 5, 5), (3, 2)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=rng(seed))


def learned(codebook: Tensor) -> VectorQuantiser:
    """A quantiser whose codes stand here, all chosen equally often so far."""
    quantiser = VectorQuantiser(*codebook.shape)
    quantiser.codebook.copy_(codebook)
    quantiser.total.copy_(codebook / len(codebook))
    return quantiser


# ---- the learned codebook --------------------------------------------------------------------------------------


def test_the_gradient_goes_straight_through():
    z, weight = normal(6, 4).requires_grad_(), normal(6, 4, seed=1)
    quantiser = learned(normal(5, 4, seed=2))
    q = straight_through(z, quantiser.vectors(quantiser.codes_of(z)))
    assert_close(q, quantiser.vectors(quantiser.codes_of(z)))
    (gradient,) = torch.autograd.grad((q * weight).sum(), z)
    assert torch.equal(gradient, weight), "that of the identity"


def test_a_vector_chooses_the_nearest_code():
    z, quantiser = normal(3, 7, 5, 4), learned(normal(20, 4, seed=1))
    nearest = torch.cdist(z.view(-1, 4), quantiser.codebook).argmin(1).view(3, 7, 5)
    assert torch.equal(quantiser.codes_of(z), nearest)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantiser.codes_of(z), nearest), "in low precision, too"


def test_a_code_chooses_itself():
    quantiser = learned(normal(64, 8))
    codes = torch.arange(64).view(8, 8)
    assert torch.equal(quantiser.codes_of(quantiser.vectors(codes)), codes)


def test_codes_follow_the_vectors_that_chose_them():
    """Two codes, four vectors: three at (2, 0) and one at (0, 2)."""
    quantiser = learned(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    z = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 0.0]])
    quantiser.learn(z, quantiser.codes_of(z), rng())
    assert DECAY == 0.99
    assert_close(quantiser.share, torch.tensor([0.99 * 0.5 + 0.01 * 0.75, 0.99 * 0.5 + 0.01 * 0.25]))
    one = (0.99 * 0.5 * 1 + 0.01 * 0.75 * 2) / (0.99 * 0.5 + 0.01 * 0.75)
    other = (0.99 * 0.5 * 1 + 0.01 * 0.25 * 2) / (0.99 * 0.5 + 0.01 * 0.25)
    assert_close(quantiser.codebook, torch.tensor([[one, 0.0], [0.0, other]]))


def test_a_code_ends_at_the_mean_of_its_vectors():
    z, quantiser = normal(400, 3), learned(torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]]))
    codes = (z[:, 0] > 0).long()
    for _ in range(1500):
        quantiser.learn(z, codes, rng())
    assert_close(quantiser.codebook, torch.stack([z[codes == k].mean(0) for k in (0, 1)]))
    assert_close(quantiser.share.sum(), torch.ones(()))


def test_dead_codes_are_put_onto_vectors_of_the_batch():
    """Code 2 is far from everything: after a while it is used so little that it moves, and no other code does."""
    far = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [90.0, 90.0]])
    quantiser, z = learned(far), torch.cat([normal(50, 2) * 0.1 + far[0], normal(50, 2, seed=1) * 0.1 + far[1]])
    steps = 0
    while quantiser.codebook[2].min() > 80:
        quantiser.learn(z, quantiser.codes_of(z), rng(steps))
        steps += 1
        assert steps < 1000
    assert 0.99**steps < DEAD <= 0.99 ** (steps - 1), "once its share has decayed, not before"
    assert (quantiser.codebook[2] == z).all(1).any()
    assert_close(quantiser.share[2], torch.tensor(REVIVED / 3))
    assert (quantiser.codebook[:2] - far[:2]).abs().max() < 0.1
    assert 2 in quantiser.codes_of(z), "somebody chooses it now"


def test_where_a_dead_code_goes_is_drawn_from_the_given_generator():
    def reset(seed: int) -> Tensor:
        quantiser = learned(normal(4, 2))
        quantiser.share[1] = 0.0
        before = torch.random.get_rng_state()
        quantiser.learn(normal(100, 2, seed=5), torch.zeros(100, dtype=torch.int64), rng(seed))
        assert torch.equal(torch.random.get_rng_state(), before)
        return quantiser.codebook[1]

    assert torch.equal(reset(1), reset(1))
    assert not torch.equal(reset(1), reset(2))


def test_k_means_finds_clusters():
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    z = (centres[:, None] + 0.3 * normal(4, 100, 2)).flatten(0, 1)
    quantiser = VectorQuantiser(12, 2)
    quantiser.begin(z, rng())
    codes = quantiser.codes_of(z)
    used = codes.unique()
    assert len(used) >= 10
    assert_close(quantiser.codebook[used], torch.stack([z[codes == k].mean(0) for k in used]), rtol=0, atol=0.1)
    error = (z - quantiser.vectors(codes)).square().sum(1).mean()
    assert error < 0.7 * 2 * 0.3**2, "codes divide the clusters, whose own variance is 2 x 0.09"


def test_k_means_takes_fewer_vectors_than_codes():
    quantiser = VectorQuantiser(16, 2)
    quantiser.begin(normal(5, 2), rng())
    assert quantiser.codebook.isfinite().all()
    quantiser.learn(z := normal(5, 2), quantiser.codes_of(z), rng())
    assert quantiser.codebook.isfinite().all()


# ---- the lattice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", LATTICES)
def test_every_code_of_a_lattice_comes_back(levels):
    quantiser = FiniteScalarQuantiser(levels)
    codes = torch.arange(quantiser.codes)
    vectors = quantiser.vectors(codes)
    assert vectors.shape == (quantiser.codes, len(levels))
    assert len(vectors.unique(dim=0)) == quantiser.codes
    assert torch.equal(quantiser.codes_of(vectors), codes)
    for i, level in enumerate(levels):
        assert_close(vectors[:, i].unique(), torch.linspace(-1, 1, level))


@pytest.mark.parametrize("levels", LATTICES)
def test_whatever_the_encoder_says_is_rounded_to_the_nearest_point(levels):
    quantiser = FiniteScalarQuantiser(levels)
    z = quantiser.bounded(3 * normal(500, len(levels)))
    lattice = quantiser.vectors(torch.arange(quantiser.codes))
    widths = torch.tensor(levels) - 1.0  # every number is rounded on its own, in steps of 2 / (levels - 1)
    assert torch.equal(quantiser.codes_of(z), torch.cdist(z * widths, lattice * widths).argmin(1))
    extreme = quantiser.bounded(torch.tensor([[-1e4], [1e4]]).expand(2, len(levels)))
    assert quantiser.codes_of(extreme).tolist() == [0, quantiser.codes - 1]


def test_quantisers_hold_nothing_that_an_optimizer_moves():
    for quantiser in (VectorQuantiser(8, 2), FiniteScalarQuantiser((4, 4))):
        assert not list(quantiser.parameters())
        before = {name: value.clone() for name, value in quantiser.named_buffers()}
        quantiser.codes_of(normal(10, 2))
        assert all(torch.equal(value, before[name]) for name, value in quantiser.named_buffers())
