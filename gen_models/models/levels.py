"""Invertible layers for pictures: Glow's step, and couplings that move grey levels from coarse to fine.

Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018), arXiv 1807.03039.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.models.coupling import AffineCoupling, Layer
from gen_models.nn import zero

LEVELS = 127.5  # levels of a byte per unit of x: pictures in [-1, 1] are byte / 127.5 - 1
LEAST = 1e-4  # of the probability is spread over all levels alike, so that no level becomes impossible


# ---- Glow's step ----------------------------------------------------------------------------------------------


class ActNorm(Layer):
    """A shift and a scale per channel that give the first batch mean 0 and deviation 1: x (B, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def begin(self, x: Tensor) -> None:
        deviation, mean = torch.std_mean(x, (0, 2, 3), correction=0)
        self.shift.copy_(-mean[:, None, None])
        self.log_scale.copy_(-deviation.clamp_min(1e-3).log()[:, None, None])

    def forward(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = (x + self.shift) * self.log_scale.exp()
        return z, (self.log_scale.sum() * x[0, 0].numel()).expand(len(x))

    def inverse(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return z * (-self.log_scale).exp() - self.shift


class Mix(Layer):
    """An invertible 1x1 convolution P L (U + diag(s)), at first a random rotation of the channels: x (B, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(diagonal.abs().log())

    @property
    def weight(self) -> Tensor:
        """The matrix (C, C) that every pixel's channels are multiplied by."""
        lower = self.lower.tril(-1) + torch.eye(len(self.lower)).to(self.lower)
        return self.permutation @ lower @ (self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp()))

    def forward(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            z = F.conv2d(x, self.weight[:, :, None, None])
        return z, (self.log_diagonal.sum() * x[0, 0].numel()).expand(len(x))

    def inverse(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            return F.conv2d(z, torch.linalg.inv(self.weight)[:, :, None, None])


class GlowStep(Layer):
    """ActNorm, an invertible 1x1 convolution and an affine coupling on pixels folded into channels: x (B, C, H, W)."""

    def __init__(self, colours: int, fold: int, hidden: int):
        super().__init__()
        channels = colours * fold * fold
        network = nn.Sequential(
            nn.Conv2d(channels // 2, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            zero(nn.Conv2d(hidden, channels, 3, padding=1)),
        )
        self.fold = fold
        self.parts = nn.ModuleList([ActNorm(channels), Mix(channels), AffineCoupling(network)])

    def begin(self, x: Tensor) -> None:
        h = F.pixel_unshuffle(x, self.fold)
        for part in self.parts:
            part.begin(h)
            h, _ = part(h)

    def forward(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, log_det = F.pixel_unshuffle(x, self.fold), x.new_zeros(len(x))
        for part in self.parts:
            h, more = part(h)
            log_det = log_det + more
        return F.pixel_shuffle(h, self.fold), log_det

    def inverse(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        h = F.pixel_unshuffle(z, self.fold)
        for part in reversed(self.parts):
            h = part.inverse(h)
        return F.pixel_shuffle(h, self.fold)


# ---- couplings of grey levels ---------------------------------------------------------------------------------


class LevelCoupling(Layer):
    """Pixels between known ones: each one's level goes through its distribution function, then to a normal number.

    On the grid of every `stride`-th pixel, `part` "cross" moves the black fields of a chessboard given the white ones,
    "centre" the pixels between four given those four, "rest" whatever is left, given nothing. Known pixels stay, so
    that couplings from fine to coarse take a picture apart and, inverted, paint it from coarse to fine. A network gives
    the probabilities of `bins` ranges of levels; inside a range the levels' shares are those of all pixels alike, and
    inside a level the density is even, as uniform dequantisation has it. Piecewise-linear distribution functions as
    couplings: Neural Importance Sampling (Müller et al., 2019), arXiv 1808.03856; to normal numbers: Gaussianization
    (Chen and Gopinath, NeurIPS 2000).
    """

    def __init__(self, shape: tuple[int, ...], stride: int, part: str, hidden: int, bins: int, classes: int = 0):
        super().__init__()
        colours, height, width = shape
        places = torch.arange(height * width).view(height, width)[::stride, ::stride]
        self.step = stride if part == "cross" else 2 * stride
        known = torch.ones(())
        if part == "cross":
            black = (torch.arange(places.shape[0])[:, None] + torch.arange(places.shape[1])) % 2 == 1
            known, answers = (~black).float(), black.flatten().nonzero().flatten()
            target = places[black]
        elif part == "centre":
            target = places[1::2, 1::2]
            seen = places[::2, ::2]
            answers = torch.arange(seen.numel()).view(seen.shape)[: target.shape[0], : target.shape[1]].flatten()
            places, target = seen, target.flatten()
        else:
            target = places.flatten()
            answers = torch.arange(len(target))
        for name, value in (("known", known), ("target", target), ("answers", answers)):
            self.register_buffer(name, value, persistent=False)
        self.colours, self.bins, self.heeds_label = colours, bins, classes > 0
        outputs = colours * bins
        self.network = None if part == "rest" else LevelNetwork(colours, places.shape, hidden, outputs, classes)
        self.of_class = nn.Linear(classes, len(target) * outputs, bias=False) if classes and part == "rest" else None
        self.bias = nn.Parameter(torch.zeros(len(target), colours, bins))
        self.log_share = nn.Parameter(torch.zeros(256))
        self.register_buffer("edges", torch.linspace(0, 256, bins + 1).round().long())

    def begin(self, x: Tensor) -> None:
        """Starts from histograms: of all levels, and of the ranges at each place."""
        level, _ = self._levels(x)
        share = torch.bincount(level.flatten(), minlength=256) / level.numel()
        share = (share + 1 / 256) / 2
        self.log_share.copy_(share.log())
        self.edges.copy_(_ranges(share, self.bins))
        counts = F.one_hot(self._bin(level), self.bins).sum(0).float()  # (n, C, bins)
        everywhere = counts.sum((0, 1)) + 1
        counts = counts + 20 * everywhere / everywhere.sum()
        self.bias.copy_((counts / counts.sum(-1, keepdim=True)).log())

    def forward(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        level, inside = self._levels(x)
        bin = self._bin(level)
        share, before, width = self._table(x)
        start = before[self.edges[:-1]]
        within = (before[level] + share[level] * inside - start[bin]) / width[bin]
        mass = self._masses(x, width, label)  # (B, n, C, bins)
        here, ranges = mass.gather(-1, bin[..., None])[..., 0], torch.arange(self.bins, device=x.device)
        below = (mass * (ranges < bin[..., None])).sum(-1) + here * within
        above = (mass * (ranges > bin[..., None])).sum(-1) + here * (1 - within)
        z = torch.special.ndtri(torch.minimum(below, above).clamp_min(torch.finfo(x.dtype).eps))
        z = torch.where(below < above, z, -z)
        log_slope = here.log() + (LEVELS * share[level] / width[bin]).log() + 0.5 * (z.square() + math.log(math.tau))
        return self._put(x, z), log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Whatever z is, the level lies between the lowest and the highest."""
        share, before, width = self._table(z)
        mass = self._masses(z, width, label)
        moved = z.flatten(2)[:, :, self.target].transpose(1, 2)
        lower, upper = torch.special.ndtr(moved)[..., None], torch.special.ndtr(-moved)[..., None]
        up, down = mass.cumsum(-1), mass.flip(-1).cumsum(-1)
        from_below = (lower >= up[..., :-1]).sum(-1, keepdim=True)
        from_above = (upper >= down[..., :-1]).sum(-1, keepdim=True)
        low = moved[..., None] < 0
        bin = torch.where(low, from_below, self.bins - 1 - from_above)
        here = mass.gather(-1, bin)
        rise = lower - up.gather(-1, bin) + here
        fall = upper - down.gather(-1, self.bins - 1 - bin) + here
        within = torch.where(low, rise / here, 1 - fall / here).clamp(0, 1)[..., 0]
        bin = bin[..., 0]
        height = before[self.edges[:-1]][bin] + within * width[bin]
        level = torch.bucketize(height.detach().contiguous(), before[1:-1].detach(), right=True)
        y = level + (height - before[level]) / share[level]
        return self._put(z, (y - 0.5) / LEVELS - 1)

    def _levels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The byte (B, n, C) int64 that each moved pixel lies in, and where in it, 0 to 1."""
        y = (x.flatten(2)[:, :, self.target].transpose(1, 2) + 1) * LEVELS + 0.5
        level = y.detach().long().clamp(0, 255)
        return level, y - level

    def _bin(self, level: Tensor) -> Tensor:
        return torch.bucketize(torch.arange(256, device=level.device), self.edges[1:-1], right=True)[level]

    def _table(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shares of the levels (256,), the share below each (257,), and the share of each range (bins,)."""
        share = self.log_share.to(x.dtype).softmax(0)
        before = F.pad(share.cumsum(0), (1, 0))
        return share, before, before[self.edges].diff()

    def _masses(self, x: Tensor, width: Tensor, label: Tensor | None) -> Tensor:
        """Probabilities of the ranges for every moved pixel, (B, n, C, bins)."""
        logits = self.bias.to(x.dtype).expand(len(x), -1, -1, -1)
        if self.network is not None:
            seen = x[:, :, :: self.step, :: self.step] * self.known
            logits = logits + self.network(seen, self.answers, label).to(x.dtype).view_as(logits)
        elif self.of_class is not None:
            logits = logits + self.of_class(label).to(x.dtype).view_as(logits)
        return (1 - LEAST) * logits.softmax(-1) + LEAST * width

    def _put(self, x: Tensor, moved: Tensor) -> Tensor:
        flat = x.flatten(2).index_copy(2, self.target, moved.transpose(1, 2))
        return flat.view_as(x)


def _ranges(share: Tensor, bins: int) -> Tensor:
    """Edges (bins + 1,) of ranges of levels: the neighbours that weigh least together are joined until few remain."""
    weights, edges = share.tolist(), list(range(257))
    while len(weights) > bins:
        k = min(range(len(weights) - 1), key=lambda k: weights[k] + weights[k + 1])
        weights[k : k + 2] = [weights[k] + weights[k + 1]]
        del edges[k + 1]
    return torch.tensor(edges)


class LevelNetwork(nn.Module):
    """Residual convolutions that know where they are, and of which class: (B, C, H, W), n places -> (B, n, outputs)."""

    def __init__(self, colours: int, size: torch.Size, hidden: int, outputs: int, classes: int, depth: int = 3):
        super().__init__()
        self.stem = nn.Conv2d(colours, hidden, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(hidden, *size))
        self.of_class = zero(nn.Linear(classes, self.place.numel(), bias=False)) if classes else None
        self.blocks = nn.ModuleList([nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(depth)])
        self.head = zero(nn.Linear(hidden, outputs))

    def forward(self, x: Tensor, answers: Tensor, label: Tensor | None) -> Tensor:
        h = self.stem(x) + self.place
        if self.of_class is not None:
            h = h + self.of_class(label).view_as(h)
        h = torch.relu(h)
        for block in self.blocks:
            h = h + torch.relu(block(h))
        return self.head(h.flatten(2)[:, :, answers].transpose(1, 2))
