"""Processes that train together: each takes its share of every batch, and all of them take the same step.

What is exact: a loss that is a mean over the rows of the batch gives the same step on any number of processes, up to
the rounding of sums. Every process draws the whole batch's rows and random numbers and keeps its own, and gradients
and figures are means weighted by the number of rows. What is equal in expectation only: a statistic over the rows
(batch norm, the standard deviation over a minibatch, matched features) is that of a process's own rows; random numbers
that are not counted by rows (dropout, permutations) are each process's own. Buffers (moving means, codebooks) are
those of process 0, whose rows are a fair sample of the batch.

PyTorch Distributed: Experiences on Accelerating Data Parallel Training (Li et al., 2020), arXiv 2006.15704.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.overrides import TorchFunctionMode

from gen_models.interface import BadInput, Batch
from gen_models.noise import mixed

Made = TypeVar("Made")


class Elsewhere(BadInput):
    """Trouble that another process has met, and tells."""


class Rows(NamedTuple):
    """A process's share of a batch of `whole` rows: first .. last - 1."""

    first: int
    last: int
    whole: int

    @property
    def share(self) -> float:
        return (self.last - self.first) / self.whole


class Group:
    """One process on its own: all rows are its own, and nothing has to be agreed upon."""

    rank, size = 0, 1
    stopping = False  # process 0 has been asked to stop
    stopped = False  # all know it

    def rows(self, whole: int) -> Rows:
        """The rows of this process; as many for each as can be."""
        return Rows(whole * self.rank // self.size, whole * (self.rank + 1) // self.size, whole)

    def part(self, batch: Batch) -> Batch:
        """The rows of this process; domains of different lengths are divided each on its own."""
        parts = (None if t is None else self.rows(len(t)) for t in batch)
        return Batch(*(None if t is None else t[mine.first : mine.last] for t, mine in zip(batch, parts, strict=True)))

    def draws(self, rng: torch.Generator, rows: Rows) -> contextlib.AbstractContextManager:
        """Within it, draws from `rng` that are counted by rows are those of this process's rows."""
        return contextlib.nullcontext()

    def mean(self, tensors: Sequence[Tensor | None], rows: Rows) -> list[Tensor | None]:
        """Means over the rows of each process -> means over the rows of all; None stays None."""
        return list(tensors)

    def agreed(self, seconds: float) -> float:
        """The seconds of process 0; afterwards all know whether it has been asked to stop (`stopped`)."""
        self.stopped = self.stopping
        return seconds

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Overwrites the tensors with those of process 0."""

    def led(self, make: Callable[[], Made]) -> Made:
        """What process 0 makes, plain data, handed to all; its BadInput is everyone's."""
        return make()

    def in_turn(self, make: Callable[[], Made]) -> Made:
        """Each makes its own, process 0 first: it fetches what the others then find."""
        return make()

    def meet(self) -> None:
        """Waits until all are here."""


class Ranks(Group):
    """Several processes, each with a device of its own; torch.distributed has been started."""

    def __init__(self, device: torch.device):
        self.rank, self.size, self.device = distributed.get_rank(), distributed.get_world_size(), device

    def draws(self, rng: torch.Generator, rows: Rows) -> contextlib.AbstractContextManager:
        return _OwnRows(rng, rows)

    def mean(self, tensors: Sequence[Tensor | None], rows: Rows) -> list[Tensor | None]:
        there = [t for t in tensors if t is not None]
        with _told():
            flat = torch.cat([t.detach().flatten().to(self.device) for t in there]) * rows.share
            distributed.all_reduce(flat)
        found = iter(flat.split([t.numel() for t in there]))
        return [None if t is None else next(found).view(t.shape).to(t) for t in tensors]

    def agreed(self, seconds: float) -> float:
        said = torch.tensor([seconds, self.stopping], dtype=torch.float64, device=self.device)
        with _told():
            distributed.broadcast(said, 0)
        seconds, stopped = said.tolist()
        self.stopped = bool(stopped)
        return seconds

    @torch.no_grad()
    def spread(self, tensors: Sequence[Tensor]) -> None:
        if not tensors:
            return
        parts = [t.contiguous().flatten().view(torch.uint8) for t in tensors]
        flat = torch.cat(parts)
        with _told():
            distributed.broadcast(flat, 0)
        for tensor, found in zip(tensors, flat.split([len(part) for part in parts]), strict=True):
            tensor.copy_(found.clone().view(tensor.dtype).view(tensor.shape))  # a clone starts where its type may

    def led(self, make: Callable[[], Made]) -> Made:
        said: list[Any] = [None, None]
        if self.rank == 0:
            try:
                said[0] = make()
            except BadInput as error:
                said[1] = str(error)
        with _told():
            distributed.broadcast_object_list(said, 0, device=self.device)
        if said[1] is not None:
            raise (Elsewhere if self.rank else BadInput)(said[1])
        return said[0]

    def in_turn(self, make: Callable[[], Made]) -> Made:
        made: list[Made] = []
        self.led(lambda: made.append(make()))
        return made[0] if made else make()

    def meet(self) -> None:
        with _told():
            distributed.all_reduce(torch.zeros((), device=self.device))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """A process that is gone breaks what the others do together: they end too, and leave the reason to it."""
    try:
        yield
    except RuntimeError as error:
        raise Elsewhere(f"Another process of this command has ended ({str(error).splitlines()[0]}).") from None


class _OwnRows(TorchFunctionMode):
    """Draws from `rng` come out as on one process: the whole batch's are drawn, and this process's rows are kept.

    A draw counts as one by rows where one of its dimensions has as many as this process has rows; the others come from
    a stream of this process's own, but for single numbers, which are the same for all.
    """

    def __init__(self, rng: torch.Generator, rows: Rows):
        super().__init__()
        self.rng, self.rows = rng, rows
        self.own = torch.Generator().manual_seed(mixed(rng.initial_seed(), "rows", rows.first))

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if kwargs.get("generator") is not self.rng:
            return function(*args, **kwargs)
        before, size = _size(function, args)
        count = self.rows.last - self.rows.first
        if size is not None and count in size:
            dim = size.index(count)
            whole = function(*before, (*size[:dim], self.rows.whole, *size[dim + 1 :]), **kwargs)
            return whole.narrow(dim, self.rows.first, count)
        return function(*args, **kwargs if size == () else kwargs | {"generator": self.own})


def _size(function: Callable, args: tuple) -> tuple[tuple, tuple[int, ...] | None]:
    """What stands before the size that is to be drawn, and that size: None where the function takes none."""
    if function not in (torch.rand, torch.randn, torch.randint) or not args:
        return (), None
    if isinstance(args[-1], Sequence):
        return args[:-1], tuple(args[-1])
    return ((), tuple(args)) if function is not torch.randint else ((), None)


def kept_buffers(model: nn.Module) -> list[str]:
    """Names of the buffers that change while it learns: those that are saved."""
    saved = model.state_dict().keys()
    return [name for name, _ in model.named_buffers() if name in saved]
