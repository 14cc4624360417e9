"""Where to compute: cuda, mps or cpu, how much of it there is, and the wrapper that borrows a GPU on ZeroGPU."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

try:  # before torch: on ZeroGPU `spaces` must be there before anything can touch CUDA
    spaces = importlib.import_module("spaces") if os.environ.get("SPACES_ZERO_GPU") else None
except ImportError:
    spaces = None

import torch

from gen_models.interface import BadInput

NAMES = ("auto", "cpu", "cuda", "mps")


def choose(name: str = "auto") -> torch.device:
    """The device by name; auto takes the best there is. BadInput when this machine lacks it.

    On ZeroGPU auto is the CPU: a GPU is lent inside `gpu` calls alone, and CUDA elsewhere is only pretended.
    """
    if name not in NAMES:
        raise BadInput(f"The device is one of {', '.join(NAMES)}; got {name!r}.")
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
    if name == "auto" and spaces:
        return torch.device("cpu")
    if name == "auto":
        return torch.device(next(kind for kind, available in there.items() if available()))
    if not there[name]():
        kind = {"cuda": "CUDA GPU that PyTorch can use", "mps": "Apple GPU that PyTorch can use"}[name]
        raise BadInput(f"This machine has no {kind}; choose cpu or auto.")
    return torch.device(name)


def describe(device: torch.device | str) -> str:
    """A few words for a chip: "CPU · 2 cores", "NVIDIA H200 · 140 GiB"."""
    device = torch.device(device)
    if device.type == "cuda":
        chip = torch.cuda.get_device_properties(device)
        return f"{chip.name} · {chip.total_memory / 2**30:.0f} GiB"
    if device.type == "mps":
        return "Apple GPU"
    count = cores()
    return f"CPU · {count} core{'' if count == 1 else 's'}"


def cores(control: Path = Path("/sys/fs/cgroup")) -> int:
    """Processor cores that this process may use: its affinity, and the share that its container is granted."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (control / "cpu.max").read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        return count


def share_cores() -> None:
    """Half of the cores for each computation, so that a training, a slider and the browser do not wait on each other.

    Threads of one computation wait for each other at every step: on cores that are busy, more of them are slower.
    """
    torch.set_num_threads(max(1, cores() // 2))


def memory() -> int:
    """Resident bytes of this process; the peak where the system does not tell the present value, 0 where neither."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def gpu(duration: float | Callable[..., float]) -> Callable[[Callable], Callable]:
    """Decorator: on ZeroGPU the function or generator runs with a GPU lent for `duration` seconds, else unchanged."""
    return spaces.GPU(duration=duration) if spaces else lambda function: function
