"""Generative adversarial networks: non-saturating, Wasserstein with gradient penalty, and relativistic (R3GAN).

Generative Adversarial Networks (Goodfellow et al., 2014), arXiv 1406.2661.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.interface import (
    Batch,
    Criticises,
    Decodes,
    Frame,
    GenerativeModel,
    Loss,
    Range,
    Samples,
    Space,
    Turn,
    at_once,
)
from gen_models.nn import PlainBlock, bounded, doubled, mlp, quartered, spectrally_normalise
from gen_models.noise import Noise


class Game(GenerativeModel, Samples, Decodes, Criticises):
    """A generator and a judge (discriminator or critic), whatever they are made of; subclasses say what each loses."""

    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    def _play(self, latent_dim: int, generator: nn.Module, judge: nn.Module) -> None:
        """Takes in the two networks: z, label rows -> x and x, label rows -> (B,) scores."""
        self.latent_shape = (latent_dim,)
        self.generator = generator
        self.add_module(self.players[0], judge)

    @property
    def _judge(self) -> nn.Module:
        """The discriminator, or the critic."""
        return self.get_submodule(self.players[0])

    # ---- the game ----------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        label = self.label_rows(batch.label, len(batch.x))
        z = torch.randn((len(batch.x), *self.latent_shape), generator=turn.rng).to(batch.x.device)
        if turn.player == "generator":
            generated = self.generator(z, label)
            return self.generator_loss(self.judged(batch.x, turn), self.judged(generated, turn), label)
        with torch.no_grad():
            generated = self.generator(z, label)
        return self.judge_loss(self.judged(batch.x, turn), self.judged(generated, turn), label, turn)

    def judged(self, x: Tensor, turn: Turn) -> Tensor:
        """What the judge gets to see of x while both learn: x itself, unless a model augments it."""
        return x

    @abstractmethod
    def judge_loss(self, real: Tensor, generated: Tensor, label: Tensor | None, turn: Turn) -> Loss:
        """The loss of the discriminator (the critic); both pictures are data to it."""

    @abstractmethod
    def generator_loss(self, real: Tensor, generated: Tensor, label: Tensor | None) -> Loss:
        """The loss of the generator, whose gradient flows through `generated`."""

    # ---- what it can do ----------------------------------------------------------------------------------------

    def decode(self, z: Tensor, *, label: Tensor | None = None) -> Tensor:
        """z (B, latent_dim) -> (B, *shape)."""
        x = self.generator(z, self.label_rows(label, len(z)))
        return x.clamp(-1, 1) if self.space.kind == "image" else x

    def criticise(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """(B,) scores of the discriminator; only their order means something."""
        return self._judge(x, self.label_rows(label, len(x)))

    def sample(
        self, noise: Noise, *, label: Tensor | None = None, truncation: Annotated[float, Range(0.0, 1.5, 0.05)] = 1.0
    ) -> Iterator[Frame]:
        """z from a standard normal times `truncation`: less is safer and less varied."""
        z = truncation * noise.normal(*self.latent_shape).to(self.device)
        yield from at_once(self.decode(z, label=label))


class GAN(Game):
    """A generator against a discriminator with spectral norm, on the non-saturating loss.

    Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018), arXiv 1802.05957. Classes enter
    the discriminator by projection: cGANs with Projection Discriminator (Miyato and Koyama, 2018), arXiv 1802.05637.
    """

    spectral: ClassVar[bool] = True
    about = r"""
**Objective.** Two players. The discriminator $D$ learns to tell real pictures from generated ones; the generator $G$
turns noise $z \sim \mathcal{N}(0, I)$ into pictures that $D$ takes for real:
$$\max_D\ \mathbb{E}\log\sigma(D(x)) + \mathbb{E}\log\sigma(-D(G(z))), \qquad \max_G\ \mathbb{E}\log\sigma(D(G(z))).$$
WGAN-GP lets a *critic* estimate the Wasserstein distance and holds the norm of its gradient at 1. R3GAN compares real
and generated in pairs, $\log\sigma(D(x) - D(G(z)))$, with gradient penalties on both sides, which provably converges.

**Try first.** *Latent*: the sliders are the directions that move the picture most. Then *Train* a GAN on the 8
Gaussians and watch whether it finds all eight.

**Where it fails.** It has no likelihood, and may drop modes: parts of the data that it never draws (the stacked digits
have 1000 modes to count). Its losses do not say whether the pictures are good.

**Papers.** Goodfellow et al. 2014, [arXiv 1406.2661](https://arxiv.org/abs/1406.2661); WGAN-GP: Gulrajani et al. 2017,
[arXiv 1704.00028](https://arxiv.org/abs/1704.00028); R3GAN: Huang et al. 2024,
[arXiv 2501.05441](https://arxiv.org/abs/2501.05441).
"""

    def __init__(
        self,
        space: Space,
        *,
        latent_dim: Annotated[int, Range(2, 128)] = 64,
        channels: Annotated[int, Range(8, 128, 8)] = 32,
        conditional: bool = False,
    ):
        super().__init__(space, conditional=conditional)
        classes = len(self.labels)
        if space.kind == "image":
            generator = PictureGenerator(space, latent_dim, classes, channels)
            judge = PictureJudge(space, classes, channels, self.spectral)
        else:
            generator = PointsGenerator(space, latent_dim, classes, 4 * channels)
            judge = PointsJudge(space, classes, 4 * channels, self.spectral)
        self._play(latent_dim, generator, judge)

    def judge_loss(self, real: Tensor, generated: Tensor, label: Tensor | None, turn: Turn) -> Loss:
        on_real, on_generated = self._judge(real, label), self._judge(generated, label)
        value = F.softplus(-on_real).mean() + F.softplus(on_generated).mean()
        right = 0.5 * ((on_real > 0).float().mean() + (on_generated < 0).float().mean())
        return Loss(value, {"discriminator": value, "discriminator is right": right})

    def generator_loss(self, real: Tensor, generated: Tensor, label: Tensor | None) -> Loss:
        value = F.softplus(-self._judge(generated, label)).mean()
        return Loss(value, {"generator": value})


class WGANGP(GAN):
    """A generator against a critic whose gradient is held at norm 1 between real and generated.

    Improved Training of Wasserstein GANs (Gulrajani et al., 2017), arXiv 1704.00028.
    """

    players = ("critic", "generator")
    spectral = False

    def __init__(
        self,
        space: Space,
        *,
        latent_dim: Annotated[int, Range(2, 128)] = 64,
        channels: Annotated[int, Range(8, 128, 8)] = 32,
        penalty: Annotated[float, Range(0.0, 100.0, 0.1)] = 10.0,
        conditional: bool = False,
    ):
        super().__init__(space, latent_dim=latent_dim, channels=channels, conditional=conditional)
        self.penalty = penalty

    def judge_loss(self, real: Tensor, generated: Tensor, label: Tensor | None, turn: Turn) -> Loss:
        shape = (len(real),) + (1,) * (real.dim() - 1)
        mix = torch.rand(shape, generator=turn.rng).to(real.device)
        between = mix * real + (1 - mix) * generated
        penalty = self.gradient_penalty(between, label)
        distance = self._judge(real, label).mean() - self._judge(generated, label).mean()
        value = self.penalty * penalty - distance
        return Loss(value, {"Wasserstein estimate": distance, "gradient penalty": penalty})

    def gradient_penalty(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The mean of (|gradient of the critic at x| - 1)^2."""
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self._judge(x, label).sum(), x, create_graph=True)
        return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()

    def generator_loss(self, real: Tensor, generated: Tensor, label: Tensor | None) -> Loss:
        value = -self._judge(generated, label).mean()
        return Loss(value, {"generator": value})


class R3GAN(GAN):
    """Real and generated compared in pairs, with zero-centred gradient penalties on both (R1 and R2).

    The GAN is dead; long live the GAN! A Modern GAN Baseline (Huang et al., 2024), arXiv 2501.05441. The penalties may
    be taken every few steps with more weight: Analyzing and Improving StyleGAN (Karras et al., 2020), arXiv 1912.04958.
    """

    spectral = False

    def __init__(
        self,
        space: Space,
        *,
        latent_dim: Annotated[int, Range(2, 128)] = 64,
        channels: Annotated[int, Range(8, 128, 8)] = 32,
        gamma: Annotated[float, Range(0.0, 100.0, 0.01)] = 1.0,
        penalty_every: Annotated[int, Range(1, 16)] = 1,
        conditional: bool = False,
    ):
        super().__init__(space, latent_dim=latent_dim, channels=channels, conditional=conditional)
        self.gamma, self.penalty_every = gamma, penalty_every

    def judge_loss(self, real: Tensor, generated: Tensor, label: Tensor | None, turn: Turn) -> Loss:
        penalised = self.gamma > 0 and turn.step % self.penalty_every == 0
        real, generated = real.detach(), generated.detach()
        if penalised:
            real, generated = real.requires_grad_(), generated.requires_grad_()
        on_real, on_generated = self._judge(real, label), self._judge(generated, label)
        value = F.softplus(on_generated - on_real).mean()
        show = {"discriminator": value, "discriminator is right": (on_real > on_generated).float()}
        if penalised:
            r1, r2 = _squared_gradient(on_real, real), _squared_gradient(on_generated, generated)
            show |= {"R1": r1, "R2": r2}
            value = value + 0.5 * self.gamma * self.penalty_every * (r1 + r2)
        return Loss(value, show)

    def generator_loss(self, real: Tensor, generated: Tensor, label: Tensor | None) -> Loss:
        value = F.softplus(self._judge(real, label) - self._judge(generated, label)).mean()
        return Loss(value, {"generator": value})


def _squared_gradient(score: Tensor, x: Tensor) -> Tensor:
    """The mean over the batch of |d score / d x|^2."""
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


# ---- networks: no normalisation, residual branches that start as nothing ------------------------------------------


class PictureGenerator(nn.Module):
    """z (B, latent_dim) and label rows -> pictures about [-1, 1], grown from a quarter of their size."""

    def __init__(self, space: Space, latent_dim: int, classes: int, channels: int):
        super().__init__()
        c, self.start = channels, (2 * channels, *quartered(space))
        self.label = nn.Linear(classes, latent_dim, bias=False) if classes else None
        inputs = 2 * latent_dim if classes else latent_dim
        self.project = nn.Linear(inputs, 2 * c * self.start[1] * self.start[2])
        self.coarse = PlainBlock(2 * c, 2 * c)
        self.fine = nn.ModuleList([PlainBlock(2 * c, 2 * c), PlainBlock(2 * c, c)])
        self.narrow = nn.Conv2d(c, c // 2, 3, padding=1)
        self.smooth = nn.Conv2d(c // 2, c // 2, 3, padding=1)
        self.head = nn.Conv2d(c // 2, space.shape[0], 3, padding=1)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        if self.label is not None:
            z = torch.cat([z, self.label(label)], -1)
        h = self.coarse(self.project(z).view(-1, *self.start))
        h = doubled(h)
        for block in self.fine:
            h = block(h)
        h = doubled(self.narrow(F.leaky_relu(h, 0.2)))
        h = F.leaky_relu(self.smooth(F.leaky_relu(h, 0.2)), 0.2)
        return bounded(self.head(h))


class PictureJudge(nn.Module):
    """Pictures and label rows -> (B,) scores."""

    def __init__(self, space: Space, classes: int, channels: int, spectral: bool):
        super().__init__()
        c, (h, w) = channels, quartered(space)
        self.stem = nn.Conv2d(4 * space.shape[0], c, 3, padding=1)
        self.fine, self.coarse = PlainBlock(c, 2 * c), PlainBlock(2 * c, 2 * c)
        self.features = nn.Linear(2 * c * h * w, 4 * c)
        self.score = nn.Linear(4 * c, 1)
        self.label = nn.Linear(classes, 4 * c, bias=False) if classes else None
        if spectral:
            spectrally_normalise(self)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        h = self.fine(self.stem(F.pixel_unshuffle(x, 2)))
        h = self.coarse(F.avg_pool2d(h, 2))
        h = F.leaky_relu(self.features(F.leaky_relu(h, 0.2).flatten(1)), 0.2)
        score = self.score(h).squeeze(-1)
        return score if self.label is None else score + (self.label(label) * h).sum(-1) / h.shape[-1] ** 0.5


class PointsGenerator(nn.Module):
    """z (B, latent_dim) and label rows -> points (B, 2)."""

    def __init__(self, space: Space, latent_dim: int, classes: int, width: int):
        super().__init__()
        self.layers = mlp([latent_dim + classes, width, width, width, space.size], lambda: nn.LeakyReLU(0.2))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.layers(z if label is None else torch.cat([z, label], -1))


class PointsJudge(nn.Module):
    """Points and label rows -> (B,) scores."""

    def __init__(self, space: Space, classes: int, width: int, spectral: bool):
        super().__init__()
        self.layers = mlp([space.size + classes, width, width, width, 1], lambda: nn.LeakyReLU(0.2))
        if spectral:
            spectrally_normalise(self)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return self.layers(x if label is None else torch.cat([x, label], -1)).squeeze(-1)
