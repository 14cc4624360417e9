"""Structural similarity against an independent implementation, and against what is known of it."""

from __future__ import annotations

import sys

import pytest
import torch
from skimage.metrics import structural_similarity
from torch.testing import assert_close

from gen_models.interface import BadInput
from gen_models.metrics import ssim


def pair(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth pictures in [0, 1] and noisy versions of them."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.nn.functional.avg_pool2d(torch.randn(*shape, generator=rng), 3, 1, 1).sigmoid()
    return x, (x + 0.15 * torch.randn(*shape, generator=rng)).clamp(0, 1)


@pytest.mark.parametrize("shape", [(4, 1, 28, 28), (3, 3, 32, 20), (2, 3, 11, 11)])
def test_the_values_are_those_of_scikit_image(shape):
    x, y = pair(*shape)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = [
        structural_similarity(a.double().numpy(), b.double().numpy(), channel_axis=0, **options)
        for a, b in zip(x, y, strict=True)
    ]
    assert_close(ssim(x, y), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_equal_pictures_score_one_and_order_does_not_matter():
    x, y = pair(3, 3, 16, 16)
    assert_close(ssim(x, x), torch.ones(3, dtype=torch.float64))
    assert_close(ssim(x, y), ssim(y, x))
    assert (ssim(x, y) < 0.9).all()


def test_a_flat_picture_against_another_is_worked_out_by_hand():
    """Without structure only the light is compared: (2 ab + c1) / (a^2 + b^2 + c1), c1 = 0.01^2."""
    x, y = torch.full((1, 1, 12, 12), 0.5), torch.full((1, 1, 12, 12), 0.25)
    expected = (2 * 0.5 * 0.25 + 0.0001) / (0.25 + 0.0625 + 0.0001)
    assert_close(ssim(x, y), torch.tensor([expected], dtype=torch.float64))


def test_the_span_is_the_distance_from_black_to_white():
    x, y = pair(2, 1, 16, 16)
    assert_close(ssim(255 * x, 255 * y, span=255.0), ssim(x, y))


def test_many_pictures_are_taken_in_parts(monkeypatch):
    x, y = pair(5, 3, 12, 12)
    whole = ssim(x, y)
    monkeypatch.setattr(sys.modules[ssim.__module__], "_AT_ONCE", 2 * 3 * 12 * 12)
    assert_close(ssim(x, y), whole)


def test_what_cannot_be_compared_is_named():
    x, y = pair(2, 3, 16, 16)
    with pytest.raises(BadInput, match=r"pairs of one shape .* got \(2, 3, 16, 16\) and \(1, 3, 16, 16\)"):
        ssim(x, y[:1])
    with pytest.raises(BadInput, match="at least 11 x 11"):
        ssim(x[..., :10], y[..., :10])
    with pytest.raises(BadInput, match="not finite"):
        ssim(x / 0, y)
