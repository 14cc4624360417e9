"""A transformer that writes chorales, voice after voice and sixteenth after sixteenth, with an exact likelihood.

Music Transformer (Huang et al., 2018), arXiv 1809.04281, on the tokens of its chorales; positions are rotary here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models import music
from gen_models.interface import BadInput, Choices, Frame, Range, Space
from gen_models.models.transformer import Transformer
from gen_models.nn import Cache, Decoder
from gen_models.noise import Noise

PLACES = music.VOICES * music.BAR  # tokens of a bar


class BarredDecoder(Decoder):
    """A decoder that knows which voice it writes, and where in the bar: each place of a bar has an embedding."""

    def __init__(self, *sizes: int, width: int, **config: Any):
        super().__init__(*sizes, width=width, **config)
        self.place = nn.Embedding(PLACES, width)
        nn.init.normal_(self.place.weight, std=0.1)

    def _placed(self, h: Tensor, first: int) -> Tensor:
        """h (B, n, C), of which the first writes token `first`, with their places in the bar."""
        return h + self.place(torch.arange(first, first + h.shape[1], device=h.device) % PLACES)

    def _entered(
        self, tokens: Tensor, label: Tensor | None, rng: torch.Generator | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, turn = super()._entered(tokens, label, rng)
        return self._placed(h, 0), turn

    def _read(self, h: Tensor, cache: Cache) -> Tensor:
        return super()._read(self._placed(h, cache.length), cache)


class ChoraleTransformer(Transformer):
    """Predicts each voice's pitch from the voices above it and all that sounded before, as far as its context reaches.

    A token is the pitch of one voice for one sixteenth, or a rest. Half a context is a whole number of bars, so that
    what is kept where the context is full begins with a bar.
    """

    how = "the chain rule, token by token"
    figure = "nats per token"
    network = BarredDecoder
    about = r"""
**Objective.** A chorale is written sixteenth after sixteenth, and in each the soprano, alto, tenor and bass; every
pitch is given a probability by all that was written before it,
$$\log p(x) = \sum_i \log p(x_i \mid x_1, \dots, x_{i-1}).$$
Training maximises that, in all keys: each piece is moved up or down by up to six semitones.

**Try first.** Give it an opening, and let it go on twice with another seed. Lower the temperature: long chords. Hear it
beside the recurrent GAN, and compare the statistics of what both write.

**Where it fails.** Its memory is four bars: a phrase may end well, but no theme comes back. It cannot tell a note that
is held from one that is struck again, as the grid cannot. Most of its certainty is that notes go on.

**Papers.** Vaswani et al. 2017, [arXiv 1706.03762](https://arxiv.org/abs/1706.03762); Huang et al. 2018,
[arXiv 1809.04281](https://arxiv.org/abs/1809.04281); the chorales: Boulanger-Lewandowski et al. 2012,
[arXiv 1206.6392](https://arxiv.org/abs/1206.6392).
"""

    @classmethod
    def check(cls, space: Space) -> None:
        if space.kind != "music" or space.encoding != "tokens":
            raise BadInput("This transformer writes chorales as tokens; choose such data to train it on.")
        if space.size % (2 * PLACES):
            raise BadInput(f"A context of {space.size} tokens is no even number of bars ({PLACES} tokens each).")

    @classmethod
    def limits(cls, space: Space, config: Mapping[str, Any]) -> Mapping[str, Range | Choices]:
        return {}

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        temperature: Annotated[float, Range(0.0, 2.0, 0.05)] = 1.0,
        top_k: Annotated[int, Range(0, 200)] = 0,
        top_p: Annotated[float, Range(0.0, 1.0, 0.01)] = 1.0,
        bars: Annotated[int, Range(1, 64)] = 16,
    ) -> Iterator[Frame]:
        """So many bars of 16 sixteenths, a token a frame."""
        x = torch.zeros(len(noise), 0, dtype=torch.int64, device=self.device)
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "bars": bars}
        yield from self.complete(x, torch.zeros_like(x, dtype=torch.bool), noise, **options)

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
        bars: Annotated[int, Range(1, 64)] = 16,
    ) -> Iterator[Frame]:
        """x (B, n) is the opening, n may be 0: it stays, and goes on until `bars` are full. Frames count tokens.

        BadInput where what is known is not a beginning.
        """
        more = max(0, PLACES * bars - x.shape[1])
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        yield from super().complete(F.pad(x, (0, more)), F.pad(known, (0, more)), noise, **options)
