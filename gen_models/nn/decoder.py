"""A decoder-only transformer over symbols: what writes text, and the codes of pictures.

Attention Is All You Need (Vaswani et al., 2017), arXiv 1706.03762; decoder only.
Rotary positions: RoFormer (Su et al., 2021), arXiv 2104.09864. RMSNorm: Zhang and Sennrich (2019), arXiv 1910.07467.
Normalised queries and keys: Henry et al. (2020), arXiv 2010.04245. Squared ReLU: Primer (So et al., 2021),
arXiv 2109.08668. Tied embedding: Press and Wolf (2016), arXiv 1608.05859.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.interface import BadInput
from gen_models.nn.blocks import zero

EPS = 1e-6


@dataclass
class Cache:
    """Keys and values of what was read so far, of every layer, in memory that is there from the start."""

    keys: Tensor  # (layers, B, heads, context + 1, width / heads)
    values: Tensor
    length: int = 0  # places filled, the start token's among them

    @property
    def room(self) -> int:
        """How many more symbols can be read."""
        return self.keys.shape[3] - self.length


def normed(x: Tensor) -> Tensor:
    """x / its root mean square over the last dimension; a gain would be absorbed by the matrix that follows."""
    return F.rms_norm(x, x.shape[-1:], eps=EPS)


def dropped(x: Tensor, share: float, rng: torch.Generator | None) -> Tensor:
    """Dropout by a CPU generator, to within 1/256 of `share`; without one, or with share 0, x itself.

    Dropout: A Simple Way to Prevent Neural Networks from Overfitting (Srivastava et al., 2014).
    """
    level = round(256 * share)
    if rng is None or not level:
        return x
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64)  # a byte for each number: 8 at the price of one draw
    drawn = words.random_(-(2**63), None, generator=rng).view(torch.uint8)[: x.numel()].view(x.shape)
    return x * ((drawn >= level).to(x.device, x.dtype) * (256 / (256 - level)))


def rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Pairs of numbers of x (B, heads, T, D) turned by the angle of their place; cosine and sine (T, D / 2)."""
    cosine, sine = (part.to(x.dtype) for part in turn)
    one, other = x.chunk(2, -1)
    return torch.cat([one * cosine - other * sine, one * sine + other * cosine], -1)


def weights(q: Tensor, k: Tensor) -> Tensor:
    """How much each query reads of each key, none of the keys after it: (B, heads, T, D) twice -> (B, heads, T, T)."""
    t = q.shape[2]
    future = torch.full((t, t), float("-inf"), dtype=q.dtype, device=q.device).triu(1)
    scores = torch.baddbmm(future, q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), alpha=1 / math.sqrt(q.shape[3]))
    return scores.softmax(-1).view(*q.shape[:3], t)


def read(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What each query reads of the values up to its own: (B, heads, T, D) three times -> (B, heads, T, D).

    Written out on the CPU: up to some hundred places that is three times as fast there as the fused kernel, backward
    included.
    """
    if q.device.type == "cpu":
        return weights(q, k) @ v
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Block(nn.Module):
    """Attention to what stands before, then a perceptron at every place; both are residuals that start as nothing."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.attended = zero(nn.Linear(width, width, bias=False))
        self.sharpness = nn.Parameter(torch.ones(heads, 1, 1))  # of the normalised queries
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), zero(nn.Linear(4 * width, width, bias=False))

    def projected(self, h: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of h (B, T, C): each (B, heads, T, C / heads)."""
        h = normed(h)
        q, k, v = (
            part(h).view(*h.shape[:2], self.heads, -1).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        return rotated(normed(q) * self.sharpness.to(q.dtype), turn), rotated(normed(k), turn), v

    def onward(self, h: Tensor, found: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """h (B, T, C) and what its queries have read (B, heads, T, C / heads) -> the block's output (B, T, C)."""
        h = h + dropped(self.attended(found.transpose(1, 2).reshape(h.shape)), self.dropout, rng)
        active = F.relu(self.up(normed(h)))
        return h + dropped(self.down(active * active), self.dropout, rng)


class Decoder(nn.Module):
    """Predicts each symbol from those before it.

    Pre-RMSNorm, rotary positions, normalised queries and keys, squared ReLU, tied embedding, no biases; residual
    branches end in zeros. A start token of its own stands before the first symbol; a class is added to it.
    """

    def __init__(
        self, symbols: int, context: int, *, width: int, layers: int, heads: int, classes: int = 0, dropout: float = 0.0
    ):
        super().__init__()
        if width % (2 * heads):
            raise BadInput(f"A width of {width} cannot be shared by {heads} heads: choose a multiple of {2 * heads}.")
        self.symbols, self.context, self.heads, self.dropout = symbols, context, heads, dropout
        self.embedding = nn.Embedding(symbols, width)
        self.begin = nn.Embedding(1 + classes, width)  # the start token, then a row for each class
        for table in (self.embedding, self.begin):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(layers)])
        self.gain = nn.Parameter(torch.ones(width))  # of the last norm: no matrix follows that it could be part of
        half = width // heads // 2
        angle = torch.arange(context + 1)[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cosine", angle.cos(), persistent=False)  # (context + 1, half)
        self.register_buffer("sine", angle.sin(), persistent=False)

    # ---- at once ----------------------------------------------------------------------------------------------

    def forward(self, tokens: Tensor, *, label: Tensor | None = None, rng: torch.Generator | None = None) -> Tensor:
        """tokens (B, T), T <= context -> logits (B, T + 1, symbols): those at i are of symbol i given 0 .. i - 1.

        `label` (B, classes) rows; `rng`: a CPU generator for dropout, without which there is none.
        """
        h, turn = self._entered(tokens, label, rng)
        for block in self.blocks:
            h = block.onward(h, read(*block.projected(h, turn)), rng)
        return self._logits(h)

    def attention(self, tokens: Tensor, *, label: Tensor | None = None) -> Tensor:
        """How much each place reads of each: (B, T) -> (B, layers, heads, T + 1, T + 1), place 0 is the start token."""
        return self.explicit(tokens, label=label)[1]

    def explicit(self, tokens: Tensor, *, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The logits of `forward` by attention written out, and its weights as `attention` gives them."""
        h, turn = self._entered(tokens, label)
        every = []
        for block in self.blocks:
            q, k, v = block.projected(h, turn)
            every.append(weights(q, k))  # (B, heads, T + 1, T + 1)
            h = block.onward(h, every[-1] @ v)
        return self._logits(h), torch.stack(every, 1)

    # ---- symbol by symbol -------------------------------------------------------------------------------------

    @torch.no_grad()
    def start(
        self, batch: int, *, label: Tensor | None = None, device: torch.device | str | None = None
    ) -> tuple[Tensor, Cache]:
        """Logits (B, symbols) of the first symbol, and a cache that holds the start token; no gradients here."""
        weight = self.embedding.weight
        size = (len(self.blocks), batch, self.heads, self.context + 1, weight.shape[1] // self.heads)
        cache = Cache(*(torch.empty(size, device=device or weight.device, dtype=weight.dtype) for _ in range(2)))
        nothing = torch.empty(batch, 0, dtype=torch.int64, device=weight.device)
        return self._read(normed(self._embedded(nothing, label)), cache), cache

    @torch.no_grad()
    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Reads n > 0 new symbols (B, n) -> logits (B, symbols) of the next one. BadInput where the cache has no room.

        Whoever comes to the end of the context starts a new cache with the last half of it.
        """
        if tokens.shape[1] > cache.room:
            raise BadInput(f"{tokens.shape[1]} more symbols do not fit into a context of {self.context}.")
        return self._read(normed(self.embedding(tokens)), cache)

    def _read(self, h: Tensor, cache: Cache) -> Tensor:
        """Embedded symbols (B, n, C), added to the cache -> logits of the next symbol."""
        past, now = cache.length, cache.length + h.shape[1]
        turn = self.cosine[past:now], self.sine[past:now]
        seen = None
        if past and h.shape[1] > 1:
            seen = torch.ones(h.shape[1], now, dtype=torch.bool, device=h.device).tril(past)
        for block, keys, values in zip(self.blocks, cache.keys, cache.values, strict=True):
            q, keys[:, :, past:now], values[:, :, past:now] = block.projected(h, turn)
            k, v = keys[:, :, :now], values[:, :, :now]
            h = block.onward(h, F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=not past))
        cache.length = now
        return self._logits(h[:, -1])

    # ---- both -------------------------------------------------------------------------------------------------

    def _embedded(self, tokens: Tensor, label: Tensor | None) -> Tensor:
        """The start token, with its class, and the symbols: (B, T) -> (B, T + 1, C)."""
        start = self.begin.weight[:1].expand(len(tokens), -1)
        if label is not None and len(self.begin.weight) > 1:
            start = start + label.to(start) @ self.begin.weight[1:]
        return torch.cat([start[:, None], self.embedding(tokens)], 1)

    def _entered(
        self, tokens: Tensor, label: Tensor | None, rng: torch.Generator | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if tokens.shape[1] > self.context:
            raise BadInput(f"{tokens.shape[1]} symbols do not fit into a context of {self.context}.")
        h = dropped(normed(self._embedded(tokens, label)), self.dropout, rng)
        return h, (self.cosine[: h.shape[1]], self.sine[: h.shape[1]])

    def _logits(self, h: Tensor) -> Tensor:
        return F.linear(normed(h) * self.gain, self.embedding.weight)
