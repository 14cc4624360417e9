"""A recurrent generator of events against a recurrent discriminator, for music and for text.

C-RNN-GAN: Continuous recurrent neural networks with adversarial training (Mogren, 2016), arXiv 1611.09904.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gen_models import music
from gen_models.interface import (
    BadInput,
    Batch,
    Choices,
    Completes,
    Criticises,
    Decodes,
    Frame,
    GenerativeModel,
    Loss,
    Range,
    Scores,
    Space,
    Turn,
)
from gen_models.models.events import Fields, Judge, Pick, Walk, Writer
from gen_models.nn import kept
from gen_models.noise import Noise

GAME = "game"  # the stage after the likelihood's


class CRNNGAN(GenerativeModel, Completes, Decodes, Scores, Criticises):
    """Writes event after event; first by likelihood, then against a discriminator that hears what it writes.

    An event is a row of whole numbers: of music the sixteenths since the event before, its length and a pitch for each
    voice, of text one symbol. The paper has real numbers and rounds them; here each field is a choice, one after
    another, so that pre-training is an exact likelihood. Through a choice the game's gradient goes as if it were soft:
    Categorical Reparameterization with Gumbel-Softmax (Jang, Gu and Poole, 2016), arXiv 1611.01144. Real and generated
    are compared in pairs: The relativistic discriminator (Jolicoeur-Martineau, 2018), arXiv 1807.00734.
    """

    players = ("generator", "discriminator")
    masks = "prefix"
    exact = True
    how = "the chain rule, event by event and field by field"
    normal = True
    about = r"""
**Objective.** Two recurrent networks. The generator writes a piece event by event, reading what it wrote last; the
discriminator reads the piece from both ends and says how real it is. First the generator learns by likelihood, each
event from the true ones before it; then it is left alone with its own mistakes, and the game teaches it to go on from
those: $\min_G \mathbb{E} \log(1 + e^{D(x) - D(G(z))})$ against $\min_D \mathbb{E} \log(1 + e^{D(G(z)) - D(x)})$, with
*feature matching* (the discriminator's mean states on real and generated pieces agree) and a little of the likelihood
as an anchor. An event of music is (sixteenths since the last, length, four pitches).

**Try first.** Play a piece; then give it an opening and let it go on. Lower the temperature: it gets safer, then stuck.
Walk from one piece to another: of every choice a higher $z$ is a higher pitch.

**Where it fails.** It has a memory of some bars: phrases sound like Bach, pieces go nowhere. Of whole numbers the game
has only a rough gradient, and it changes less than the likelihood did before; without an anchor it forgets the music.
The transformer beside it has the better likelihood.

**Papers.** Mogren 2016, [arXiv 1611.09904](https://arxiv.org/abs/1611.09904), where events are real numbers that are
rounded; gradients through choices: Jang, Gu and Poole 2016, [arXiv 1611.01144](https://arxiv.org/abs/1611.01144);
comparing in pairs: Jolicoeur-Martineau 2018, [arXiv 1807.00734](https://arxiv.org/abs/1807.00734); feature matching:
Salimans et al. 2016, [arXiv 1606.03498](https://arxiv.org/abs/1606.03498).
"""

    def __init__(
        self,
        space: Space,
        *,
        width: Annotated[int, Range(16, 512, 16)] = 160,
        dropout: Annotated[float, Range(0.0, 0.5, 0.05)] = 0.2,
        window: Annotated[int, Range(4, 128)] = 40,
        softness: Annotated[float, Range(0.1, 5.0, 0.1)] = 1.0,
        matching: Annotated[float, Range(0.0, 100.0, 0.1)] = 1.0,
        anchor: Annotated[float, Range(0.0, 10.0, 0.1)] = 2.0,
    ):
        """`window`: events of a piece in the game; `softness`: the temperature of its soft choices; `matching` and
        `anchor`: the weights of feature matching and of the likelihood (nats per event) beside the game's own loss.
        """
        super().__init__(space)
        self.fields = Fields.of(space)
        self.window, self.softness, self.matching, self.anchor = window, softness, matching, anchor
        self.latent_shape = (space.shape[0], len(self.fields.sizes))
        self.generator = Writer(self.fields, width, dropout)
        self.discriminator = Judge(self.fields, width // 16 * 8)

    @classmethod
    def limits(cls, space: Space, config: Mapping[str, Any]) -> Mapping[str, Range | Choices]:
        """Music is as long as its bars, a line ends by itself, other text has a length."""
        ends = {} if space.kind == "text" and space.encoding == "plain" else {"length": Range(*2 * space.shape[:1])}
        return ends if space.kind == "music" else {"bars": Range(1, 1), **ends}

    # ---- the likelihood, then the game ---------------------------------------------------------------------------

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        x = self.fields.rows(batch.x)
        if turn.player == "generator" and turn.stage != GAME:
            return self._likelihood(x, turn)
        x = x[:, : self.window]
        real, size = self.fields.one_hot(x), x.shape[:2]
        if turn.player == "discriminator":
            with torch.no_grad():
                generated = self.generated(*size, turn.rng)
            return self._judged(real, generated)
        on_real, states = self.discriminator(real)
        on_generated, others = self.discriminator(self.generated(*size, turn.rng))
        game = F.softplus(on_real - on_generated).mean()
        matching = (states.mean(0) - others.mean(0)).square().sum()
        show = {"generator": game, "feature matching": matching}
        value = game + self.matching * matching
        if self.anchor:
            likelihood = self._likelihood(self.fields.rows(batch.x), turn)
            value, show = value + self.anchor * likelihood.minimise, show | likelihood.show
        return Loss(value, show)

    def _likelihood(self, x: Tensor, turn: Turn) -> Loss:
        nats = -self._log_probs(x, turn.rng if self.training else None)
        mean = nats.sum() / self.fields.counted(x).sum()
        return Loss(mean, {f"nats per {'event' if self.fields.kind == 'music' else 'character'}": mean})

    def _judged(self, real: Tensor, generated: Tensor) -> Loss:
        """The discriminator's loss on one-hot events (B, T, S)."""
        on_real, on_generated = self.discriminator(real, keep=True)[0], self.discriminator(generated)[0]
        value = F.softplus(on_generated - on_real).mean()
        return Loss(value, {"discriminator": value, "discriminator is right": (on_real > on_generated).float()})

    def generated(self, count: int, events: int, rng: torch.Generator) -> Tensor:
        """Pieces by free-running choices, one-hot (count, events, S), soft for the gradient."""
        device, walk, rows = self.device, self.generator.begin(count), []
        size = (count, sum(self.fields.sizes))

        for _ in range(events):
            u = torch.rand(size, generator=rng).clamp(1e-9, 1 - 1e-7).to(device)
            gumbel = (-(-u.log()).log()).split(self.fields.sizes, -1)

            def pick(field: int, logits: Tensor, gumbel: tuple[Tensor, ...] = gumbel) -> Tensor:
                soft = ((logits + gumbel[field]) / self.softness).softmax(-1)
                hard = F.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft)
                return hard + soft - soft.detach()

            rows.append(self.generator.step(walk, pick))
        return torch.stack(rows, 1)

    # ---- what it can do ----------------------------------------------------------------------------------------

    def log_prob(
        self, x: Tensor, noise: Noise | None = None, *, label: Tensor | None = None, samples: int = 1
    ) -> Tensor:
        """log p(x), (B,) nats, exact, of pieces of any length; rows of zeros are nothing, a line ends with its end.

        Minus infinity for an event that begins together with the one before it, which is never written.
        """
        return self._log_probs(self.fields.rows(x)).sum(1)

    @classmethod
    def measure(cls, space: Space, config: Mapping[str, Any]) -> Literal["symbols"]:
        return "symbols"

    def _log_probs(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """x (B, T, F) -> nats of each event given those before it: (B, T)."""
        index = self.fields.index(x)
        logits = self.generator(self.fields.one_hot(x, self.generator.enter.weight.dtype), rng)
        nats = [one.log_softmax(-1).gather(-1, index[..., f, None])[..., 0] for f, one in enumerate(logits)]
        return torch.where(self.fields.counted(x), sum(nats), 0.0)

    def criticise(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """(B,) scores of the discriminator for the first `window` events; only their order means something."""
        return self.discriminator(self.fields.one_hot(self.fields.rows(x)[:, : self.window]), alone=True)[0]

    @torch.no_grad()
    def decode(self, z: Tensor, *, label: Tensor | None = None) -> Tensor:
        """z (B, n, fields), n events -> (B, n, 6) of music, (B, n) of text: what each standard normal number chooses.

        A field takes the first value whose cumulative probability exceeds Phi(z), so a higher z is a higher pitch. No
        gradient passes through choices.
        """
        nothing = torch.zeros(*z.shape[:2], len(self.fields.sizes), dtype=torch.int64, device=self.device)
        *_, last = self._frames(nothing, torch.zeros_like(nothing[..., 0], dtype=torch.bool), lambda i: z[:, i])
        return last.x

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        temperature: Annotated[float, Range(0.0, 2.0, 0.05)] = 1.0,
        bars: Annotated[int, Range(1, 64)] = 16,
        length: Annotated[int, Range(1, 2000)] = 300,
    ) -> Iterator[Frame]:
        """Music of so many `bars`, or text of `length` symbols (lines end by themselves); event by event."""
        if self.space.kind == "music":
            shape = (len(noise), 0, music.FIELDS)
        else:
            shape = (len(noise), self.space.size if self.space.encoding == "lines" else length)
        x = torch.zeros(shape, dtype=torch.int64, device=self.device)
        yield from self.complete(x, torch.zeros_like(x, dtype=torch.bool), noise, temperature=temperature, bars=bars)

    def complete(
        self,
        x: Tensor,
        known: Tensor,
        noise: Noise,
        *,
        label: Tensor | None = None,
        temperature: Annotated[float, Range(0.0, 2.0, 0.05)] = 1.0,
        bars: Annotated[int, Range(1, 64)] = 16,
    ) -> Iterator[Frame]:
        """Goes on from the beginning that is known, event by event; event i of a piece draws from noise.at(i).

        Of music x (B, n, 6) is the opening, n may be 0, which stays and goes on until `bars` are full; the last event
        is cut there. Frames grow event by event and count sixteenths. Text x (B, n) is filled up; frames count symbols.
        BadInput where what is known is not a beginning.
        """
        given, known = self.fields.rows(x), self.fields.rows(known)[..., 0]
        if self.space.kind == "music":
            known = known & (given[..., 1] > 0)
        if (known[:, 1:] & ~known[:, :-1]).any():
            raise BadInput("Events are written one after another: what is known must be the beginning.")
        end = music.BAR * bars if self.space.kind == "music" else None

        def drawn(i: int) -> Tensor:
            return noise.at(i).normal(len(self.fields.sizes))

        yield from self._frames(given * known[..., None], known, drawn, temperature, end)

    # ---- writing ------------------------------------------------------------------------------------------------

    def _frames(
        self,
        given: Tensor,
        known: Tensor,
        drawn: Callable[[int], Tensor],
        temperature: float = 1.0,
        end: int | None = None,
    ) -> Iterator[Frame]:
        """Pieces that begin with the events `given` (B, n, F) where they are `known` (B, n); others choose by `drawn`.

        Up to sixteenth `end`; without one as many events as were given. The first frame of music holds the longest
        opening: shorter ones have gone on beside it.
        """
        n, first = known.shape[1], int(known.sum(1).amax() if end else known.sum(1).amin())
        most, total = (n, n) if end is None else (n + end, end)  # no two events begin together
        index, known = F.pad(self.fields.index(given), (0, 0, 0, most - n)), F.pad(known, (0, most - n))
        given = F.pad(given, (0, 0, 0, most - n))
        written, full = torch.zeros_like(given), torch.zeros(len(given), dtype=torch.bool, device=given.device)
        walk = self.generator.begin(len(given))
        if not first:
            yield Frame(self.fields.shaped(written[:, :0]), 0, total)
        for i in range(most):
            pick = self._picking(drawn(i).to(given.device), index[:, i], known[:, i], temperature)
            with torch.no_grad():
                row = self.fields.values(self.generator.step(walk, pick))
            if end is not None:
                row = _cut(row, end - walk.start, full)
                full = full | (walk.start + row[:, 1] >= end) | (row[:, 1] == 0)
            written[:, i] = torch.where(known[:, i, None], given[:, i], row)
            over = self._over(walk, full) and not known[:, i + 1 :].any()
            filled = i + 1 if end is None else int(torch.where(full, end, walk.start + 1).clamp_max(end).min())
            if i + 1 >= first:
                count = most if over and end is None else i + int(written[:, i].any() or end is None)
                filled = total if over else filled
                yield Frame(self.fields.shaped(written[:, :count]), filled, total, calls=i + 1 - first)
            if over:
                return

    def _over(self, walk: Walk, full: Tensor) -> bool:
        """Nothing more can follow: every piece of music is full, every line has ended."""
        return bool(full.all()) if self.space.kind == "music" else self.fields.ends and not walk.open.any()

    @staticmethod
    def _picking(z: Tensor, index: Tensor, known: Tensor, temperature: float) -> Pick:
        """Choices by z (B, F), standard normal numbers; where an event is known, `index` (B, F) says what it holds."""
        u = torch.special.ndtr(z.double()).clamp_max(1 - 1e-12)

        def pick(field: int, logits: Tensor) -> Tensor:
            reached = kept(logits.double(), temperature).cumsum(-1)
            chosen = (u[:, field, None] * reached[:, -1:] >= reached).sum(-1)
            return F.one_hot(torch.where(known, index[:, field], chosen), logits.shape[-1]).to(logits)

        return pick


def _cut(row: Tensor, left: Tensor, full: Tensor) -> Tensor:
    """Events (B, 6) of which so many sixteenths (B,) have room; none in pieces that are full or have no room left."""
    none = full | (left <= 0)
    length = torch.minimum(row[:, 1], left.clamp_min(0))
    return torch.cat([row[:, :1], length[:, None], row[:, 2:]], 1).masked_fill(none[:, None], 0)
