"""What every part shares: where data lives, what a model can do, and what travels between them."""

from __future__ import annotations

import inspect
import math
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from gen_models.noise import Noise


class BadInput(ValueError):
    """Something that a person can mend: the message says what is wrong and what to do. No traceback is shown."""


# ---- where x lives --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Space:
    """Where x lives; known without reading the data. Images lie in [-1, 1], shape (C, H, W); points are (2,)."""

    kind: Literal["points", "image", "text", "music"]
    shape: tuple[int, ...]
    alphabet: tuple[str, ...] = ()  # symbols of discrete x
    labels: tuple[str, ...] = ()  # class names when the data has classes
    domains: tuple[str, ...] = ()  # two names when the data is two unpaired sets
    encoding: Literal["plain", "events", "tokens"] = "plain"

    @property
    def size(self) -> int:
        """Numbers in one x."""
        return math.prod(self.shape)


class Batch(NamedTuple):
    """x (B, *shape), one class index per row (B,) int64 where the data has classes, and domain B's x."""

    x: Tensor
    label: Tensor | None = None
    other: Tensor | None = None


class Data(Protocol):
    """A data set: its Space without reading it, random batches, three splits, and the true density where known."""

    space: Space
    log_prob: Callable[[Tensor], Tensor] | None  # (B, *shape) -> (B,) nats

    def batch(self, n: int, rng: torch.Generator) -> Batch: ...

    def split(self, name: Literal["train", "valid", "test"]) -> Batch: ...


# ---- options: read from a signature, shown as controls, checked in one place -----------------------------------


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both included."""

    low: float
    high: float
    step: float | None = None
    log: bool = False  # a slider for it is logarithmic


@dataclass(frozen=True)
class Choices:
    """The values an option may take."""

    values: tuple


@dataclass(frozen=True)
class Option:
    """One keyword that a person may set: its bounds or choices, its default and its type."""

    name: str
    allowed: Range | Choices
    default: Any
    type: type

    @property
    def fixed(self) -> bool:
        """Nothing to choose: the page shows no control for it."""
        if isinstance(self.allowed, Range):
            return self.allowed.low >= self.allowed.high
        return len(self.allowed.values) < 2

    def check(self, value: Any) -> Any:
        """The value in the option's type; BadInput that names the bounds otherwise."""
        if isinstance(self.allowed, Choices):
            if self.type is bool and isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"):
                value = value.lower() in ("true", "yes")
            for allowed in self.allowed.values:
                if value == allowed or (self.type is not bool and str(value) == str(allowed)):
                    return allowed
            raise BadInput(f"{self.name} is one of {', '.join(map(str, self.allowed.values))}; got {value!r}.")
        low, high = self.allowed.low, self.allowed.high
        kind = "whole number" if self.type is int else "number"
        what = f"{self.name} is a {kind} from {low:.10g} to {high:.10g}; got {value!r}."
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise BadInput(what) from None
        if not low <= number <= high or (self.type is int and number != int(number)):  # NaN fails the comparison
            raise BadInput(what)
        return self.type(number)


def options(method: Callable, limits: Mapping[str, Range | Choices] | None = None) -> dict[str, Option]:
    """The options of a method: its keyword-only parameters annotated Range, Choices, Literal or bool.

    `start` and `label` never are. `limits` narrows an option to what an instance allows; its default follows.
    """
    hints = typing.get_type_hints(method, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or name in ("start", "label"):
            continue
        hint, default = hints.get(name), parameter.default
        kind, allowed = hint, None
        if typing.get_origin(hint) is Annotated:
            kind = typing.get_args(hint)[0]
            allowed = next((a for a in hint.__metadata__ if isinstance(a, Range | Choices)), None)
        elif typing.get_origin(hint) is Literal:
            kind, allowed = type(typing.get_args(hint)[0]), Choices(typing.get_args(hint))
        elif hint is bool:
            allowed = Choices((False, True))
        if allowed is None:
            continue
        if limits and name in limits:
            allowed = limits[name]
            if isinstance(allowed, Range):
                default = kind(min(max(default, allowed.low), allowed.high))
            elif default not in allowed.values:
                default = allowed.values[0]
        found[name] = Option(name, allowed, default, kind)
    return found


def checked(method: Callable, values: Mapping[str, Any], limits: Mapping[str, Range | Choices] | None = None) -> dict:
    """Every option of the method with its checked value, defaults filled in; BadInput for unknown or out of bounds."""
    known = options(method, limits)
    unknown = [name for name in values if name not in known]
    if unknown:
        raise BadInput(f"Unknown option {', '.join(unknown)}; this model has {', '.join(known) or 'no options'}.")
    return {name: option.check(values.get(name, option.default)) for name, option in known.items()}


def checked_seed(seed: Any, count: int = 1) -> int:
    """A seed such that seed .. seed + count - 1 all lie in 0 .. 2^32 - 1; BadInput otherwise."""
    return Option("seed", Range(0, 2**32 - max(count, 1)), 0, int).check(seed)


# ---- what travels ---------------------------------------------------------------------------------------------


class Turn(NamedTuple):
    """One player's move; step and done (0..1) count within the stage."""

    player: str
    stage: str
    step: int
    done: float
    rng: torch.Generator  # on the CPU; draw there and move
    teacher: GenerativeModel | None = None


class Loss(NamedTuple):
    """The scalar to minimise, and named figures of any shape to show."""

    minimise: Tensor
    show: Mapping[str, Tensor]


class State(NamedTuple):
    """Enough to go on from a step of denoising; step n draws noise.at(n); history holds earlier (t, x0) pairs."""

    t: float
    x: Tensor
    step: int = 0
    history: tuple[tuple[float, Tensor], ...] = ()


class Frame(NamedTuple):
    """One step of sampling. The first frame is the start (0 calls), the last one IS the sample."""

    x: Tensor  # always in the model's Space
    step: int
    total: int
    x0: Tensor | None = None  # the present guess of the finished sample, made before the step to `state`
    show: Mapping[str, Tensor] | None = None
    state: State | None = None
    calls: int = 0  # calls of the network since this run's start


class Guess(NamedTuple):
    """What a denoiser says of x_t: the clean x0 and the noise eps, with x_t = alpha x0 + sigma eps."""

    x0: Tensor
    eps: Tensor


def at_once(x: Tensor) -> Iterator[Frame]:
    """The frames of a model that samples in one go: an empty start in Space, then the sample."""
    yield Frame(torch.zeros_like(x), 0, 1)
    yield Frame(x, 1, 1, calls=1)


# ---- a model and what it can do -------------------------------------------------------------------------------


class GenerativeModel(nn.Module, ABC):
    """Parameters, a loss, and an honest list of abilities in the class header."""

    players: ClassVar[tuple[str, ...]] = ("",)  # child modules with a loss of their own; "" is the model itself
    about: ClassVar[str] = ""  # the family's words, Markdown: objective, what to try first, where it fails, paper

    def __init__(self, space: Space, *, conditional: bool = False):
        super().__init__()
        if conditional and not space.labels:
            raise BadInput("This data has no classes, so a class-conditional model cannot be trained on it.")
        self.space = space
        self.labels = space.labels if conditional else ()  # the classes this model can be asked for

    @abstractmethod
    def loss(self, batch: Batch, turn: Turn) -> Loss:
        """The loss of `turn.player` on a batch; a scalar to minimise and the named terms."""

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        """Fills tensors before step 0 (k-means, ActNorm, a teacher's copy); never on resume, never adds modules."""

    @classmethod
    def limits(cls, space: Space, config: Mapping[str, Any]) -> Mapping[str, Range | Choices]:
        """Bounds of sampling options that depend on the instance."""
        return {}

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def label_rows(self, label: Tensor | None, n: int) -> Tensor | None:
        """Class indices (B,) as one-hot rows (B, K); None where the model has no classes. None: zero rows."""
        if not self.labels:
            return None
        if label is None:
            return torch.zeros(n, len(self.labels), device=self.device)
        if label.dim() == 2:
            return label.to(self.device, torch.float32)
        return nn.functional.one_hot(label.to(self.device), len(self.labels)).float()


class Samples(ABC):
    """Draws samples. label: (B, K) rows, one-hot or mixed; a zero row is unconditional."""

    @abstractmethod
    def sample(self, noise: Noise, *, label: Tensor | None = None) -> Iterator[Frame]: ...


class Denoises(Samples):
    """Walks from noise (t = 1) to data (t = 0); what a timeline can branch on."""

    @abstractmethod
    def denoise(self, x_t: Tensor, t: float | Tensor, *, label: Tensor | None = None, guidance: float = 1.0) -> Guess:
        """The guess of (x0, eps) at time t (float or (B,)); guidance is one call of 2B."""

    @abstractmethod
    def schedule(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at t, same shape as t; alpha may be 0 at 1."""

    def noised(self, x0: Tensor, t: float | Tensor, eps: Tensor) -> Tensor:
        """x_t = alpha x0 + sigma eps."""
        alpha, sigma = (torch.as_tensor(a, device=x0.device, dtype=x0.dtype) for a in self.schedule(t))
        shape = (-1,) + (1,) * (x0.dim() - 1) if alpha.dim() else ()
        return alpha.reshape(shape) * x0 + sigma.reshape(shape) * eps


class Decodes(ABC):
    """z -> x, at once and differentiably: what latent sliders and interpolation need."""

    latent_shape: tuple[int, ...]
    normal: bool = True  # z ~ N(0, I); if False key points come from encode only

    @abstractmethod
    def decode(self, z: Tensor, *, label: Tensor | None = None) -> Tensor: ...


class Encodes(ABC):
    """x -> the z that decode takes."""

    @abstractmethod
    def encode(self, x: Tensor, *, label: Tensor | None = None) -> Tensor: ...


class Reconstructs(ABC):
    """x -> the model's version of x."""

    @abstractmethod
    def reconstruct(self, x: Tensor, *, label: Tensor | None = None) -> Tensor: ...


class Scores(ABC):
    """log p(x) in nats, exact or a lower bound."""

    exact: ClassVar[bool]
    how: ClassVar[str] = ""  # a few words on how it is computed, to stand beside a figure

    @abstractmethod
    def log_prob(
        self, x: Tensor, noise: Noise | None = None, *, label: Tensor | None = None, samples: int = 1
    ) -> Tensor:
        """(B,) nats; a model whose value is a bound draws from `noise`, one stream per row of x."""

    @classmethod
    @abstractmethod
    def measure(cls, space: Space, config: Mapping[str, Any]) -> Literal["density", "grey", "binary", "symbols"]:
        """What log_prob is a probability of; a model's likelihood is part of its config."""


class Criticises(ABC):
    """Says how real x looks: (B,) scores, higher is more real, no unit."""

    @abstractmethod
    def criticise(self, x: Tensor, *, label: Tensor | None = None) -> Tensor: ...


class Classifies(ABC):
    """Tells classes apart: what samples are judged by."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, D), the numbers that the classes are read from."""

    @abstractmethod
    def classify(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, K) logits, in the order of the space's labels."""
