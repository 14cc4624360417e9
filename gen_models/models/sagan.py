"""A generative adversarial network that attends within its pictures, and its twin of equal size that does not.

Self-Attention Generative Adversarial Networks (Zhang, Goodfellow, Metaxas and Odena, 2018), arXiv 1805.08318.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.interface import AttendsWithin, BadInput, Loss, Range, Space, Turn
from gen_models.models.gan import Game
from gen_models.nn import PlainBlock, bounded, diff_augment, doubled, quartered, spectrally_normalise, zero


class SAGAN(Game, AttendsWithin):
    """Self-attention at a half and a quarter of the side, hinge loss, spectral norm and projection in the judge.

    The hinge loss: Geometric GAN (Lim and Ye, 2017), arXiv 1705.02894. The noise reaches every layer of the generator:
    On Self Modulation for Generative Adversarial Networks (Chen et al., 2019), arXiv 1810.01365. It departs from the
    paper in that: spectral norm is in the discriminator only, and that sees pixels folded into channels, for speed.
    """

    about = r"""
**Objective.** Two players with the hinge loss, where $y$ is the class. The discriminator $D$ minimises
$$\mathbb{E}\max(0, 1 - D(x, y)) + \mathbb{E}\max(0, 1 + D(G(z, y), y)),$$
the generator $G$ minimises $-\mathbb{E}\,D(G(z, y), y)$. A convolution sees the nine places around one. In a layer of
self-attention every place $j$ of a map $h$ looks at all places $i$ and takes what it needs,
$$h_j + \gamma \sum_i \beta_{ji}\, v(h_i), \qquad \beta_{ji} \propto \exp\big(q(h_j) \cdot k(h_i)\big),$$
with $\gamma = 0$ at first: what is near is learnt before what is far.

**Try first.** *Attention*: choose a point of a picture and see where the generator looked while it drew that point.
Then compare the entry whose name ends in *plain*: the same network, with as many parameters in $1 \times 1$
convolutions in place of attention.

**Where it fails.** At $32 \times 32$ attention is not expected to help: in StudioGAN's comparison on CIFAR-10, SAGAN
has an FID of 14.0, and SNGAN, which has no attention, 13.2. The paper's gain is at $128 \times 128$, where convolutions
do not reach across the picture. What these small networks learn in minutes on a processor is the colours and outlines
of a class rather than its details. It has no likelihood, and may drop modes.

**Papers.** SAGAN: Zhang et al. 2018, [arXiv 1805.08318](https://arxiv.org/abs/1805.08318); spectral norm: Miyato et
al. 2018, [arXiv 1802.05957](https://arxiv.org/abs/1802.05957); DiffAugment, for small data: Zhao et al. 2020,
[arXiv 2006.10738](https://arxiv.org/abs/2006.10738); StudioGAN: Kang et al. 2022,
[arXiv 2206.09479](https://arxiv.org/abs/2206.09479).
"""

    def __init__(
        self,
        space: Space,
        *,
        latent_dim: Annotated[int, Range(2, 128)] = 64,
        channels: Annotated[int, Range(8, 128, 8)] = 48,
        attention: bool = True,
        augment: bool = False,
        conditional: bool = False,
    ):
        """`attention=False`: 1x1 convolutions with the same number of parameters; `augment`: DiffAugment."""
        if space.kind != "image":
            raise BadInput(f"SAGAN attends within pictures, so it cannot be trained on {space.kind}.")
        super().__init__(space, conditional=conditional)
        self.attention, self.augment = attention, augment
        classes = len(self.labels)
        generator = Generator(space, latent_dim, classes, channels, attention)
        self._play(latent_dim, generator, Discriminator(space, classes, channels, attention))

    # ---- the game ----------------------------------------------------------------------------------------------

    def judged(self, x: Tensor, turn: Turn) -> Tensor:
        return diff_augment(x, turn.rng) if self.augment else x

    def judge_loss(self, real: Tensor, generated: Tensor, label: Tensor | None, turn: Turn) -> Loss:
        both = self._judge(torch.cat([real, generated]), None if label is None else label.repeat(2, 1))
        on_real, on_generated = both.chunk(2)
        value = F.relu(1 - on_real).mean() + F.relu(1 + on_generated).mean()
        right = 0.5 * ((on_real > 0).float().mean() + (on_generated < 0).float().mean())
        return Loss(value, {"discriminator": value, "discriminator is right": right})

    def generator_loss(self, real: Tensor, generated: Tensor, label: Tensor | None) -> Loss:
        value = -self._judge(generated, label).mean()
        return Loss(value, {"generator": value})

    # ---- what it can do ----------------------------------------------------------------------------------------

    def attention_maps(self, z: Tensor, *, label: Tensor | None = None) -> Mapping[str, Tensor]:
        """By layer of the generator, as "8 x 8": (B, 1, h, w, h, w).

        The class has the ability; a model built with `attention=False` has nothing to show, and gives {}.
        """
        if not self.attention:
            return {}
        _, seen = self.generator.drawn(z, self.label_rows(label, len(z)))
        maps = {}
        for layer, h in zip(self.generator.mixing, seen, strict=True):
            size = h.shape[2:]
            maps[f"{size[0]} x {size[1]}"] = layer.weights(h).view(len(z), 1, *size, *size)
        return maps


# ---- attention, and what stands in its place ----------------------------------------------------------------------


def _tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, HW, C)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _widths(channels: int) -> tuple[int, int]:
    """Channels of queries and keys, an eighth or a little more (multiples of 8 are faster), and of values, a half."""
    return 8 * -(-channels // 64), channels // 2


class SelfAttention(nn.Module):
    """x + gate * what each place gets from all places: (B, C, H, W) -> (B, C, H, W); the gate starts at 0.

    `pooled`: keys and values are means of 2x2 places, a quarter of the cost.
    """

    def __init__(self, channels: int, pooled: bool = False):
        super().__init__()
        narrow, wide = _widths(channels)
        self.pooled = pooled
        self.query = nn.Linear(channels, narrow, bias=False)
        self.key = nn.Linear(channels, narrow, bias=False)
        self.value = nn.Linear(channels, wide, bias=False)
        self.out = nn.Linear(wide, channels, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def _looked_at(self, x: Tensor) -> Tensor:
        """The places that can be looked at: (B, M, C)."""
        return _tokens(F.avg_pool2d(x, 2) if self.pooled else x)

    def weights(self, x: Tensor) -> Tensor:
        """(B, HW, M) float32: where each place looks; rows sum to 1."""
        logits = torch.bmm(self.query(_tokens(x)), self.key(self._looked_at(x)).transpose(1, 2))
        return logits.float().softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        got = self.out(torch.bmm(self.weights(x), self.value(self._looked_at(x))))  # (B, HW, C)
        return x + self.gate * got.view(b, h, w, c).permute(0, 3, 1, 2)


class Pointwise(nn.Module):
    """As many parameters as `SelfAttention` in two 1x1 convolutions: each place gets from itself alone."""

    def __init__(self, channels: int, pooled: bool = False):
        super().__init__()
        hidden = sum(_widths(channels))
        self.widen = nn.Linear(channels, hidden, bias=False)
        self.out = nn.Linear(hidden, channels, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        got = self.out(F.leaky_relu(self.widen(_tokens(x)), 0.2))
        return x + self.gate * got.view(b, h, w, c).permute(0, 3, 1, 2)


# ---- networks -------------------------------------------------------------------------------------------------------


class ConditionalNorm(nn.Module):
    """Batch norm whose scale and shift come from noise and class; in eval mode each picture is on its own.

    Modulating early visual processing by language (de Vries et al., 2017), arXiv 1707.00683.
    """

    def __init__(self, channels: int, condition: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False, momentum=0.02)
        self.film = zero(nn.Linear(condition, 2 * channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(shift, self.norm(x), 1 + scale)


class GrowingBlock(nn.Module):
    """Two normalised 3x3 convolutions with a doubling of the side between them, added to the doubled input."""

    def __init__(self, inputs: int, outputs: int, condition: int):
        super().__init__()
        self.norm1, self.conv1 = ConditionalNorm(inputs, condition), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = ConditionalNorm(outputs, condition), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.conv1(F.relu(self.norm1(x, condition)))
        h, x = (F.interpolate(y, scale_factor=2, mode="nearest") for y in (h, self.skip(x)))
        return x + self.conv2(F.relu(self.norm2(h, condition)))


class Generator(nn.Module):
    """z (B, latent_dim) and label rows -> pictures about [-1, 1], grown from an eighth of their size."""

    def __init__(self, space: Space, latent_dim: int, classes: int, channels: int, attention: bool):
        super().__init__()
        c, condition, mix = channels, latent_dim + classes, SelfAttention if attention else Pointwise
        last = 8 * -(-c // 32)  # full size is dear
        self.quarter = quartered(space)
        self.start = tuple((n + 1) // 2 for n in self.quarter)  # 4 for 7 as for 8: the blocks cut what is too much
        self.project = nn.Linear(condition, 2 * c * self.start[0] * self.start[1])
        self.coarse, self.fine = GrowingBlock(2 * c, 2 * c, condition), GrowingBlock(2 * c, c, condition)
        self.mixing = nn.ModuleList([mix(2 * c), mix(c)])
        self.norm = ConditionalNorm(c, condition)
        self.narrow = nn.Conv2d(c, last, 3, padding=1)
        self.smooth, self.head = nn.Conv2d(last, last, 3, padding=1), nn.Conv2d(last, space.shape[0], 3, padding=1)

    def drawn(self, z: Tensor, label: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """The pictures, and the maps that came to each layer of attention."""
        condition = z if label is None else torch.cat([z, label], -1)
        h = self.project(condition).view(len(z), *self.start, -1).permute(0, 3, 1, 2)  # channels last: faster
        seen = [self.coarse(h, condition)[:, :, : self.quarter[0], : self.quarter[1]]]
        seen.append(self.fine(self.mixing[0](seen[0]), condition))
        h = doubled(self.narrow(F.relu(self.norm(self.mixing[1](seen[1]), condition))))
        h = F.leaky_relu(self.smooth(F.leaky_relu(h, 0.2)), 0.2)
        return bounded(self.head(h)), seen

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.drawn(z, label)[0]


class Discriminator(nn.Module):
    """Pictures and label rows -> (B,) scores."""

    def __init__(self, space: Space, classes: int, channels: int, attention: bool):
        super().__init__()
        c, mix, (high, wide) = channels, SelfAttention if attention else Pointwise, quartered(space)
        self.stem = nn.Conv2d(4 * space.shape[0], c, 3, padding=1)
        self.blocks = nn.ModuleList([PlainBlock(c, c), PlainBlock(c, 2 * c), PlainBlock(2 * c, 2 * c)])
        self.mixing = nn.ModuleList([mix(c, pooled=True), mix(2 * c)])
        self.features = nn.Linear(2 * c * (high // 2) * (wide // 2), 4 * c)
        self.score = nn.Linear(4 * c, 1)
        self.label = nn.Linear(classes, 4 * c, bias=False) if classes else None
        spectrally_normalise(self)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        h = self.stem(F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last))
        h = self.mixing[0](self.blocks[0](h))
        h = self.mixing[1](self.blocks[1](F.avg_pool2d(h, 2)))
        h = self.blocks[2](F.avg_pool2d(h, 2))
        h = F.leaky_relu(self.features(F.leaky_relu(h, 0.2).flatten(1)), 0.2)  # (B, 4 C)
        score = self.score(h).squeeze(-1)
        score = score if self.label is None else score + (self.label(label) * h).sum(-1)
        return score.float()
