"""A model, what it can do, and what travels between it and those who ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gen_models.interface.options import Choices, Range, Text
from gen_models.interface.spaces import BadInput, Batch, Space
from gen_models.noise import Noise

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
    """Enough to go on from a step of denoising; step n draws noise of its own; history holds earlier (t, x0) pairs."""

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


class Components(NamedTuple):
    """The Gaussians of a mixture: mean +- a row of `factors` is one standard deviation in that direction."""

    weight: Tensor  # (K,), sums to 1
    mean: Tensor  # (K, *shape)
    factors: Tensor  # (K, q, *shape), orthogonal, the longest first; of points the axes of the ellipse
    noise: Tensor  # (K,) mean variance of a number beyond the factors; 0 where they are all there is


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
    def limits(cls, space: Space, config: Mapping[str, Any]) -> Mapping[str, Range | Choices | Text]:
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


class Refines(Samples):
    """Walks from noise (t = 1) to data (t = 0); frames hold the guess x0, and the predicted noise as show["eps"]."""

    @abstractmethod
    def schedule(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at t, same shape as t; alpha may be 0 at 1."""


class Denoises(Refines):
    """A walk through x itself, each of its frames with its State; what a timeline can branch on."""

    @abstractmethod
    def denoise(self, x_t: Tensor, t: float | Tensor, *, label: Tensor | None = None, guidance: float = 1.0) -> Guess:
        """The guess of (x0, eps) at time t (float or (B,)); guidance is one call of 2B."""

    def noised(self, x0: Tensor, t: float | Tensor, eps: Tensor) -> Tensor:
        """x_t = alpha x0 + sigma eps."""
        alpha, sigma = (torch.as_tensor(a, device=x0.device, dtype=x0.dtype) for a in self.schedule(t))
        shape = (-1,) + (1,) * (x0.dim() - 1) if alpha.dim() else ()
        return alpha.reshape(shape) * x0 + sigma.reshape(shape) * eps


class Imitates(Samples):
    """Has learnt from a teacher to do in few calls what that does in many, from the same noise."""

    @abstractmethod
    def target(self) -> Mapping[str, Any]:
        """The options of the teacher's `sample` whose outcome was learnt."""


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


class Transforms(ABC):
    """An invertible walk between noise and data, layer by layer; every station has the shape of x."""

    @abstractmethod
    def path(self, z: Tensor, *, label: Tensor | None = None) -> Iterator[Tensor]:
        """Where noise z, as `decode` takes it, goes: z itself, then after every layer; L + 1 times (B, *shape)."""

    @abstractmethod
    def path_back(self, x: Tensor, *, label: Tensor | None = None) -> Iterator[Tensor]:
        """The same stations from data to noise: x itself first, z last."""


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


class Completes(Samples):
    """Fills in what is missing, symbol after symbol; what is known stays as it is."""

    masks: ClassVar[Literal["prefix", "any"]]  # prefix: the known places come first, in the order of writing

    @abstractmethod
    def complete(self, x: Tensor, known: Tensor, noise: Noise, *, label: Tensor | None = None) -> Iterator[Frame]:
        """x (B, *shape), known (B, *shape) bool; takes the options of `sample`, which is this with nothing known.

        Pictures hold 0 where nothing stands yet. Text may have any length n: the first frame's x is the known prefix,
        each later one is longer, the last is all n symbols. Of music x is the opening, all of it known, and the option
        `bars` says how long the piece becomes.
        """


class Predicts(ABC):
    """p(next symbol | all before it), to choose another one from."""

    @abstractmethod
    def next_distribution(self, prefix: Tensor, *, label: Tensor | None = None) -> Tensor:
        """(B, n) symbols in the order of writing, n may be 0 -> (B, K) nats (log-probabilities) of the next one."""

    @abstractmethod
    def log_probs(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """(B, *shape) -> (B, T) nats of each symbol given those before it, in the order of writing."""


class Attends(ABC):
    """Looks back while it writes."""

    @abstractmethod
    def attention(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """(B, n) symbols -> (B, layers, heads, n + 1, n + 1): row i looks at columns 0..i, of which 0 is the start."""


class AttendsWithin(Decodes):
    """Attends to other places of the picture while it draws it."""

    @abstractmethod
    def attention_maps(self, z: Tensor, *, label: Tensor | None = None) -> Mapping[str, Tensor]:
        """By layer, (B, heads, h, w, h', w'): where each of h x w places looks, of h' x w'; sums to 1 over those."""


class Translates(ABC):
    """Redraws what lies in one domain of its space as if it lay in the other."""

    @abstractmethod
    def translate(self, x: Tensor, to: Literal["A", "B"]) -> Tensor:
        """(B, *shape) of the other domain -> (B, *shape); A and B are `space.domains[0]` and `[1]`."""


class Quantises(ABC):
    """Writes pictures as grids of codes."""

    codes: int  # how many there are
    grid: tuple[int, int]  # rows and columns of one picture

    @abstractmethod
    def tokens(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, rows, columns) int64."""

    @abstractmethod
    def from_tokens(self, tokens: Tensor, *, label: Tensor | None = None) -> Tensor:
        """(B, rows, columns) -> (B, *shape)."""

    @abstractmethod
    def token_log_probs(self, tokens: Tensor, *, label: Tensor | None = None) -> Tensor:
        """(B, rows, columns) -> (B, cells) nats of each code under the prior, given those before it."""

    @abstractmethod
    def fill(self, tokens: Tensor, known: Tensor, noise: Noise, *, label: Tensor | None = None) -> Iterator[Frame]:
        """Rewrites the cells that are not known (bool, any of them) in raster order; takes the options of `sample`.

        Frames hold the decoded picture, and in `show["tokens"]` the codes so far.
        """


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


class Clusters(ABC):
    """Explains each x by one of K components."""

    @abstractmethod
    def responsibilities(self, x: Tensor) -> Tensor:
        """p(component | x), (B, K); rows sum to 1."""

    @abstractmethod
    def components(self) -> Components:
        """Where the components lie and how far they reach."""


class Maximises(ABC):
    """Learns by closed-form steps (expectation maximisation): the loop needs no gradient, optimizer or average."""

    @abstractmethod
    def update(self, batch: Batch, turn: Turn) -> Mapping[str, Tensor]:
        """One round on the stage's batch, the same every time, without gradient; the figures to show."""

    @property
    @abstractmethod
    def converged(self) -> bool:
        """Nothing more to gain: the loop ends the stage. Kept in a buffer, so that a resumed training knows it too."""


class Opens(ABC):
    """A model whose weights lie in files of another format: safetensors and JSON in a folder, never from the network.

    Its constructor is `__init__(space, *, files, <options>)`: `files` is the folder, the options are those that
    `described` found. It is not trained here, so `loss` raises BadInput.
    """

    opens: ClassVar[tuple[str, ...]]  # the class names in model_index.json or config.json that it opens
    config: Mapping[str, Any]  # the options it was opened with: what `limits` is asked with

    @classmethod
    @abstractmethod
    def described(cls, files: Path) -> tuple[Space, dict[str, Any]]:
        """The space and the options of the constructor, from the small JSON files alone; BadInput says why not."""
