"""A decoder-only transformer that writes text character by character, with an exact likelihood.

Attention Is All You Need (Vaswani et al., 2017), arXiv 1706.03762.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gen_models.interface import (
    Attends,
    BadInput,
    Batch,
    Choices,
    Completes,
    Frame,
    GenerativeModel,
    Loss,
    Predicts,
    Range,
    Scores,
    Space,
    Turn,
)
from gen_models.nn import Cache, Decoder, kept
from gen_models.noise import Noise

AT_ONCE = 32  # windows of a long text that are read together
FIGURE = "nats per character"


class Transformer(GenerativeModel, Completes, Predicts, Attends, Scores):
    """Predicts each character from those before it, as far as its context reaches.

    A text may be longer than the context: where that is full, its last half is kept and filled up again. So a character
    far into a text is given at least half a context, whether it is written or scored.
    """

    masks = "prefix"
    exact = True
    how = "the chain rule, character by character"
    figure: ClassVar[str] = FIGURE
    network: ClassVar[type[Decoder]] = Decoder
    about = r"""
**Objective.** A text is written from left to right, and every character is given a probability by all those before it,
$$\log p(x) = \sum_i \log p(x_i \mid x_1, \dots, x_{i-1}).$$
Training maximises that. *Self-attention* lets the place that is being written look back: it asks each earlier place for
what it holds, and mixes the answers by how well they match the question. All places of a training text learn at once,
because none can look ahead.

**Try first.** Give it the beginning of a line and let it go on; lower the temperature until it repeats itself, raise it
until it stammers. Choose another character than the one it wrote, and go on from there. Look at the attention map: some
heads look one place back, some at the start of the word, some at the name of who speaks.

**Where it fails.** It knows how a text looks, not what it means: spelling, verses and names come early, sense never.
What lies before its context is forgotten. On a small text it learns whole sentences by heart. And counting is a strong
rival: a table of how often seven characters follow one another (a Kneser-Ney 7-gram) needs no training at all.

**Papers.** Vaswani et al. 2017, [arXiv 1706.03762](https://arxiv.org/abs/1706.03762); rotary positions: Su et al. 2021,
[arXiv 2104.09864](https://arxiv.org/abs/2104.09864); drawing from the likely ones only: Holtzman et al. 2019,
[arXiv 1904.09751](https://arxiv.org/abs/1904.09751).
"""

    def __init__(
        self,
        space: Space,
        *,
        width: Annotated[int, Range(16, 512, 16)] = 128,
        layers: Annotated[int, Range(1, 12)] = 4,
        heads: Annotated[int, Range(1, 16)] = 4,
        dropout: Annotated[float, Range(0.0, 0.5, 0.05)] = 0.0,
    ):
        super().__init__(space)
        self.check(space)
        self.lines = space.encoding == "lines"
        self.cached = True  # reads each symbol once; without it all of them again for each new one
        self.decoder = self.network(
            len(space.alphabet), space.size, width=width, layers=layers, heads=heads, dropout=dropout
        )

    @classmethod
    def check(cls, space: Space) -> None:
        """BadInput for a space that it does not write in."""
        if space.kind != "text" or not space.alphabet:
            raise BadInput("The transformer writes text; choose a text to train it on.")

    @classmethod
    def limits(cls, space: Space, config: Mapping[str, Any]) -> Mapping[str, Range | Choices]:
        return {"length": Range(space.size, space.size)} if space.encoding == "lines" else {}  # lines end by themselves

    # ---- the likelihood ---------------------------------------------------------------------------------------

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        x = batch.x
        logits = self.decoder(x[:, :-1], rng=turn.rng if self.training else None)  # (B, T, K)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        cost = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").view(x.shape)
        written = self._written(x)
        mean = (cost * written).sum() / written.sum()
        return Loss(mean, {self.figure: mean})

    def log_prob(
        self, x: Tensor, noise: Noise | None = None, *, label: Tensor | None = None, samples: int = 1
    ) -> Tensor:
        """log p(x), (B,) nats, exact; of a line up to and with its end."""
        return self.log_probs(x).sum(1)

    @classmethod
    def measure(cls, space: Space, config: Mapping[str, Any]) -> Literal["symbols"]:
        return "symbols"

    def log_probs(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """x (B, n) -> (B, n) nats of each character given those before it; 0 beyond the end of a line.

        A text longer than the context is read in windows that overlap by half, as `complete` writes it: from the
        context's end on, each character has at least half a context before it.
        """
        span, known = self.decoder.context + 1, self._kept + 1  # a full context also foretells what follows it
        parts = [self._scored(x[:, :span], 0)]
        starts = list(range(self._moved, x.shape[1] - known, self._moved))
        whole = [start for start in starts if start + span <= x.shape[1]]
        for first in range(0, len(whole), AT_ONCE):
            windows = [x[:, start : start + span] for start in whole[first : first + AT_ONCE]]
            scored = self._scored(torch.cat(windows), known)  # (windows * B, moved)
            parts.append(scored.view(len(windows), len(x), -1).transpose(0, 1).flatten(1))
        parts += [self._scored(x[:, start:], known) for start in starts[len(whole) :]]
        return torch.cat(parts, 1) * self._written(x)

    def _scored(self, window: Tensor, known: int) -> Tensor:
        """Nats of what stands in the window (B, n) from place `known` on: (B, n - known)."""
        logits = self.decoder(window[:, :-1])[:, known:]
        return logits.log_softmax(-1).gather(-1, window[:, known:, None])[..., 0]

    def next_distribution(self, prefix: Tensor, *, label: Tensor | None = None) -> Tensor:
        """prefix (B, n) -> log-probabilities (B, K) of the next character; of a line that has ended, more ends."""
        logits = self.decoder(prefix[:, self._start(prefix.shape[1]) :])[:, -1]
        return self._ended(logits.log_softmax(-1), prefix)

    def attention(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """x (B, n), n <= context -> (B, layers, heads, n + 1, n + 1), rows sum to 1; place 0 is the start token."""
        return self.decoder.attention(x)

    # ---- writing ----------------------------------------------------------------------------------------------

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        temperature: Annotated[float, Range(0.0, 2.0, 0.05)] = 1.0,
        top_k: Annotated[int, Range(0, 200)] = 0,
        top_p: Annotated[float, Range(0.0, 1.0, 0.01)] = 1.0,
        length: Annotated[int, Range(1, 2000)] = 300,
    ) -> Iterator[Frame]:
        """`length` characters, one a frame; lines end by themselves, and are filled up with ends."""
        n = self.space.size if self.lines else length
        x = torch.zeros(len(noise), n, dtype=torch.int64, device=self.device)
        known = torch.zeros_like(x, dtype=torch.bool)
        yield from self.complete(x, known, noise, temperature=temperature, top_k=top_k, top_p=top_p)

    def complete(
        self,
        x: Tensor,
        known: Tensor,
        noise: Noise,
        *,
        label: Tensor | None = None,
        temperature: Annotated[float, Range(0.0, 2.0, 0.05)] = 1.0,
        top_k: Annotated[int, Range(0, 200)] = 0,
        top_p: Annotated[float, Range(0.0, 1.0, 0.01)] = 1.0,
    ) -> Iterator[Frame]:
        """x (B, n), of which `known` (B, n) bool marks the beginning of each row, may be nothing or longer than the
        context: frames of (B, written so far). BadInput where what is known is not a beginning.
        """
        if (known[:, 1:] & ~known[:, :-1]).any():
            raise BadInput("Text is written from left to right: what is known must be its beginning.")
        n, first = x.shape[1], int(known.sum(1).min())
        written, cache = x.clone(), None
        yield Frame(written[:, :first], first, n)
        for i in range(first, n):
            with torch.no_grad():
                logits, cache = self._next(written, i, cache)
                drawn = noise.at(i).choice(kept(logits.double(), temperature, top_k, top_p)).to(x.device)
                drawn = self._ended(drawn, written[:, :i])
                written[:, i] = torch.where(known[:, i], x[:, i], drawn)
            if self.lines and not known[:, i + 1 :].any() and (written[:, : i + 1] == 0).any(1).all():
                written[:, i + 1 :] = 0
                yield Frame(written, n, n, calls=i + 1 - first)
                return
            yield Frame(written[:, : i + 1], i + 1, n, calls=i + 1 - first)

    def _next(self, written: Tensor, i: int, cache: Cache | None) -> tuple[Tensor, Cache | None]:
        """Logits (B, K) of character i, and the cache that has read all before it, as far as the context reaches."""
        start = self._start(i)
        if not self.cached:
            return self.decoder(written[:, start:i])[:, -1], None
        if cache is None or start != self._start(i - 1):
            logits, cache = self.decoder.start(len(written))
            return (self.decoder.step(written[:, start:i], cache) if i > start else logits), cache
        return self.decoder.step(written[:, i - 1 : i], cache), cache

    # ---- places -----------------------------------------------------------------------------------------------

    @property
    def _kept(self) -> int:
        """Characters that stay where the context is full."""
        return self.decoder.context // 2

    @property
    def _moved(self) -> int:
        """Characters that go where the context is full."""
        return self.decoder.context - self._kept

    def _start(self, i: int) -> int:
        """The first character that character i is given."""
        return self._moved * max(0, -((self.decoder.context - i) // self._moved))

    def _written(self, x: Tensor) -> Tensor:
        """Which places of x (B, n) count: all; of lines those up to and with the first end."""
        if not self.lines:
            return torch.ones_like(x, dtype=torch.bool)
        ends = (x == 0).cumsum(1)
        return (ends - (x == 0).long()) == 0

    def _ended(self, found: Tensor, before: Tensor) -> Tensor:
        """Drawn characters (B,) or log-probabilities (B, K), with ends for the lines that have ended in `before`."""
        if not self.lines:
            return found
        over = (before == 0).any(1)
        if found.dim() == 1:
            return found.masked_fill(over, 0)
        end = torch.full_like(found, float("-inf"))
        end[:, 0] = 0.0
        return torch.where(over[:, None], end, found)
