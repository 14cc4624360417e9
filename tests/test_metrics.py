"""Measures agree with closed forms and other libraries, know what identical and copied sets look like, and state their
errors truthfully."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from gen_models import metrics
from gen_models.interface import BadInput


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uneven(n: int, dims: int, seed: int = 0) -> torch.Tensor:
    """Rows as a judge gives them: none below 0, of unequal scales, correlated."""
    return (normal(n, dims, seed=seed) @ normal(dims, dims, seed=99) + torch.arange(dims) / dims).relu()


# ---- Fréchet distance -----------------------------------------------------------------------------------------


def test_frechet_agrees_with_a_matrix_square_root():
    a, b = uneven(200, 12), uneven(150, 12, seed=1) * 1.3 + 0.2
    cov_a, cov_b = (np.cov(x.double().numpy(), rowvar=False) for x in (a, b))
    shift = (a.double().mean(0) - b.double().mean(0)).square().sum().item()
    expected = shift + np.trace(cov_a + cov_b - 2 * scipy.linalg.sqrtm(cov_a @ cov_b).real)
    assert metrics.frechet(a, b) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_moved_and_scaled_rows_is_known():
    """b = 2a + m has the root of its covariance doubled: the distance is |mu + m|^2 + tr S."""
    a, move = normal(500, 6).double(), torch.arange(6.0).double()
    expected = (a.mean(0) + move).square().sum() + torch.cov(a.T).trace()
    assert metrics.frechet(a, 2 * a + move) == pytest.approx(float(expected), rel=1e-10)


def test_frechet_of_one_set_and_of_flat_rows_is_zero():
    a = normal(100, 5)
    flat = torch.cat([a, a[:, :2]], 1)  # singular, as the features of a collapsed model are
    assert metrics.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert metrics.frechet(flat, flat.flip(0)) == pytest.approx(0, abs=1e-6)


def test_frechet_of_one_distribution_is_the_known_bias():
    """RECIPES' measurement in small: unit variance, d = 64 and N = 2000 give about 1.1."""
    assert metrics.frechet(normal(2000, 64), normal(2000, 64, seed=1)) == pytest.approx(1.14, abs=0.1)


def test_frechet_refuses_singular_covariances_and_says_how_many_samples_it_takes():
    with pytest.raises(BadInput, match=r"smaller than the feature dimension.*at least 9"):
        metrics.frechet(normal(100, 8), normal(8, 8))
    assert metrics.frechet(normal(9, 8), normal(9, 8, seed=1)) > 0


# ---- kernel and energy distance -------------------------------------------------------------------------------


def u_statistic(own_a: np.ndarray, own_b: np.ndarray, across: np.ndarray) -> float:
    means = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (own_a, own_b)]
    return sum(means) - 2 * across.mean()


def test_kernel_distance_agrees_with_the_formula_over_all_pairs():
    """Halves of the sets, many times, average to the statistic of the whole."""
    a, b = uneven(60, 7), uneven(60, 7, seed=1) * 1.2
    kernel = lambda x, y: (x.double().numpy() @ y.double().numpy().T / 7 + 1) ** 3  # noqa: E731
    expected = u_statistic(kernel(a, a), kernel(b, b), kernel(a, b))
    value, error = metrics.kernel_distance(a, b, blocks=2000)
    assert value == pytest.approx(expected, abs=0.05 * error)


def test_energy_distance_agrees_with_the_formula_over_all_pairs():
    a, b = normal(60, 2), normal(60, 2, seed=1) * 2
    own_a, own_b, across = (pairwise_distances(x, y) for x, y in ((a, a), (b, b), (a, b)))
    value, error = metrics.energy_distance(a, b, blocks=2000)
    assert value == pytest.approx(-u_statistic(own_a, own_b, across), abs=0.05 * error)


def test_energy_distance_of_two_far_points_is_twice_their_distance():
    a, b = torch.zeros(10, 2), torch.tensor([3.0, 4.0]).expand(20, 2)
    assert metrics.energy_distance(a, b) == (pytest.approx(10), pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize("sizes", [(300, 300, 30), (300, 300, 1000), (300, 600, 75)])
@pytest.mark.parametrize("stretch", [1.0, 1.3])
@pytest.mark.parametrize(("measure", "dims"), [(metrics.kernel_distance, 8), (metrics.energy_distance, 2)])
def test_the_stated_error_is_the_spread_over_fresh_draws(measure, dims, stretch, sizes):
    n, m, size = sizes
    draws = [(normal(n, dims, seed=k).relu(), normal(m, dims, seed=1000 + k).relu() * stretch) for k in range(60)]
    found = torch.tensor([measure(a, b, size=size, blocks=20, seed=k) for k, (a, b) in enumerate(draws)])
    spread, stated = float(found[:, 0].std()), float(found[:, 1].square().mean().sqrt())
    assert 1 / 1.5 < stated / spread < 1.7
    if stretch == 1:  # unbiased
        assert abs(float(found[:, 0].mean())) < 3 * spread / math.sqrt(60)
        assert float((found[:, 0].abs() < 3 * found[:, 1]).double().mean()) > 0.95
    else:
        assert float(found[:, 0].mean()) > 3 * spread / math.sqrt(60)


@pytest.mark.parametrize("measure", [metrics.kernel_distance, metrics.energy_distance])
def test_subsets_depend_on_the_seed_alone(measure):
    a, b = normal(90, 2), normal(90, 2, seed=1)
    first = measure(a, b, size=10, seed=3)
    torch.randn(5)
    assert measure(a, b, size=10, seed=3) == first
    assert measure(a, b, size=10, seed=4) != first


def test_the_smallest_sets_have_an_error_and_smaller_ones_are_refused():
    value, error = metrics.kernel_distance(normal(4, 3), normal(4, 3, seed=1))
    assert math.isfinite(value)
    assert error > 0
    few = metrics.kernel_distance(normal(60, 3), normal(60, 3, seed=1), blocks=2, size=3)
    assert few == metrics.kernel_distance(normal(60, 3), normal(60, 3, seed=1), blocks=40, size=3)  # each row twice
    with pytest.raises(BadInput, match="at least 4"):
        metrics.kernel_distance(normal(3, 3), normal(50, 3))


# ---- neighbours -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m", "dims", "k"), [(700, 500, 6, 5), (40, 90, 2, 1), (6, 3, 4, 5)])
def test_density_and_coverage_agree_with_brute_force(n, m, dims, k):
    real, fake = uneven(n, dims).double() + 50, uneven(m, dims, seed=1).double() * 1.1 + 50
    radii = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(real).kneighbors(real)[0][:, -1]
    inside = scipy.spatial.distance.cdist(real, fake) < radii[:, None]
    density, coverage = metrics.density_coverage(real, fake, k=k)
    assert density == pytest.approx(inside.sum() / (k * m))
    assert coverage == pytest.approx(inside.any(1).mean())


def test_one_distribution_has_density_one_and_the_coverage_of_the_paper():
    """The k nearest of N - 1 real and N fake rows are all real with the probability below; then a ball is empty."""
    n, k = 2000, 5
    expected = 1 - math.prod((n - 1 - i) / (2 * n - 1 - i) for i in range(k))
    assert expected == pytest.approx(1 - 2**-k, abs=1e-3)
    found = torch.tensor(
        [metrics.density_coverage(normal(n, 16, seed=s), normal(n, 16, seed=s + 50)) for s in range(4)]
    )
    assert found[:, 0].mean() == pytest.approx(1, abs=0.04)
    assert found[:, 1].mean() == pytest.approx(expected, abs=0.006)


def test_collapse_lowers_coverage_and_noise_lowers_density():
    real = normal(600, 8)
    density, coverage = metrics.density_coverage(real, real[:3].repeat(200, 1) + 1e-3 * normal(600, 8, seed=1))
    assert coverage < 0.1
    assert density > 0.5
    assert metrics.density_coverage(real, normal(600, 8, seed=1) * 20) == (0, 0)


@pytest.mark.parametrize("count", [1, 5, 37, 600])
def test_what_lies_on_the_surface_is_outside(count):
    """Copies of real rows lie on surfaces, where the rounding of a product must not decide."""
    real = uneven(600, 64).double()
    distances = torch.from_numpy(scipy.spatial.distance.cdist(real, real))
    surface = distances.sort(1).values[:, 5:6]  # the first is the row itself
    inside = distances[:, :count] < surface * (1 - 1e-12)
    expected = (float(inside.sum()) / (5 * count), float(inside.any(1).double().mean()))
    assert metrics.density_coverage(real, real[:count]) == pytest.approx(expected)


def test_balls_without_an_inside_hold_nothing():
    same = uneven(1, 8).repeat(30, 1)
    assert metrics.density_coverage(same, same) == (0, 0)


@pytest.mark.parametrize("n", [1, 5])
def test_balls_need_more_rows_than_neighbours(n):
    with pytest.raises(BadInput, match="more than 5"):
        metrics.density_coverage(normal(n, 3), normal(50, 3))


@pytest.mark.parametrize(("dims", "offset"), [(2, 0), (64, 0), (64, 1e4), (800, 3)])
@pytest.mark.parametrize("block", [100, 2048])
def test_nearest_agrees_with_a_search(dims, offset, block):
    x, reference = normal(230, dims).double() * 3 + offset, normal(310, dims, seed=1).double() + offset
    expected = NearestNeighbors(n_neighbors=1, algorithm="brute", metric="l2").fit(reference - offset)
    distances = torch.from_numpy(expected.kneighbors(x - offset)[0][:, 0])
    torch.testing.assert_close(metrics.nearest(x, reference, block=block), distances, rtol=1e-9, atol=1e-9)


def test_nearest_does_not_lose_what_float32_cannot_tell_apart():
    """Rows closer together than the rounding of their products: distances still come out to the last digits."""
    middle = normal(1, 256).double() * 100
    away = torch.logspace(-9, -2, 60, dtype=torch.float64)
    steps = torch.nn.functional.normalize(normal(60, 256).double())
    reference = torch.cat([middle + away[:, None] * steps, normal(200, 256, seed=1).double() * 100])
    reference = reference[torch.randperm(len(reference), generator=torch.Generator().manual_seed(0))]
    expected = (reference - middle).norm(dim=1).min()
    torch.testing.assert_close(metrics.nearest(middle, reference)[0], expected, rtol=0, atol=0)
    assert (metrics.nearest(reference, reference.clone(), block=64) == 0).all()
    far = middle * torch.logspace(2, 6, 40).double()[:, None]
    direct = (far[:, None] - reference).norm(dim=2).amin(1)
    torch.testing.assert_close(metrics.nearest(far, reference), direct, rtol=1e-14, atol=0)


def test_nearest_bears_rows_at_any_distance():
    reference = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1e-3]])
    x = torch.tensor([[1e25, 0.0], [3.0, 0.0], [0.0, 2e-3]])
    expected = torch.tensor([1e25, 2.0, 1e-3], dtype=torch.float64)
    torch.testing.assert_close(metrics.nearest(x, reference), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(metrics.nearest(x[1:], reference[:1].repeat(4, 1)), torch.tensor([3.0, 2e-3]).double())


def test_a_copycat_is_nearer_to_train_and_a_fresh_sample_is_not():
    train, held = normal(800, 16, seed=1), normal(800, 16, seed=2)
    assert metrics.nearer(train.flip(0), train, held).tolist() == [1.0] * 800
    assert metrics.nearer(held, train, held).tolist() == [0.0] * 800
    fresh = metrics.nearer(normal(2000, 16), train, held)
    assert float(fresh.mean()) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(2000))


def test_a_row_that_both_sets_hold_is_a_tie():
    train, held = normal(50, 6, seed=1), normal(50, 6, seed=2)
    both = normal(3, 6)
    x = torch.cat([both, both + 1e-4, train[:1]])
    found = metrics.nearer(x, torch.cat([both, train]), torch.cat([held, both]))
    assert found.tolist() == [0.5] * 6 + [1.0]


def test_unequal_sets_are_refused():
    with pytest.raises(BadInput, match="equally many"):
        metrics.nearer(normal(5, 2), normal(10, 2), normal(9, 2))


def test_copies_are_exact_to_the_byte():
    pictures = torch.randint(0, 256, (300, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    x = pictures[100:110].clone()
    x[3, 2, 7, 7] ^= 1
    x[5] = x[5].transpose(1, 2).clone()  # the same bytes at other places
    assert metrics.copies(x, pictures).tolist() == [k not in (3, 5) for k in range(10)]
    assert metrics.copies(pictures.transpose(2, 3)[:2], pictures.transpose(2, 3)).all()  # not contiguous
    assert metrics.copies(x[:0], pictures).tolist() == []


def test_copies_are_looked_for_among_bytes_of_one_shape():
    bytes_ = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(BadInput, match="uint8"):
        metrics.copies(bytes_.float(), bytes_)
    with pytest.raises(BadInput, match="shape"):
        metrics.copies(bytes_, bytes_.flatten(1))


# ---- counts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(980, 1000, 0.969, 0.987), (9800, 10000, 0.977, 0.983), (5, 10, 0.237, 0.763)]
)
def test_wilson_gives_known_intervals(successes, n, low, high):
    assert metrics.wilson(successes, n) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))
    mirrored = metrics.wilson(n - successes, n)
    assert mirrored == pytest.approx(tuple(1 - x for x in reversed(metrics.wilson(successes, n))))


def test_wilson_ends_where_shares_end():
    z = 1.96
    assert metrics.wilson(0, 100) == (0.0, pytest.approx(z * z / (100 + z * z)))
    assert metrics.wilson(100, 100) == (pytest.approx(100 / (100 + z * z)), 1.0)
    assert metrics.wilson(50.5, 100)[0] > metrics.wilson(50, 100)[0]  # a tie counts half


def test_wilson_holds_the_truth_as_often_as_it_says():
    hits = np.random.default_rng(0).binomial(200, 0.97, 4000)
    inside = [low <= 0.97 <= high for low, high in (metrics.wilson(int(k), 200) for k in hits)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 10), (11, 10)])
def test_wilson_refuses_what_is_no_share(successes, n):
    with pytest.raises(BadInput):
        metrics.wilson(successes, n)


def test_modes_and_their_divergence_are_known():
    assert metrics.modes_and_kl(torch.arange(50).repeat(3), 50) == (50, 0.0)
    assert metrics.modes_and_kl(torch.full((20,), 7), 50) == (1, pytest.approx(math.log(50)))
    assert metrics.modes_and_kl(torch.tensor([0, 0, 0, 3]), 4) == (
        2,
        pytest.approx(math.log(4) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)),
    )


def test_perfect_sampling_has_the_divergence_that_is_documented():
    rng = torch.Generator().manual_seed(0)
    found = [metrics.modes_and_kl(torch.randint(0, 1000, (26000,), generator=rng), 1000) for _ in range(10)]
    assert {modes for modes, _ in found} == {1000}
    assert np.mean([kl for _, kl in found]) == pytest.approx(999 / 52000, rel=0.05)


@pytest.mark.parametrize("codes", [torch.tensor([0, 4]), torch.tensor([-1, 2]), torch.tensor([], dtype=torch.int64)])
def test_codes_that_are_no_modes_are_refused(codes):
    with pytest.raises(BadInput):
        metrics.modes_and_kl(codes, 4)


def test_the_error_of_a_mean_is_its_spread():
    assert metrics.mean_error(torch.tensor([1.0, 3.0])) == (2.0, 1.0)
    stated = metrics.mean_error(normal(400) * 3 + 1e6)[1]
    means = torch.stack([(normal(400, seed=s) * 3).mean() for s in range(300)])
    assert stated == pytest.approx(float(means.std()), rel=0.2)
    for values in (torch.ones(1), torch.tensor([0.0, -math.inf])):
        with pytest.raises(BadInput):
            metrics.mean_error(values)


def test_uniform_bytes_cost_eight_bits():
    dims = 784
    density = dims * math.log(
        metrics.LEVELS / 256
    )  # of the cube that the 256 cells of every byte fill, in [-1, 1]'s units
    assert metrics.bits_per_dim(-density, dims, metrics.LEVELS) == pytest.approx(8, rel=1e-12)
    assert metrics.bits_per_dim(dims * math.log(256), dims, 1) == pytest.approx(8, rel=1e-12)  # a probability
    assert metrics.bits_per_dim(-density + 1, dims, metrics.LEVELS) > 8  # a less likely example costs more


def test_bits_do_not_depend_on_the_unit_of_x():
    """One density of dequantised bytes, written per level and per unit of [-1, 1], for a tensor of examples."""
    levels = 128 + 20 * normal(50, 9).double()
    per_level = torch.distributions.Normal(torch.tensor(128.0).double(), 20.0).log_prob(levels).sum(1)
    per_unit = torch.distributions.Normal(128 / 127.5 - 1, 20 / 127.5).log_prob(levels / 127.5 - 1).sum(1)
    bits = metrics.bits_per_dim(-per_unit, 9, metrics.LEVELS)
    torch.testing.assert_close(bits, metrics.bits_per_dim(-per_level, 9, 1))
    with pytest.raises(BadInput):
        metrics.bits_per_dim(bits, 0, 1)


# ---- what every measure refuses -------------------------------------------------------------------------------

TWO_SETS = [
    metrics.frechet,
    metrics.kernel_distance,
    metrics.energy_distance,
    metrics.density_coverage,
    metrics.nearest,
    lambda a, b: metrics.nearer(a, b, b),
]


@pytest.mark.parametrize("measure", TWO_SETS)
def test_sets_that_cannot_be_compared_are_refused(measure):
    a = normal(30, 3)
    broken = a.clone()
    broken[7, 1] = math.nan
    for b, words in [(normal(30, 4), "width: 3 and 4"), (broken, "diverged"), (a[:0], "0 samples"), (a[:, 0], "shape")]:
        with pytest.raises(BadInput, match=words):
            measure(a, b)


@pytest.mark.parametrize("measure", TWO_SETS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_type_and_any_shape_of_rows_will_do(measure, dtype):
    a, b = (normal(40, 2, 3, seed=s).to(dtype).requires_grad_() for s in (0, 1))
    found, expected = (
        measure(x, y) for x, y in ((a, b), (a.detach().double().flatten(1), b.detach().double().flatten(1)))
    )
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected))
