"""CycleGAN: two translators learn from two piles of pictures that nobody has paired.

Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (Zhu, Park, Isola and Efros, 2017),
arXiv 1703.10593.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from gen_models.interface import BadInput, Batch, GenerativeModel, Loss, Range, Space, Translates, Turn
from gen_models.nn import quartered, recoloured, zero

_SEEN = 8  # parts of a picture across, as a draw is read off it


class CycleGAN(GenerativeModel, Translates):
    """A generator and a discriminator per domain; what is translated there and back should be what it was.

    Least squares for the game: Least Squares Generative Adversarial Networks (Mao et al., 2017), arXiv 1611.04076.
    Spectral norm in the discriminators (Miyato et al., 2018), arXiv 1802.05957, and the standard deviation over the
    batch: Progressive Growing of GANs (Karras et al., 2018), arXiv 1710.10196. Where the paper has one weight for both
    cycles, `back` is that of B -> A -> B: what B shows and A cannot hold is better forgotten than hidden. `noise` is
    added to what is translated before it goes back, so that little can be hidden in it: Adversarial Self-Defense for
    Cycle-Consistent GANs (Bashkirova, Usman and Saenko, 2019), arXiv 1908.01517.

    `invents` numbers make the way to B invent what A does not show. The cycle B -> A -> B takes them from the picture
    that it starts from, so that it can close without hiding them in A: Augmented CycleGAN (Almahairi et al., 2018),
    arXiv 1802.10151, whose encoder is here a projection on principal directions. While it learns, a share of `lent` of
    the pictures gets an enlarged piece of a real picture of B in place of what was invented. With `disturb`, what was
    translated to B is recoloured before it goes back, and up to so much of the difference of two real pictures lies
    over it: the way back learns what does not matter, as in Domain Randomization for Transferring Deep Neural Networks
    (Tobin et al., 2017), arXiv 1703.06907.

    Without `through`, the cycle teaches the way back alone: no gradient reaches the way there, which then gains nothing
    by hiding anything. Each way learns from what the other one makes of real pictures, as in Phrase-Based & Neural
    Unsupervised Machine Translation (Lample et al., 2018), arXiv 1804.07755. Nothing else ties what is made of a real
    picture to it then, so that a translator to A would in the end rather please a strong discriminator than be true:
    `trust` is the weight of what that one says, 0 for nothing. `close` is the weight of the mean absolute change that a
    translation makes: Learning from Simulated and Unsupervised Images (Shrivastava et al., 2017), arXiv 1612.07828.

    For small sets: with `augment` the discriminators see random pieces of the pictures, as in Differentiable
    Augmentation for Data-Efficient GAN Training (Zhao et al., 2020), arXiv 2006.10738; with `smooth` what the
    generators change is drawn at half the resolution, where no pattern can hide.
    """

    players = ("discriminators", "generators")
    about = r"""
**Objective.** Two piles of pictures, A and B, and no pairs. Generator $G$ redraws A as B, $F$ redraws B as A. A
discriminator per domain tells real from redrawn; what goes there and back should be what it was, and what already lies
in the domain should stay:
$$\min_{G, F}\ \mathbb{E}(D_B(G(a)) - 1)^2 + \mathbb{E}(D_A(F(b)) - 1)^2
+ \lambda\,\mathbb{E}\lVert F(G(a)) - a \rVert_1 + \lambda'\,\mathbb{E}\lVert G(F(b)) - b \rVert_1
+ \text{identity}.$$

**Try first.** Take an emoji there and back and look at the error map. Then add a little noise to the translation before
it goes back: what was hidden in it, too faint to see, is lost. Draw a digit and let a photo be invented around it.

**Where it fails.** Nothing says which picture belongs to which: a cycle may close although both translations are wrong.
Colours and textures change more easily than shapes. Where A shows less than B, one translation has to invent and the
other to forget.

**Papers.** Zhu, Park, Isola and Efros 2017, [arXiv 1703.10593](https://arxiv.org/abs/1703.10593); what it hides: Chu,
Zhmoginov and Sandler 2017, [arXiv 1712.02950](https://arxiv.org/abs/1712.02950).
"""

    def __init__(
        self,
        space: Space,
        *,
        channels: Annotated[int, Range(8, 128, 8)] = 32,
        blocks: Annotated[int, Range(1, 12)] = 4,
        cycle: Annotated[float, Range(0.0, 100.0, 0.1)] = 10.0,
        back: Annotated[float, Range(0.0, 100.0, 0.1)] = 10.0,
        identity: Annotated[float, Range(0.0, 10.0, 0.05)] = 0.5,
        invents: Annotated[int, Range(0, 64)] = 0,
        noise: Annotated[float, Range(0.0, 0.5, 0.01)] = 0.0,
        disturb: Annotated[float, Range(0.0, 2.0, 0.05)] = 0.0,
        lent: Annotated[float, Range(0.0, 1.0, 0.05)] = 0.0,
        through: bool = True,
        trust: Annotated[float, Range(0.0, 1.0, 0.05)] = 1.0,
        close: Annotated[float, Range(0.0, 10.0, 0.1)] = 0.0,
        augment: bool = False,
        smooth: bool = False,
    ):
        """`identity` is a share of the cycle weights, `noise` a standard deviation in pictures of [-1, 1]."""
        super().__init__(space)
        if space.kind != "image" or len(space.domains) != 2:
            raise BadInput("CycleGAN needs pictures of two domains; choose such data, or two folders.")
        quartered(space)
        self.weights, self.identity = {"A": cycle, "B": back}, identity
        self.noise, self.disturb, self.lent, self.through = noise, disturb, lent, through
        self.trust, self.close, self.augment = {"A": trust, "B": 1.0}, close, augment
        self.discriminators = nn.ModuleDict({domain: Discriminator(space, channels) for domain in "AB"})
        self.generators = nn.ModuleDict(
            {
                "A": Generator(space, channels, blocks, smooth=smooth),
                "B": Generator(space, channels, blocks, invents, smooth=smooth),
            }
        )

    @torch.no_grad()
    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        invention = self.generators["B"].invention
        if invention is not None and batch.other is not None:
            invention.learn(batch.other)

    # ---- the game ----------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        if batch.other is None:
            raise BadInput("CycleGAN needs pictures of two domains; this data has one.")
        real = {"A": batch.x, "B": batch.other}
        of = self._of_discriminators if turn.player == "discriminators" else self._of_generators
        return of(real, turn)

    def _of_discriminators(self, real: dict[str, Tensor], turn: Turn) -> Loss:
        total, show = 0.0, {}
        for domain, judge in self.discriminators.items():
            with torch.no_grad():
                generated = self.generators[domain](real[_OTHER[domain]], self._invented(real, domain, turn.rng))
            # Not in one call: the discriminator compares the pictures of a batch with one another.
            on_real, on_generated = (judge(self._seen(x, turn.rng)) for x in (real[domain], generated))
            value = 0.5 * (((on_real - 1) ** 2).mean() + (on_generated**2).mean())
            show[f"discriminator {domain}"] = value
            total = total + value
        return Loss(total, show)

    def _of_generators(self, real: dict[str, Tensor], turn: Turn) -> Loss:
        there, same = {}, {}  # what is translated to the domain, and what was in it from the start
        for domain, generator in self.generators.items():
            parts, invented = (real[_OTHER[domain]], real[domain]), self._invented(real, domain, turn.rng)
            if invented is not None:
                invented = torch.cat([invented, generator.invention(real[domain])])
            there[domain], same[domain] = generator(torch.cat(parts), invented).split([len(part) for part in parts])
        total, show = 0.0, {}
        for domain, weight in self.weights.items():
            generator = self.generators[domain]
            game = ((self.discriminators[domain](self._seen(there[domain], turn.rng)) - 1) ** 2).mean()
            returned = self._disturbed(there, real, _OTHER[domain], turn.rng)
            returned = returned if self.through else returned.detach()
            back = generator(returned, generator.invention and generator.invention.blurred(real[domain]))
            cycle, identity = (_distance(x, real[domain]) for x in (back, same[domain]))
            change = _distance(there[domain], real[_OTHER[domain]])
            total = total + self.trust[domain] * game + weight * (cycle + self.identity * identity)
            total = total + self.close * change
            show |= {f"generator {domain}": game, f"cycle {domain}": cycle, f"identity {domain}": identity}
        return Loss(total, show)

    def _seen(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """What a discriminator gets to see of the pictures."""
        return pieces(x, rng, 0.75, 1.0, upright=True) if self.augment else x

    def _invented(self, real: dict[str, Tensor], domain: str, rng: torch.Generator) -> Tensor | None:
        """What pictures shall show in `domain` that they do not show yet, read off them or lent; None for nothing."""
        invention = self.generators[domain].invention
        if invention is None or not self.lent:
            return invention and invention(real[_OTHER[domain]])
        x = real[_OTHER[domain]]
        others = real[domain][torch.randint(len(real[domain]), (len(x),), generator=rng)]
        lent = torch.rand(len(x), 1, 1, 1, generator=rng) < self.lent
        return torch.where(lent.to(x.device), pieces(others, rng, 1 / 3, 2 / 3), invention(x))

    def _disturbed(
        self, there: dict[str, Tensor], real: dict[str, Tensor], domain: str, rng: torch.Generator
    ) -> Tensor:
        """What was translated to `domain`, as it is sent back: with noise, and of B with more that must not matter."""
        x = there[domain]
        if self.disturb and domain == "B":
            one, other = (torch.randperm(len(x), generator=rng) % len(real["B"]) for _ in range(2))
            share = self.disturb * torch.rand(len(x), 1, 1, 1, generator=rng).to(x.device)
            x = recoloured(x, rng) + share * (real["B"][one] - real["B"][other])
        if self.noise:
            x = x + self.noise * torch.randn(x.shape, generator=rng).to(x.device)
        return x

    # ---- what it can do ----------------------------------------------------------------------------------------

    def translate(self, x: Tensor, to: Literal["A", "B"]) -> Tensor:
        """(B, C, H, W) of the other domain -> (B, C, H, W) in [-1, 1]; the same picture always gives the same one."""
        return self.generators[to](x).clamp(-1, 1)


def _distance(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs().mean()


_OTHER = {"A": "B", "B": "A"}


# ---- networks ------------------------------------------------------------------------------------------------------


class Generator(nn.Module):
    """Pictures of one domain -> pictures of the other in [-1, 1]: what is there, an invention laid over it, changes."""

    def __init__(self, space: Space, channels: int, blocks: int, invents: int = 0, *, smooth: bool = False):
        super().__init__()
        c, colours, self.smoothly = channels, space.shape[0], smooth
        self.invention = Invention(space, invents) if invents else None
        self.stem = nn.Conv2d(4 * colours * (2 if invents else 1), c, 3, padding=1)
        self.fine = Block(c)
        self.reduce = nn.Conv2d(c, 2 * c, 3, stride=2, padding=1)
        self.middle = nn.Sequential(*(Block(2 * c) for _ in range(blocks)))
        self.enlarge = nn.Conv2d(2 * c, 4 * c, 1)
        self.smooth = nn.Sequential(Block(c), Block(c))
        drawn = (colours + bool(invents)) * (1 if smooth else 4)
        self.norm, self.head = nn.GroupNorm(8, c), zero(nn.Conv2d(c, drawn, 3, padding=1))

    def forward(self, x: Tensor, invented: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> the same; `invented` (B, C, H, W) takes the place of what is read off x."""
        if self.invention is None:
            return bounded(x + self.changes(x))
        invented = self.invention(x) if invented is None else invented
        changes = self.changes(torch.cat([x, invented], 1))
        cover = torch.tanh(changes[:, -1:] + 0.25)  # (B, 1, H, W), below 0 for its negative
        return bounded((1 - cover.abs()) * x + cover * invented + changes[:, :-1])

    def changes(self, x: Tensor) -> Tensor:
        fine = self.fine(self.stem(F.pixel_unshuffle(x, 2)))  # (B, c, H/2, W/2)
        h = self.middle(self.reduce(F.leaky_relu(fine, 0.2)))  # (B, 2c, H/4, W/4)
        h = self.smooth(fine + F.pixel_shuffle(self.enlarge(h), 2))
        h = self.head(F.leaky_relu(self.norm(h), 0.2)).float()
        if self.smoothly:
            return F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False)
        return F.pixel_shuffle(h, 2)


class Invention(nn.Module):
    """A blurred picture of the domain, drawn from numbers that look random, yet are read off the picture at hand.

    The numbers are sines of fixed random projections of the picture's 8 x 8 means: the same picture has the same ones,
    and a small change leaves them much as they were. They are the coordinates along the domain's principal directions.
    """

    def __init__(self, space: Space, numbers: int):
        super().__init__()
        colours, height, width = space.shape
        self.register_buffer("projection", torch.randn(numbers, colours * _SEEN**2))
        self.register_buffer("mean", torch.zeros(colours, height // 2, width // 2))
        self.register_buffer("directions", torch.zeros(numbers, colours, height // 2, width // 2))

    def learn(self, x: Tensor) -> None:
        """Takes the mean and the principal directions, each as long as its standard deviation, of (N, C, H, W)."""
        rows = F.avg_pool2d(x.float(), 2).flatten(1)
        mean = rows.mean(0)
        _, lengths, directions = torch.linalg.svd(rows - mean, full_matrices=False)
        found = (lengths[:, None] / len(x) ** 0.5 * directions)[: len(self.directions)]
        self.mean.copy_(mean.view_as(self.mean))
        self.directions[: len(found)] = found.view(-1, *self.mean.shape)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) of the other domain -> (B, C, H, W)."""
        seen = F.adaptive_avg_pool2d(x.float(), _SEEN).flatten(1)  # (B, C 64)
        return self._drawn(2**0.5 * torch.sin((seen[:, None] * self.projection).sum(-1)))  # each of variance 1

    def blurred(self, x: Tensor) -> Tensor:
        """Pictures of the domain, drawn again from their own coordinates: (B, C, H, W) -> (B, C, H, W)."""
        away, ways = (F.avg_pool2d(x.float(), 2) - self.mean).flatten(1), self.directions.flatten(1)
        return self._drawn((away[:, None] * ways).sum(-1) / ways.square().sum(1).clamp_min(1e-8))

    def _drawn(self, z: Tensor) -> Tensor:
        """Coordinates (B, numbers), of variance 1 in the domain -> (B, C, H, W)."""
        drawn = self.mean + (z[:, :, None] * self.directions.flatten(1)).sum(1).view(-1, *self.mean.shape)
        return F.interpolate(drawn, scale_factor=2, mode="bilinear", align_corners=False).clamp(-1, 1)


class Discriminator(nn.Module):
    """Pictures -> (B, 2 places): how real each part looks, 1 for real and 0 for not, and as often the whole picture."""

    def __init__(self, space: Space, channels: int):
        super().__init__()
        c, (h, w) = channels, quartered(space)
        self.stem = spectral_norm(nn.Conv2d(4 * space.shape[0], c, 3, padding=1))
        self.reduce = spectral_norm(nn.Conv2d(c, 2 * c, 4, stride=2, padding=1))
        self.wide = spectral_norm(nn.Conv2d(2 * c, 2 * c, 3, padding=1))
        self.part = nn.Conv2d(2 * c, 1, 3, padding=1)  # without the norm: 0 and 1 must be within reach
        self.features = spectral_norm(nn.Linear((2 * c + 1) * h * w, 4 * c))
        self.whole = nn.Linear(4 * c, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.stem(F.pixel_unshuffle(x, 2)), 0.2)  # (B, c, H/2, W/2)
        h = F.leaky_relu(self.wide(F.leaky_relu(self.reduce(h), 0.2)), 0.2)  # (B, 2c, H/4, W/4)
        part = self.part(h).flatten(1)  # (B, H/4 W/4)
        varied = h.float().var(0, correction=0).add(1e-8).sqrt().mean(0)  # over the batch, of the mean channel
        h = torch.cat([h, varied.to(h.dtype).expand(len(x), 1, -1, -1)], 1)
        whole = self.whole(F.leaky_relu(self.features(h.flatten(1)), 0.2))  # (B, 1)
        return torch.cat([part, whole.expand_as(part)], 1).float()


class Block(nn.Module):
    """Two normalised 3x3 convolutions, added to their input; the second starts at 0."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, channels), zero(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.leaky_relu(self.norm1(x), 0.2))
        return x + self.conv2(F.leaky_relu(self.norm2(h), 0.2))


def pieces(x: Tensor, rng: torch.Generator, least: float, most: float, upright: bool = False) -> Tensor:
    """A piece of each picture, so much of its side, mirrored or not (upright: left and right), as large as it was.

    (B, C, H, W) -> (B, C, H, W), differentiable.
    """
    side = least + (most - least) * torch.rand(len(x), 1, generator=rng)
    middle = (1 - side) * (2 * torch.rand(len(x), 2, generator=rng) - 1)
    mirrored = 2 * torch.randint(2, (len(x), 2), generator=rng) - 1
    if upright:
        mirrored[:, 1] = 1
    frame = torch.cat([torch.diag_embed(side * mirrored), middle[:, :, None]], 2)  # (B, 2, 3)
    grid = F.affine_grid(frame, list(x.shape), align_corners=False).to(x.device)
    return F.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)


def bounded(x: Tensor) -> Tensor:
    """x cut off at -1 and 1, with a tenth of the gradient beyond: what was cut off can come back.

    Unlike the one of the other games it lets nothing beyond -1 and 1 pass, where a translator could hide something.
    """
    kept = x.clamp(-1, 1)
    beyond = 0.1 * (x - kept)
    return kept + beyond - beyond.detach()
