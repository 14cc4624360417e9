"""Text as symbols: two sets that are fetched once, and whatever a person pastes or uploads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gen_models.data.fetching import MOST_BYTES, FetchedSet, fetch
from gen_models.interface import BadInput, Batch, Data, Space
from gen_models.noise import mixed

END = "\n"  # ends a line; the first symbol of every alphabet of lines
MOST_SYMBOLS = 6000
FEWEST_LINES = 20
WINDOWS = 10  # a text is at least so many windows long, so that each split holds one
_SHOWN = 12  # unknown symbols that a message names

Split = Literal["train", "valid", "test"]


class Text:
    """One long text, cut into valid, train and test in this order; x is a stretch of it, (B, length) int64.

    The validation split comes first, so that the test split follows what was trained on, as in published protocols.
    """

    log_prob = None

    def __init__(self, space: Space, symbols: Tensor, valid: int, test: int):
        """symbols (n,), of which the first `valid` are the validation split and the last `test` the test split."""
        self.space = space
        held, train, last = symbols.to(torch.int16).split([valid, len(symbols) - valid - test, test])
        self._splits = {"train": train, "valid": held, "test": last}

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        """n stretches of the training split that begin anywhere."""
        stretches = self._splits["train"].unfold(0, self.space.size, 1)
        return Batch(stretches[torch.randint(len(stretches), (n,), generator=rng)].long())

    def split(self, name: Split) -> Batch:
        """Consecutive stretches that do not overlap; what is left over at the end is not in them."""
        return Batch(self._splits[name].unfold(0, self.space.size, self.space.size).long())

    def whole(self, name: Split) -> Tensor:
        """The split in one piece: (n,) int64."""
        return self._splits[name].long()


class Lines:
    """Short pieces that end; x is one of them, filled up with ends: (B, length) int64."""

    log_prob = None

    def __init__(self, space: Space, lines: list[str], valid: int, test: int):
        """A fixed shuffle of all lines, repeats among them; the last `test` of it and the `valid` before are held."""
        self.space = space
        filled = "".join(line.ljust(space.size, END) for line in lines)
        rows = encoded(filled, space).to(torch.int16).view(len(lines), space.size)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(mixed("lines", len(rows))))
        train, held, last = rows[order].split([len(rows) - valid - test, valid, test])
        self._splits = {"train": train, "valid": held, "test": last}

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        """n lines of the training split, drawn with replacement."""
        rows = self._splits["train"]
        return Batch(rows[torch.randint(len(rows), (n,), generator=rng)].long())

    def split(self, name: Split) -> Batch:
        return Batch(self._splits[name].long())

    def unseen(self, name: Split) -> Batch:
        """The split's lines that the training split does not hold, each once."""
        known = {row.tobytes() for row in self._splits["train"].numpy()}
        rows = {row.tobytes(): k for k, row in enumerate(self._splits[name].numpy())}
        return Batch(self._splits[name][[k for row, k in rows.items() if row not in known]].long())


# ---- characters and symbols -----------------------------------------------------------------------------------


def encoded(text: str, space: Space) -> Tensor:
    """The text's characters as indices into the alphabet: (n,) int64, n may be 0.

    Line ends of any system count as one. BadInput names the characters that the alphabet does not have.
    """
    points, alphabet = _points(_unified(text)), _points("".join(space.alphabet))
    order = np.argsort(alphabet)
    place = np.searchsorted(alphabet, points, sorter=order).clip(max=len(alphabet) - 1)
    index = order[place]
    wrong = alphabet[index] != points
    if wrong.any():
        unknown = list(dict.fromkeys(map(chr, points[wrong][:10_000].tolist())))
        named = ", ".join(map(repr, unknown[:_SHOWN])) + (" and more" if len(unknown) > _SHOWN else "")
        raise BadInput(f"This model does not know {named}. It was trained on: {_written(space.alphabet)}")
    return torch.from_numpy(index.astype(np.int64))


def decoded(x: Tensor, space: Space) -> str:
    """Indices (n,) as text; of lines what stands before the first end."""
    text = "".join(space.alphabet[k] for k in x.tolist())
    return text.partition(END)[0] if space.encoding == "lines" else text


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _unified(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _written(alphabet: tuple[str, ...]) -> str:
    shown = "".join(c for c in alphabet if not c.isspace())
    blank = " and white space." if any(map(str.isspace, alphabet)) else ""
    return (shown if len(shown) <= 100 else f"{shown[:100]} ...") + blank


# ---- what a person brings -------------------------------------------------------------------------------------


def read_text(source: str | Path | bytes) -> str:
    """The text of a file, by its path or as bytes: UTF-8, of 8 MB at most.

    BadInput for what is missing, larger (the file is then not read), empty, binary, or written in another encoding.
    """
    if not isinstance(source, bytes):
        path = Path(source)
        if not path.is_file():
            raise BadInput(f"There is no file {path.name!r}. Check its name and folder.")
        _small_enough(path.stat().st_size)
        try:
            source = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path.name} cannot be read ({error.strerror}). Check its permissions.") from None
    _small_enough(len(source))
    if source.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput("This text is written in UTF-16. Save it as UTF-8 and try again.")
    if b"\0" in source:
        raise BadInput("This is a binary file, not a text. Choose a plain text file (.txt) in UTF-8.")
    try:
        text = _unified(source.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadInput(
            f"This is not text in UTF-8 (byte {error.start + 1} is no part of it). Save it as plain text in UTF-8."
        ) from None
    if not text.strip():
        raise BadInput("This text is empty. Choose one with something in it.")
    return text


def from_text(text: str, *, length: int = 64, lines: bool = False) -> Data:
    """A text as a data set; its alphabet is its own characters (code points), sorted.

    As running text, x is `length` characters that begin anywhere; the first tenth is the validation split, the last
    tenth the test split. As lines, each that is not blank is an x of its own, up to `length` - 1 characters long.
    BadInput for a text that is too short or too long, has too many different characters, or too long lines.
    """
    _small_enough(len(text))
    text = _unified(text)
    if not text.strip():
        raise BadInput("This text is empty. Paste or upload one with something in it.")
    return _from_lines(text, length) if lines else _from_running(text, length)


def _from_running(text: str, length: int) -> Text:
    if len(text) < WINDOWS * length:
        raise BadInput(
            f"This text has {len(text)} characters; at least {WINDOWS * length} are needed to train on stretches of "
            f"{length} and to test on others. Add more."
        )
    space, held = Space("text", (length,), alphabet=_alphabet(text)), len(text) // 10
    return Text(space, encoded(text, space), held, held)


def _from_lines(text: str, length: int) -> Lines:
    pieces = [line.strip() for line in text.split(END) if line.strip()]
    if len(pieces) < FEWEST_LINES:
        raise BadInput(f"This text has {len(pieces)} lines; at least {FEWEST_LINES} are needed. Add more.")
    longest = max(pieces, key=len)
    if len(longest) >= length:
        raise BadInput(
            f"The line {longest[:30]!r}... has {len(longest)} characters; {length - 1} are the most here. Shorten such "
            "lines, or train on the text as a whole."
        )
    space = Space("text", (len(longest) + 1,), alphabet=(END, *_alphabet("".join(pieces))), encoding="lines")
    return Lines(space, pieces, len(pieces) // 10, len(pieces) // 10)


def _alphabet(text: str) -> tuple[str, ...]:
    alphabet = tuple(sorted(set(text)))
    if len(alphabet) > MOST_SYMBOLS:
        raise BadInput(f"This text has {len(alphabet)} different characters; {MOST_SYMBOLS} are the most. Take a part.")
    if len(alphabet) < 2:
        raise BadInput("This text repeats one character. Take one with more to learn from.")
    if any("\ud800" <= c <= "\udfff" for c in alphabet):
        raise BadInput("This text holds halves of characters (surrogates). Save it as UTF-8 and bring it again.")
    return alphabet


def _small_enough(size: int) -> None:
    if size > MOST_BYTES:
        raise BadInput(
            f"This text is too large ({size / 2**20:.0f} MB): {MOST_BYTES >> 20} MB are the most. Bring a part of it."
        )


# ---- sets by name ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextSet(FetchedSet):
    """A text by name: where it comes from, what it holds, how much of it is held out."""

    valid: int  # characters or lines
    test: int

    def build(self, text: str) -> Text | Lines:
        if self.space.encoding == "lines":
            return Lines(self.space, text.split(), self.valid, self.test)
        return Text(self.space, encoded(text, self.space), self.valid, self.test)


def load_text_set(name: str) -> Data:
    """The set, read once per process; BadInput that says how to get it where it is missing."""
    with _LOCKS[name]:
        if name not in _LOADED:
            item = TEXT_SETS[name]
            _LOADED[name] = item.build(fetch(item).decode())
        return _LOADED[name]


_GITHUB = "https://raw.githubusercontent.com/karpathy"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

# The last 10 % of tiny-shakespeare are its test split, as nanoGPT holds out, and the first 5 % its validation split.
# The 5 % before the test split would be a poor choice: they begin the play that it goes on with, and without them in
# train a Kneser-Ney 7-gram needs 1.68 nats per character of it instead of 1.52.
# Names are split as makemore splits them, over all lines: 154 of the 1000 test names also occur in train.
TEXT_SETS = {
    item.name: item
    for item in (
        TextSet(
            "tiny-shakespeare",
            "Tiny Shakespeare",
            "Plays of William Shakespeare, in the excerpt of Andrej Karpathy's char-rnn (2015); public domain.",
            Space("text", (256,), alphabet=tuple(f"\n !$&',-.3:;?{_LETTERS.upper()}{_LETTERS}")),
            f"{_GITHUB}/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            valid=55_770,
            test=111_540,
        ),
        TextSet(
            "names",
            "Names",
            "32,033 first names from records of the US Social Security Administration (2018), "
            "as collected in Andrej Karpathy's makemore; MIT.",
            Space("text", (16,), alphabet=(END, *_LETTERS), encoding="lines"),
            f"{_GITHUB}/makemore/988aa59e4d8fefa526d06f3b453ad116258398d4/names.txt",
            "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
            valid=1000,
            test=1000,
        ),
    )
}

_LOADED: dict[str, Data] = {}
_LOCKS = {name: threading.Lock() for name in TEXT_SETS}
