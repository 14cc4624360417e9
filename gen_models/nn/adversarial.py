"""What the games of generator and discriminator share: blocks without normalisation, spectral norm, DiffAugment."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from gen_models.nn.blocks import zero


class PlainBlock(nn.Module):
    """Two 3x3 convolutions without normalisation, added to their input; the second starts at 0 (Fixup).

    Fixup Initialization: Residual Learning Without Normalization (Zhang, Dauphin and Ma, 2019), arXiv 1901.09321.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2))


def doubled(x: Tensor) -> Tensor:
    """Twice the height and width, smoothly: learnt up-sampling leaves a chequered pattern."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def bounded(x: Tensor) -> Tensor:
    """x within [-1, 1] and a tenth of what lies beyond: a tanh would leave early all-black pictures no gradient."""
    return x.clamp(-1, 1) + 0.1 * (x - x.clamp(-1, 1))


def spectrally_normalise(module: nn.Module) -> None:
    """Spectral norm on every weight; a branch that starts at 0 has no norm to divide by, so it starts small instead.

    Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018), arXiv 1802.05957.
    """
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if not layer.weight.any():
                nn.init.xavier_uniform_(layer.weight)
            spectral_norm(layer)


# ---- DiffAugment ---------------------------------------------------------------------------------------------------


def diff_augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """Colour, translation and cutout, drawn anew for each picture (B, C, H, W); differentiable in x.

    Differentiable Augmentation for Data-Efficient GAN Training (Zhao et al., 2020), arXiv 2006.10738.
    """
    return cut_out(translated(recoloured(x, rng), rng), rng)


def _uniform(x: Tensor, rng: torch.Generator) -> Tensor:
    """A number in [0, 1) for each picture: (B, 1, 1, 1)."""
    return torch.rand(len(x), 1, 1, 1, generator=rng).to(x.device)


def recoloured(x: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness moved by up to a half, saturation times 0 to 2, contrast times 0.5 to 1.5."""
    x = x + _uniform(x, rng) - 0.5
    grey = x.mean(1, keepdim=True)
    x = grey + 2 * _uniform(x, rng) * (x - grey)
    middle = x.mean((1, 2, 3), keepdim=True)
    return middle + (0.5 + _uniform(x, rng)) * (x - middle)


def translated(x: Tensor, rng: torch.Generator, ratio: float = 0.125) -> Tensor:
    """Moved by up to `ratio` of the side, each way; what comes in from outside is 0."""
    b, c, h, w = x.shape
    for dim, side in ((2, h), (3, w)):
        most = int(ratio * side + 0.5)
        shift = torch.randint(2 * most + 1, (b, 1, 1, 1), generator=rng)
        line = torch.arange(side).view(side, 1) if dim == 2 else torch.arange(side)
        rows = (line + shift).expand(b, c, h, w).to(x.device)
        x = F.pad(x, (0, 0, most, most) if dim == 2 else (most, most)).gather(dim, rows)
    return x


def cut_out(x: Tensor, rng: torch.Generator, ratio: float = 0.5) -> Tensor:
    """A square of `ratio` of the side set to 0, its middle anywhere in the picture."""
    inside = torch.ones(1, dtype=torch.bool, device=x.device)
    for dim, side in ((2, x.shape[2]), (3, x.shape[3])):
        size = int(ratio * side + 0.5)
        first = torch.randint(side + 1 - size % 2, (len(x), 1), generator=rng).to(x.device) - size // 2
        line = torch.arange(side, device=x.device)
        within = (line >= first) & (line < first + size)  # (B, side)
        inside = inside & (within[:, None, :, None] if dim == 2 else within[:, None, None, :])
    return x * ~inside
