"""Walks pass where they promise, spheres are kept, and a linear decoder's directions are its singular vectors."""

import math

import pytest
import torch
from torch import nn

from gen_models import latent
from gen_models.interface import BadInput


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("path", [latent.lerp, latent.slerp])
def test_both_ends_are_met(path):
    a, b = normal(3, 4, 2), normal(3, 4, 2, seed=1)
    torch.testing.assert_close(path(a, b, 0.0), a)
    torch.testing.assert_close(path(a, b, 1.0), b)


def test_slerp_stays_on_the_sphere_and_turns_evenly():
    a, b = (nn.functional.normalize(normal(1, 16, seed=s).double(), dim=1) * 4 for s in (0, 1))
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    path = latent.slerp(a.expand(9, -1), b.expand(9, -1), t)
    torch.testing.assert_close(path.norm(dim=1), torch.full((9,), 4.0, dtype=torch.float64))
    turns = nn.functional.cosine_similarity(path[1:], path[:-1]).arccos()
    torch.testing.assert_close(turns, turns[:1].expand(8))
    assert (latent.lerp(a, b, 0.5).norm() < 4).all()  # which the straight line does not


def test_slerp_of_a_right_angle_is_known():
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    torch.testing.assert_close(latent.slerp(a, b, 1 / 3), 8 / 3 * torch.tensor([[math.cos(math.pi / 6), 0.5]]))


def test_each_row_has_its_own_angle():
    a, b, t = normal(5, 3, 2), normal(5, 3, 2, seed=1), torch.linspace(0, 1, 5)
    together = latent.slerp(a, b, t)
    for k in range(5):
        torch.testing.assert_close(together[k], latent.slerp(a[k : k + 1], b[k : k + 1], float(t[k]))[0])


@pytest.mark.parametrize("b", ["same", "longer", "opposite", "zero", "close"])
def test_slerp_without_a_great_circle_takes_the_line(b):
    a = normal(1, 8)
    b = {"same": a, "longer": 3 * a, "opposite": -a, "zero": 0 * a, "close": a + 1e-6}[b]
    torch.testing.assert_close(latent.slerp(a, b, 0.25), latent.lerp(a, b, 0.25))


# ---- walks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lerp", "slerp"])
@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize(("count", "frames"), [(2, 2), (2, 30), (3, 10), (5, 5), (4, 61), (8, 59)])
def test_a_walk_passes_exactly_through_its_key_points(how, loop, count, frames):
    points = normal(count, 4, 3)
    path = latent.walk(points, frames, how, loop)
    keys = latent.key_frames(count, frames, loop)
    assert path.shape == (frames, 4, 3)
    assert torch.equal(path[keys], points)
    assert keys[0] == 0
    assert loop or keys[-1] == frames - 1
    gaps = [b - a for a, b in zip(keys, [*keys[1:], frames] if loop else keys[1:], strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_a_loop_closes_without_standing_still():
    points = normal(3, 8)
    path = latent.walk(points, 30, "lerp", loop=True)
    steps = (path - path.roll(1, 0)).norm(dim=1)  # the first entry is the step from the last frame to the first
    sides = (points - points.roll(-1, 0)).norm(dim=1) / 10
    torch.testing.assert_close(steps[0], sides[2])
    torch.testing.assert_close(steps[1:11], sides[:1].expand(10))


def test_frames_between_are_on_the_segment():
    points = normal(3, 6)
    path = latent.walk(points, 9, "lerp")
    torch.testing.assert_close(path[1], 0.75 * points[0] + 0.25 * points[1])
    torch.testing.assert_close(path[6], 0.5 * points[1] + 0.5 * points[2])


@pytest.mark.parametrize(
    ("count", "frames", "how", "words"),
    [(1, 9, "lerp", "two key points"), (0, 9, "lerp", "two"), (4, 3, "lerp", "4 frames"), (2, 5, "cubic", "cubic")],
)
def test_impossible_walks_say_why(count, frames, how, words):
    with pytest.raises(BadInput, match=words):
        latent.walk(normal(count, 2), frames, how)


# ---- principal directions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_a_linear_decoder_gives_its_singular_vectors(shape):
    linear = nn.Linear(6, 20)
    linear.weight.data = normal(20, 6)
    directions, scales = latent.principal_directions(lambda z: linear(z.flatten(1)).view(-1, 1, 4, 5), shape, 6)
    _, strength, vectors = torch.linalg.svd(linear.weight.data, full_matrices=False)
    torch.testing.assert_close(scales, strength, rtol=1e-3, atol=1e-3)
    overlap = (directions.flatten(1) @ vectors.T).abs()
    torch.testing.assert_close(overlap, torch.eye(6), rtol=0, atol=5e-3)
    largest = directions.flatten(1).gather(1, directions.flatten(1).abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_the_mean_is_over_the_prior():
    """x = (sin 2 z1, 0.8 z2): the mean square of dx1/dz1 is 4 E cos^2(2 z) = 2 + 2 exp(-8)."""
    decode = lambda z: torch.stack([(2 * z[:, 0]).sin(), 0.8 * z[:, 1]], 1)  # noqa: E731
    directions, scales = latent.principal_directions(decode, (2,), 2, samples=8000)
    torch.testing.assert_close(directions.abs(), torch.eye(2), rtol=0, atol=0.03)
    torch.testing.assert_close(scales, torch.tensor([math.sqrt(2 + 2 * math.exp(-8)), 0.8]), rtol=0.02, atol=0)


def test_directions_depend_on_the_seed_alone_and_are_orthonormal():
    network = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 9))
    first = latent.principal_directions(network, (5,), 3, seed=4)
    torch.randn(7)
    again = latent.principal_directions(network, (5,), 3, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    torch.testing.assert_close(first[0] @ first[0].T, torch.eye(3))
    assert (first[1].diff() <= 0).all()
    assert not first[0].requires_grad


@pytest.mark.parametrize("n", [0, 6, -1])
def test_more_directions_than_dimensions_are_refused(n):
    with pytest.raises(BadInput, match="5 directions"):
        latent.principal_directions(lambda z: z, (5,), n)
