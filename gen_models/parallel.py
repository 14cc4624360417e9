"""Several processes of one command, as `accelerate launch` and `torchrun` start them; one alone imports none of it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta

import torch

from gen_models import device
from gen_models.interface import BadInput
from gen_models.training import Group, Ranks

PATIENCE = timedelta(hours=6)  # what the others wait while process 0 fetches data
_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def _number(names: tuple[str, ...], otherwise: int) -> int:
    """The first of these environment variables that is a number."""
    return next((int(said) for name in names if (said := os.environ.get(name, "")).isdecimal()), otherwise)


def size() -> int:
    """How many processes run this command."""
    return max(1, _number(_SIZES, 1)) if any(name in os.environ for name in _RANKS) else 1


def rank() -> int:
    """Which of them this is; 0 speaks for all."""
    return _number(_RANKS, 0) if size() > 1 else 0


def start(name: str = "auto") -> tuple[Group, torch.device]:
    """The processes, met, and this one's device: with `cuda` a GPU each, as far as there are enough of them.

    BadInput where the device is none for several processes, or where they do not find each other.
    """
    forced = name == "auto" and os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
    where = device.choose("cpu" if forced else name)
    if size() == 1:
        _say_if_meant_to_be_more()
        return Group(), where
    if where.type == "mps":
        raise BadInput("Several processes cannot share an Apple GPU: start one, or take --device cpu.")
    try:
        from accelerate import PartialState  # takes seconds, and one process does without
    except ImportError:
        raise BadInput("Several processes need the package accelerate: `pip install accelerate`.") from None
    crowded = where.type == "cuda" and _number(("LOCAL_WORLD_SIZE",), size()) > torch.cuda.device_count()
    try:
        backend = {"backend": "gloo"} if crowded else {}  # NCCL refuses two processes on one GPU
        state = PartialState(cpu=where.type == "cpu", timeout=PATIENCE, **backend)
    except (RuntimeError, ValueError, OSError) as error:
        raise BadInput(f"The {size()} processes did not find each other ({str(error).splitlines()[0]}).") from None
    where = torch.device("cpu") if where.type == "cpu" else state.device
    return Ranks(where), where


def _say_if_meant_to_be_more() -> None:
    """On processors `accelerate launch --num_processes 2` starts one process, and says nothing."""
    if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ and size() == 1:
        print(
            "gen_models: accelerate has started one process only; for several on processors add --multi_gpu to "
            "`accelerate launch`.",
            file=sys.stderr,
        )


def end() -> None:
    """Parts from the other processes, if there are any."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def stoppable(group: Group) -> Iterator[None]:
    """Ctrl-C and a kill reach all processes, each somewhere else: they only ask, and all stop after the same step."""
    if group.size == 1 or threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(*_) -> None:
        group.stopping = True

    before = {sort: signal.signal(sort, asked) for sort in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sort, handler in before.items():
            signal.signal(sort, handler)
