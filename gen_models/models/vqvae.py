"""The VQ-VAE: pictures as grids of codes, and a transformer that writes such grids.

Neural Discrete Representation Learning (van den Oord, Vinyals and Kavukcuoglu, 2017), arXiv 1711.00937.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.interface import (
    BadInput,
    Batch,
    Decodes,
    Encodes,
    Frame,
    GenerativeModel,
    Loss,
    Quantises,
    Range,
    Reconstructs,
    Samples,
    Space,
    Turn,
)
from gen_models.models.quantiser import FiniteScalarQuantiser, Quantiser, VectorQuantiser, straight_through
from gen_models.nn import Decoder, kept, quartered, zero
from gen_models.noise import Noise

LEVELS = {64: (4, 4, 4), 128: (8, 4, 4), 256: (8, 8, 4), 512: (8, 8, 8)}  # of a lattice with so many codes
DROPPED = 0.1  # share of the labels that the prior does not see, so that it can also do without
LARGEST = 256  # cells of a grid
LOOKED_AT = 64  # pictures that are decoded after every cell; of more of them only rows are
UNWRITTEN = -1  # stands in a frame's tokens where there is no code yet


class _Choice(NamedTuple):
    """How the next code is chosen."""

    temperature: float
    top_k: int
    top_p: float
    guidance: float


class Residual(nn.Module):
    """Two normalised 3x3 convolutions beside the identity; it starts as the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, channels), zero(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class Autoencoder(nn.Module):
    """Pictures to a grid of a quarter of their height and width and back; pixels are folded into channels first.

    Folding: sub-pixel convolution (Shi et al., 2016), arXiv 1609.05158.
    """

    def __init__(self, colours: int, dim: int, channels: int):
        super().__init__()
        c, wide = channels, 2 * channels
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * colours, c, 3, padding=1),  # half the height and width
            Residual(c),
            nn.Conv2d(c, wide, 4, stride=2, padding=1),  # a quarter
            Residual(wide),
            Residual(wide),
            nn.GroupNorm(8, wide),
            nn.SiLU(),
            nn.Conv2d(wide, dim, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(dim, wide, 3, padding=1),
            Residual(wide),
            Residual(wide),
            nn.Conv2d(wide, 4 * c, 3, padding=1),
            nn.PixelShuffle(2),
            Residual(c),
            Residual(c),
            nn.GroupNorm(8, c),
            nn.SiLU(),
            nn.Conv2d(c, 4 * colours, 3, padding=1),
            nn.PixelShuffle(2),
        )


class VQVAE(GenerativeModel, Samples, Decodes, Encodes, Reconstructs, Quantises):
    """An encoder, a codebook and a decoder; then a transformer, the prior, learns to write the codes.

    z is the encoder's output before it is quantised: `decode` takes any vectors, so that a walk between two pictures is
    smooth, and `decode` of codes' own vectors is `from_tokens`. `reconstruct` goes through the codes. The pixels have
    no likelihood here; `code_log_prob` is that of a picture's codes.
    """

    players = ("autoencoder", "prior")
    normal = False
    about = r"""
**Objective.** An encoder turns a picture into a small grid of vectors, each vector is replaced by the nearest of a few
*codes* $e_k$, and a decoder rebuilds the picture:
$$\|x - \hat{x}(e_{k})\|^2 + \beta\,\|z(x) - \mathrm{sg}[e_k]\|^2, \qquad k = \arg\min_j \|z(x) - e_j\|.$$
Rounding has no gradient, so the decoder's is handed to the encoder as it is (*straight through*); each code is the
moving mean of the vectors that chose it, and a code that none chooses is put somewhere else. In a second stage a
transformer, the *prior*, learns to write the grids, code after code. Finite scalar quantisation drops the codebook: it
rounds each of three numbers to a few levels.

**Try first.** *Codes*: choose a cell of a picture and give it another code. Rub out half of a picture's codes and
let the prior write them anew, for another class, too.

**Where it fails.** What the codes cannot say is lost: fine texture is smoothed away whatever the prior does. The prior
writes from left to right and top to bottom and never goes back, so an early mistake stays.

**Papers.** VQ-VAE: van den Oord et al. 2017, [arXiv 1711.00937](https://arxiv.org/abs/1711.00937); finite scalar
quantisation: Mentzer et al. 2023, [arXiv 2309.15505](https://arxiv.org/abs/2309.15505).
"""

    def __init__(
        self,
        space: Space,
        *,
        quantiser: Literal["ema", "fsq"] = "ema",
        codes: Literal[64, 128, 256, 512] = 128,
        dim: Annotated[int, Range(2, 64)] = 8,
        channels: Annotated[int, Range(8, 128, 8)] = 32,
        hidden: Annotated[int, Range(16, 512, 16)] = 128,
        layers: Annotated[int, Range(1, 12)] = 4,
        dropout: Annotated[float, Range(0.0, 0.5, 0.05)] = 0.0,
        conditional: bool = False,
    ):
        """`dim`: numbers in a learned code; `channels`: of the autoencoder; `hidden`, `layers`: of the prior."""
        super().__init__(space, conditional=conditional)
        self.grid = quartered(space)
        cells = self.grid[0] * self.grid[1]
        if cells > LARGEST:
            raise BadInput(f"A VQ-VAE here is for pictures of up to 64 x 64, not {space.shape}; choose a smaller size.")
        self.quantiser: Quantiser = (
            VectorQuantiser(codes, dim) if quantiser == "ema" else FiniteScalarQuantiser(LEVELS[codes])
        )
        self.codes = self.quantiser.codes
        self.latent_shape = (self.quantiser.dim, *self.grid)
        self.autoencoder = Autoencoder(space.shape[0], self.quantiser.dim, channels)
        heads = max(1, hidden // 32)
        self.prior = Decoder(
            self.codes, cells, width=hidden, layers=layers, heads=heads, classes=len(self.labels), dropout=dropout
        )
        self.register_buffer("variance", torch.ones(()))  # of the pixels: the loss has no unit

    @classmethod
    def limits(cls, space: Space, config: Mapping[str, Any]) -> Mapping[str, Range]:
        return {} if config.get("conditional") else {"guidance": Range(1.0, 1.0)}

    # ---- training ----------------------------------------------------------------------------------------------

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        self.variance.copy_(batch.x.var().clamp_min(1e-3))
        self.quantiser.begin(_rows(self.encode(batch.x)), rng)

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        """Of the player whose turn it is; the prior's leaves the autoencoder alone."""
        if turn.player == "prior":
            return self._prior_loss(batch, turn.rng)
        z = self.encode(batch.x)
        tokens = self.quantiser.codes_of(_cells(z))
        quantised = _maps(self.quantiser.vectors(tokens))
        error = (self._drawn(straight_through(z, quantised)) - batch.x).square().mean((1, 2, 3))
        commitment = (z - quantised).square().mean((1, 2, 3))
        if self.training:
            self.quantiser.learn(_rows(z.detach()), tokens.flatten(), turn.rng)
        share = self.usage(tokens) / tokens.numel()
        show = {
            "squared error": error / 4,  # of pictures in [0, 1]
            "commitment": commitment,
            "perplexity": (-torch.special.xlogy(share, share).sum()).exp(),
            "live codes": (share > 0).float(),
        }
        return Loss(error.mean() / self.variance + self.quantiser.commitment * commitment.mean(), show)

    def _prior_loss(self, batch: Batch, rng: torch.Generator) -> Loss:
        with torch.no_grad():
            tokens = self.tokens(batch.x)
        label = self.label_rows(batch.label, len(tokens))
        if label is not None:
            seen = torch.rand(len(tokens), 1, generator=rng) >= DROPPED
            label = label * seen.to(label)
        cost = -self._nats(tokens, label, rng if self.training else None)  # (B, cells)
        return Loss(cost.mean(), {"nats of the codes": cost.sum(1)})

    def _nats(self, tokens: Tensor, label: Tensor | None, rng: torch.Generator | None = None) -> Tensor:
        """log-probability of every code given those before it: (B, rows, columns) -> (B, cells)."""
        flat = tokens.flatten(1)
        logits = self.prior(flat[:, :-1], label=label, rng=rng)  # (B, cells, codes)
        return -F.cross_entropy(logits.float().transpose(1, 2), flat, reduction="none")

    def token_log_probs(self, tokens: Tensor, *, label: Tensor | None = None) -> Tensor:
        """Codes (B, rows, columns) -> (B, cells) nats of each under the prior, given those before it."""
        return self._nats(self._checked(tokens), self.label_rows(label, len(tokens)))

    # ---- pictures and codes ------------------------------------------------------------------------------------

    def encode(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """x (B, *shape) -> z (B, dim, rows, columns), not quantised yet."""
        return _maps(self.quantiser.bounded(_cells(self.autoencoder.encoder(x).float())))

    def decode(self, z: Tensor, *, label: Tensor | None = None) -> Tensor:
        """z (B, dim, rows, columns) -> x (B, *shape); z is taken as it is, be it a code's vector or not."""
        return self._drawn(z).clamp(-1, 1)

    def _drawn(self, z: Tensor) -> Tensor:
        return self.autoencoder.decoder(z).float()

    def reconstruct(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """What is left of x when it was written in codes."""
        return self.from_tokens(self.tokens(x))

    def tokens(self, x: Tensor) -> Tensor:
        """x (B, *shape) -> the code of every cell, (B, rows, columns) int64."""
        return self.quantiser.codes_of(_cells(self.encode(x)))

    def from_tokens(self, tokens: Tensor, *, label: Tensor | None = None) -> Tensor:
        """Codes (B, rows, columns) -> x (B, *shape); BadInput for another grid or a code that there is not."""
        return self.decode(_maps(self.quantiser.vectors(self._checked(tokens))))

    def usage(self, tokens: Tensor) -> Tensor:
        """How often each code stands in `tokens`, of any shape: (codes,)."""
        return torch.bincount(tokens.flatten(), minlength=self.codes)

    def _checked(self, tokens: Tensor) -> Tensor:
        if tokens.dim() != 3 or tuple(tokens.shape[1:]) != self.grid:
            raise BadInput(f"Pictures are written as {self.grid[0]} x {self.grid[1]} codes, not {tuple(tokens.shape)}.")
        if tokens.is_floating_point() or (tokens.numel() and not 0 <= tokens.min() <= tokens.max() < self.codes):
            raise BadInput(f"A code is a whole number from 0 to {self.codes - 1}.")
        return tokens.to(self.device, torch.int64)

    # ---- writing -----------------------------------------------------------------------------------------------

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        temperature: Annotated[float, Range(0.0, 2.0, 0.05)] = 1.0,
        top_k: Annotated[int, Range(0, 200)] = 0,
        top_p: Annotated[float, Range(0.0, 1.0, 0.01)] = 1.0,
        guidance: Annotated[float, Range(0.0, 4.0, 0.1)] = 1.5,
    ) -> Iterator[Frame]:
        """Code after code in raster order; where none stands yet frames are grey, and their tokens UNWRITTEN.

        Guidance mixes logits: 0 heeds no label, 1 is the prior as it was trained, more exaggerates the class.
        Classifier-Free Diffusion Guidance (Ho and Salimans, 2022), arXiv 2207.12598.
        """
        tokens = torch.full((len(noise), *self.grid), UNWRITTEN, device=self.device)
        choose = _Choice(temperature, top_k, top_p, guidance)
        yield from self._written(tokens, torch.zeros_like(tokens, dtype=torch.bool), noise, label, choose)

    def fill(
        self,
        tokens: Tensor,
        known: Tensor,
        noise: Noise,
        *,
        label: Tensor | None = None,
        temperature: Annotated[float, Range(0.0, 2.0, 0.05)] = 1.0,
        top_k: Annotated[int, Range(0, 200)] = 0,
        top_p: Annotated[float, Range(0.0, 1.0, 0.01)] = 1.0,
        guidance: Annotated[float, Range(0.0, 4.0, 0.1)] = 1.5,
    ) -> Iterator[Frame]:
        """Rewrites the cells of `tokens` that are not `known`, both (B, rows, columns), in raster order.

        A cell is written given all that stands before it, be it known or written; until then frames show what stood
        there. With nothing known the last frame is that of `sample`.
        """
        tokens = self._checked(tokens).clone()
        if known.shape != tokens.shape:
            raise BadInput(f"`known` is of the shape of the codes, {tuple(tokens.shape)}, not {tuple(known.shape)}.")
        choose = _Choice(temperature, top_k, top_p, guidance)
        yield from self._written(tokens, known.to(self.device, torch.bool), noise, label, choose)

    def _written(
        self, tokens: Tensor, known: Tensor, noise: Noise, label: Tensor | None, choose: _Choice
    ) -> Iterator[Frame]:
        """Frames of writing every cell that is not known in all pictures; tokens (B, rows, columns)."""
        flat, known = tokens.flatten(1), known.flatten(1)  # (B, cells)
        missing = (~known).any(0).nonzero().flatten().tolist()
        x = self._pictured(tokens)
        yield Frame(x, 0, len(missing), show={"tokens": tokens.clone()})
        reader = _Reader(self.prior, self.label_rows(label, len(tokens)), len(tokens), choose.guidance)
        for step, cell in enumerate(missing, 1):
            p = kept(reader.next(flat[:, :cell]), choose.temperature, choose.top_k, choose.top_p)
            drawn = noise.at(cell).choice(p).to(flat)
            flat[:, cell] = torch.where(known[:, cell], flat[:, cell], drawn)  # and with it `tokens`
            row_ends = step == len(missing) or missing[step] // self.grid[1] > cell // self.grid[1]
            if row_ends or len(tokens) <= LOOKED_AT:
                x = self._pictured(tokens)
            yield Frame(x, step, len(missing), show={"tokens": tokens.clone()}, calls=step)

    def _pictured(self, tokens: Tensor) -> Tensor:
        """Codes (B, rows, columns) -> x, grey where they are UNWRITTEN."""
        written = tokens != UNWRITTEN
        vectors = self.quantiser.vectors(tokens.clamp_min(0)) * written[..., None]
        x = self.decode(_maps(vectors))
        return x if written.all() else x * F.interpolate(written[:, None].to(x), x.shape[2:])


class _Reader:
    """The prior's logits of the next code, with guidance; what was read once is not read again."""

    def __init__(self, prior: Decoder, label: Tensor | None, n: int, guidance: float):
        self.guided = guidance != 1.0 and label is not None and bool(label.any())
        self.prior, self.guidance, self.read = prior, guidance, 0
        if self.guided:
            label = torch.cat([label, torch.zeros_like(label)])
        self.logits, self.cache = prior.start(2 * n if self.guided else n, label=label)

    def next(self, written: Tensor) -> Tensor:
        """All codes so far (B, n), which go on from those of the last call -> logits (B, codes) of the next one."""
        new = written[:, self.read :]
        if new.shape[1]:
            self.logits = self.prior.step(torch.cat([new, new]) if self.guided else new, self.cache)
            self.read = written.shape[1]
        if not self.guided:
            return self.logits
        given, free = self.logits.chunk(2)
        return free + self.guidance * (given - free)


def _cells(z: Tensor) -> Tensor:
    """Maps (B, dim, rows, columns) -> vectors (B, rows, columns, dim)."""
    return z.permute(0, 2, 3, 1)


def _maps(vectors: Tensor) -> Tensor:
    """Vectors (B, rows, columns, dim) -> maps (B, dim, rows, columns)."""
    return vectors.permute(0, 3, 1, 2)


def _rows(z: Tensor) -> Tensor:
    """Maps (B, dim, rows, columns) -> all their vectors (N, dim)."""
    return _cells(z).reshape(-1, z.shape[1])
