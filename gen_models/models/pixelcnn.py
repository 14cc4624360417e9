"""PixelCNN: pictures of black and white pixels, written one after the other in reading order, with an exact likelihood.

Pixel Recurrent Neural Networks (van den Oord, Kalchbrenner and Kavukcuoglu, 2016), arXiv 1601.06759.
Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016), arXiv 1606.05328.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.interface import (
    BadInput,
    Batch,
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
from gen_models.noise import Noise

MOST = 64 * 64  # pixels in a picture
DILATIONS = (1, 2, 4, 8)  # rows between the two taps of a vertical convolution, layer by layer, again and again
DROPPED = 0.1  # how often training leaves out the class


def gated(x: Tensor) -> Tensor:
    """tanh of one half of the channels times the sigmoid of the other: (B, 2 C, ...) -> (B, C, ...).

    The sigmoid is that of twice its argument, (1 + tanh) / 2: one tanh serves both, and weights take up the factor.
    """
    value, gate = x.tanh().chunk(2, 1)
    return value * (0.5 + 0.5 * gate)


class GatedLayer(nn.Module):
    """One layer of both stacks; its kernels hold only the taps that a mask would leave.

    The vertical stack sees this row and one above it, three cells wide. The horizontal stack sees this cell, the one to
    its left, and what the vertical stack knows one row higher. Together they leave no blind spot.
    """

    def __init__(self, channels: int, dilation: int, classes: int):
        super().__init__()
        self.dilation = dilation
        self.vertical = nn.Conv2d(channels, 2 * channels, (2, 3))
        self.horizontal = nn.Conv2d(channels, 2 * channels, (1, 2))
        self.link = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)
        self.label = nn.Linear(classes, 4 * channels, bias=False) if classes else None
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=0.5)  # loud classes are heeded early

    def classes(self, label: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """What label rows (B, K) add before the gates of the two stacks, (B, 2 C, 1, 1) each; None without classes."""
        if self.label is None or label is None:
            return None, None
        return self.label(label.to(self.label.weight))[..., None, None].chunk(2, 1)

    def forward(self, v: Tensor, h: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both stacks, (B, C, rows, cells) -> the same one layer later."""
        on_v, on_h = self.classes(label)
        v = self.down(v, F.pad(v, (1, 1, self.dilation, 0)), on_v, self.dilation)
        b = _plus(self.horizontal(F.pad(h, (1, 0))), self.link(F.pad(v, (0, 0, 1, -1))))
        return v, h + self.out(gated(_plus(b, on_h)))

    def down(self, v: Tensor, window: Tensor, label: Tensor | None, dilation: int = 1) -> Tensor:
        """The vertical stack: v, and the padded rows around it that the kernel sees."""
        a = F.conv2d(window, self.vertical.weight, self.vertical.bias, dilation=(dilation, 1))
        return v + gated(_plus(a, label))

    def along(self, h: Tensor, left: Tensor, known: Tensor) -> Tensor:
        """The horizontal stack at one cell: h and `left` (B, C), what is known of rows above and class (B, 2 C)."""
        taps = torch.stack([left, h], 2).flatten(1)  # (B, C * 2), as the kernel's weights lie
        b = F.linear(taps, self.horizontal.weight.flatten(1), self.horizontal.bias)
        return h + F.linear(gated(b + known), self.out.weight.flatten(1), self.out.bias)


class PixelCNN(GenerativeModel, Completes, Predicts, Scores):
    """Gated PixelCNN over cells of `fold` neighbouring pixels of a row, pixel by pixel in reading order.

    A cell is an input with `fold` channels: the stacks are as many times smaller, and a picture takes as many times
    fewer passes to write. Within a cell the head foretells every pixel once for each way in which those to its left
    can have fallen (1 + 2 + 4 + ... logits, of which the picture chooses), so that the likelihood stays exact and no
    pixel sees one that comes later. fold = 1 is the network of the paper.
    """

    masks = "prefix"
    exact = True
    how = "the chain rule, pixel by pixel"
    about = r"""
**Objective.** A picture is written like a text, from left to right and from top to bottom, and every pixel is given a
probability by all those before it,
$$\log p(x) = \sum_i \log p(x_i \mid x_1, \dots, x_{i-1}).$$
Training maximises that. *Masked* convolutions see only what is already written, so that one pass over a picture scores
all its pixels at once. A *vertical stack* looks at the rows above, a *horizontal stack* along the row, and gates choose
what passes on.

**Try first.** Rub out the lower half of a digit and let it finish, several times: the same beginning has many endings.
Stop at a pixel, look at its probability and at what it can see, choose the other value and go on.

**Where it fails.** Writing takes one step after the other, pixel by pixel, however fast the computer. Nothing is ever
taken back: a stroke that begins badly must be made the best of. There is no code that stands for a whole picture, and
at low temperature everything turns black, the most probable colour of any pixel alone.

**Papers.** PixelRNN and PixelCNN: van den Oord et al. 2016, [arXiv 1601.06759](https://arxiv.org/abs/1601.06759); gates
and the two stacks: van den Oord et al. 2016, [arXiv 1606.05328](https://arxiv.org/abs/1606.05328).
"""

    def __init__(
        self,
        space: Space,
        *,
        channels: Annotated[int, Range(8, 128, 8)] = 48,
        layers: Annotated[int, Range(1, 16)] = 6,
        fold: Annotated[int, Range(1, 4)] = 4,
        conditional: bool = False,
    ):
        if space.kind != "image" or space.shape[0] != 1:
            raise BadInput("This PixelCNN writes black and white pixels; choose grey pictures.")
        rows, columns = space.shape[1:]
        if space.size > MOST:
            raise BadInput(f"This PixelCNN is for pictures of up to {MOST} pixels, not {rows} x {columns}.")
        if columns % fold:
            raise BadInput(f"Pictures {columns} pixels wide cannot be cut into cells of {fold}; choose another fold.")
        super().__init__(space, conditional=conditional)
        self.fold, self.grid = fold, (rows, columns // fold)
        self.cached = True  # computes only what is new while it writes; without it the whole picture for every cell
        nodes = 2**fold - 1
        self.vertical_stem = nn.Conv2d(fold, channels, (3, 3))
        self.horizontal_stem = nn.Conv2d(fold, channels, (1, 2))
        self.places = nn.Parameter(0.1 * torch.randn(2, *self.grid, channels))  # of the two stacks
        self.layers = nn.ModuleList(
            GatedLayer(channels, DILATIONS[i % len(DILATIONS)], len(self.labels)) for i in range(layers)
        )
        self.hidden = nn.Conv2d(channels, 2 * channels, 1)
        self.head = nn.Conv2d(2 * channels, nodes, 1)
        self.base = nn.Parameter(torch.zeros(nodes, *self.grid))  # logits before anything is seen

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        """Every pixel starts at its mean brightness: training need not find it."""
        white = (self.folded(batch.x).mean(0) + 1) / 2  # (fold, rows, cells)
        logit = torch.logit(white.clamp(0.001, 0.999))
        self.base.copy_(torch.cat([logit[k : k + 1].expand(2**k, -1, -1) for k in range(self.fold)]))

    # ---- the network -------------------------------------------------------------------------------------------

    def folded(self, x: Tensor) -> Tensor:
        """Pictures (B, 1, H, W) as cells (B, fold, H, W / fold)."""
        return x.reshape(len(x), *self.grid, self.fold).permute(0, 3, 1, 2)

    def nodes(self, cells: Tensor, label: Tensor | None) -> Tensor:
        """Cells (B, fold, rows, cells) -> logits of all ways a cell can go on, (B, 2^fold - 1, rows, cells)."""
        on_v, on_h = self.places.permute(0, 3, 1, 2)[:, None]
        cells = cells.contiguous(memory_format=torch.channels_last)  # much the fastest order for narrow layers
        v = _plus(self.vertical_stem(F.pad(cells, (1, 1, 2, 0))), on_v)
        h = _plus(self.horizontal_stem(F.pad(cells, (2, -1))), on_h)
        for layer in self.layers:
            v, h = layer(v, h, label)
        out = self.head(F.relu(self.hidden(F.relu(h))))
        return out.to(self.base.dtype) + self.base

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Pictures (B, 1, H, W) in [-1, 1], label rows (B, K) -> the logit of every pixel's white, (B, 1, H, W).

        No logit depends on its own pixel or on a later one; unknown pixels may hold anything, such as 0.
        """
        cells = self.folded(x)
        nodes = self.nodes(cells, label)
        share, logits = torch.ones_like(cells[:, :1]), []  # of each way the cell can have begun: all on one
        for k in range(self.fold):
            logits.append((share * nodes[:, 2**k - 1 : 2 ** (k + 1) - 1]).sum(1))
            pixel = cells[:, k : k + 1]
            share = torch.cat([share * (1 - pixel) / 2, share * (1 + pixel) / 2], 1)
        return torch.stack(logits, -1).reshape(x.shape)

    def receptive_field(self, n: int) -> Tensor:
        """The pixels that pixel n, counted in reading order, can see: (H, W) bool."""
        row, column = divmod(n, self.space.shape[2])
        h = torch.zeros(self.grid, dtype=torch.bool)
        h[row, column // self.fold] = True
        v = torch.zeros_like(h)
        for layer in reversed(self.layers):
            v = v | _moved(h, -1, 0)
            h = h | _moved(h, 0, -1)
            v = v | _moved(v, -layer.dilation, 0)
            v = v | _moved(v, 0, -1) | _moved(v, 0, 1)
        for _ in range(2):
            v = v | _moved(v, -1, 0)
        seen = v | _moved(v, 0, -1) | _moved(v, 0, 1) | _moved(h, 0, -1) | _moved(h, 0, -2)
        seen = seen.repeat_interleave(self.fold, 1)
        seen[row, column - column % self.fold : column] = True
        return seen

    # ---- the likelihood ----------------------------------------------------------------------------------------

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        """Nats per picture, binarised anew, with the class left out now and then."""
        x = _binarised(batch.x, torch.rand(batch.x.shape, generator=turn.rng).to(batch.x.device))
        label = self.label_rows(batch.label, len(x))
        if label is not None:
            label = label * (torch.rand(len(x), 1, generator=turn.rng) >= DROPPED).to(label)
        cost = -self.log_probs(x, label=label).sum(1)
        return Loss(cost.mean(), {"negative log-likelihood": cost})

    def log_prob(
        self, x: Tensor, noise: Noise | None = None, *, label: Tensor | None = None, samples: int = 1
    ) -> Tensor:
        """log p(x), (B,) nats, exact, of pictures binarised from `noise` with their brightness as probability."""
        noise = noise or Noise(range(len(x)), x.device)
        return self.log_probs(_binarised(x, noise.uniform(*x.shape[1:]).to(x.device)), label=label).sum(1)

    @classmethod
    def measure(cls, space: Space, config: Mapping[str, Any]) -> Literal["binary"]:
        return "binary"

    def log_probs(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """x (B, 1, H, W), white above 0 -> (B, H W) nats of each pixel given those before it."""
        x = torch.where(x > 0, 1.0, -1.0).to(x)
        return F.logsigmoid(x * self(x, self.label_rows(label, len(x)))).flatten(1)

    def next_distribution(self, prefix: Tensor, *, label: Tensor | None = None) -> Tensor:
        """prefix (B, n) of 0 and 1 in reading order -> nats (B, 2) of the next pixel's black and white."""
        n = prefix.shape[1]
        if n >= self.space.size:
            raise BadInput(f"Nothing follows: all {self.space.size} pixels stand. Take one back.")
        if ((prefix != 0) & (prefix != 1)).any():
            raise BadInput("Pixels are 0 (black) or 1 (white).")
        x = F.pad(2.0 * prefix.to(self.base) - 1, (0, self.space.size - n)).view(-1, *self.space.shape)
        logit = self(x, self.label_rows(label, len(x))).flatten(1)[:, n]
        return torch.stack([F.logsigmoid(-logit), F.logsigmoid(logit)], 1)

    # ---- writing -----------------------------------------------------------------------------------------------

    def sample(
        self, noise: Noise, *, label: Tensor | None = None, temperature: Annotated[float, Range(0.0, 2.0, 0.05)] = 1.0
    ) -> Iterator[Frame]:
        """A frame per row."""
        x = torch.zeros(len(noise), *self.space.shape)
        yield from self.complete(x, x.bool(), noise, label=label, temperature=temperature)

    def complete(
        self,
        x: Tensor,
        known: Tensor,
        noise: Noise,
        *,
        label: Tensor | None = None,
        temperature: Annotated[float, Range(0.0, 2.0, 0.05)] = 1.0,
    ) -> Iterator[Frame]:
        """A frame per row that is not wholly known; x and known (B, 1, H, W), what is known comes first.

        Row i is drawn with `noise.at(i)`: a run that goes on from what another wrote draws as that one did. A call is
        one cell of all pictures.
        """
        x, known = self._begun(x, known)
        whole = int(known.all(0).flatten().cumprod(0).sum()) // self.space.shape[2]  # rows that all pictures know
        total, row_of = self.grid[0] - whole, self.label_rows(label, len(x))
        writer = _Writer(self, row_of) if self.cached else _Rereader(self, row_of)
        yield Frame(x.clone(), 0, total)
        for step, row in enumerate(range(whole, self.grid[0]), 1):
            self._write(x, known, row, noise.at(row), writer, temperature)
            yield Frame(x.clone(), step, total, calls=step * self.grid[1])

    def _begun(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """What is known as -1 and 1, what is not as 0; BadInput when a known pixel comes after an unknown one."""
        if x.shape[1:] != self.space.shape or known.shape != x.shape:
            raise BadInput(f"Pictures here are {self.space.shape}, not {tuple(x.shape[1:])}.")
        x, known = x.to(self.base), known.to(self.device, torch.bool)
        order = known.flatten(1)
        if (order[:, 1:] & ~order[:, :-1]).any():
            raise BadInput(
                "PixelCNN writes from the top, left to right, and can only go on from there: keep the upper rows, "
                "and of one row the left part, and rub out all below."
            )
        return torch.where(known, torch.where(x > 0, 1.0, -1.0), 0.0).to(x), known

    @torch.no_grad()
    def _write(
        self, x: Tensor, known: Tensor, row: int, noise: Noise, writer: _Writer | _Rereader, temperature: float
    ) -> None:
        """Fills in one row of x, cell by cell and pixel by pixel."""
        u = noise.uniform(self.space.shape[2]).to(x)
        for cell in range(self.grid[1]):
            nodes = writer.nodes(x, row, cell)  # (B, 2^fold - 1)
            way = torch.zeros(len(x), dtype=torch.int64, device=x.device)  # how the cell has begun, as bits
            for k in range(self.fold):
                column = cell * self.fold + k
                logit = nodes.gather(1, (2**k - 1 + way)[:, None])[:, 0]
                white = u[:, column] < torch.sigmoid(logit / temperature) if temperature else logit > 0
                white = torch.where(known[:, 0, row, column], x[:, 0, row, column] > 0, white)
                x[:, 0, row, column] = torch.where(white, 1.0, -1.0).to(x)
                way = way + 2**k * white


class _Rereader:
    """The whole network again for every cell: what `_Writer` must agree with."""

    def __init__(self, model: PixelCNN, label: Tensor | None):
        self.model, self.label = model, label

    def nodes(self, x: Tensor, row: int, cell: int) -> Tensor:
        return self.model.nodes(self.model.folded(x), self.label)[:, :, row, cell]


class _Writer:
    """Computes only what is new: the vertical stack once per row, the horizontal one once per cell."""

    def __init__(self, model: PixelCNN, label: Tensor | None):
        self.model = model
        self.labels = [layer.classes(label) for layer in model.layers]
        self.rows: list[list[Tensor]] = [[] for _ in model.layers]  # what each layer was given, (B, C, 1, cells) a row
        self.known: list[Tensor] = []  # what each layer knows of rows above and class, (B, 2 C, cells)
        self.left: list[Tensor] = []  # what each layer was given at the cell to the left, (B, C)

    def nodes(self, x: Tensor, row: int, cell: int) -> Tensor:
        """Logits (B, 2^fold - 1) of a cell; cells are asked for in reading order, rows before them are in x."""
        model, cells = self.model, self.model.folded(x)
        while len(self.rows[0]) < row:
            self._below(cells, len(self.rows[0]))
        if cell == 0:
            self._enter(cells, row)
        stem = model.horizontal_stem
        h = F.linear(
            F.pad(cells[:, :, row], (2, 0))[..., cell : cell + 2].flatten(1), stem.weight.flatten(1), stem.bias
        )
        h = h + model.places[1, row, cell]
        for i, layer in enumerate(model.layers):
            left, self.left[i] = self.left[i], h
            h = layer.along(h, left, self.known[i][..., cell])
        h = F.relu(F.linear(F.relu(h), model.hidden.weight.flatten(1), model.hidden.bias))
        return F.linear(h, model.head.weight.flatten(1), model.head.bias) + model.base[:, row, cell]

    def _below(self, cells: Tensor, row: int) -> None:
        """The vertical stack takes in a finished row."""
        window = F.pad(cells[:, :, max(0, row - 2) : row + 1], (1, 1, max(0, 2 - row), 0))
        v = self.model.vertical_stem(window) + self.model.places[0, row].T[:, None]
        self.known = []
        for layer, rows, (on_v, on_h) in zip(self.model.layers, self.rows, self.labels, strict=True):
            rows.append(v)
            above = rows[row - layer.dilation] if row >= layer.dilation else torch.zeros_like(v)
            v = layer.down(v, F.pad(torch.cat([above, v], 2), (1, 1)), on_v)
            self.known.append(_plus(layer.link(v), on_h)[:, :, 0])

    def _enter(self, cells: Tensor, row: int) -> None:
        """A new row begins: nothing stands to the left of it, and above the first row there is nothing either."""
        channels = self.model.places.shape[-1]
        self.left = [cells.new_zeros(len(cells), channels)] * len(self.model.layers)
        if row == 0:
            nothing = cells.new_zeros(len(cells), 2 * channels, 1, self.model.grid[1])
            self.known = [_plus(nothing, on_h)[:, :, 0] for _, on_h in self.labels]


def _plus(a: Tensor, b: Tensor | None) -> Tensor:
    """a + b in the precision of a; b may be missing."""
    return a if b is None else a + b.to(a.dtype)


def _moved(cells: Tensor, down: int, right: int) -> Tensor:
    """A mask (rows, cells) moved so far; what leaves the grid is gone."""
    return F.pad(cells, (right, -right, down, -down))


def _binarised(x: Tensor, u: Tensor) -> Tensor:
    """-1 or 1 per pixel, 1 with probability (x + 1) / 2."""
    return torch.where(u < (x + 1) / 2, 1.0, -1.0).to(x)
