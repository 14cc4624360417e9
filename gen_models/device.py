"""Where to compute and in which precision, how much memory there is, and the wrapper that borrows a GPU on ZeroGPU."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:  # before torch: on ZeroGPU `spaces` must be there before anything can touch CUDA
    spaces = importlib.import_module("spaces") if os.environ.get("SPACES_ZERO_GPU") else None
except ImportError:
    spaces = None

import torch

from gen_models.interface import BadInput

NAMES = ("auto", "cpu", "cuda", "mps")
LENT = "cuda"  # what ZeroGPU lends
UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
UNKNOWN = sys.maxsize  # bytes, where the system does not tell
CONTROL = Path("/sys/fs/cgroup")  # what a container is granted
OUT_OF_MEMORY = ("MPS backend out of memory", "DefaultCPUAllocator: can't allocate", "DefaultCPUAllocator: not enough")


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


def precision(device: torch.device | str, model: Any) -> torch.dtype:
    """The number type in which the model (or its class) computes there: float32, or on CUDA a half that it allows.

    `model.halves` lists those that it allows, such as (torch.bfloat16, torch.float16); without it there is none.
    """
    halves = getattr(model, "halves", ())
    if torch.device(device).type != "cuda" or not halves:
        return torch.float32
    if torch.bfloat16 in halves and (spaces or torch.cuda.is_bf16_supported(including_emulation=False)):
        return torch.bfloat16
    return torch.float16 if torch.float16 in halves else torch.float32


def describe(device: torch.device | str) -> str:
    """A few words for a chip: "CPU · 2 cores · 512 MiB" (of this process), "NVIDIA H200 · 3.2 of 140 GiB" (of all)."""
    device = torch.device(device)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return f"{torch.cuda.get_device_name(device)} · {(total - free) / 2**30:.3g} of {total / 2**30:.0f} GiB"
    if device.type == "mps":
        return f"Apple GPU · {amount(torch.mps.driver_allocated_memory())}"
    count = cores()
    lent = " · ZeroGPU for models of the Hub" if spaces else ""
    return f"CPU · {count} core{'' if count == 1 else 's'} · {amount(memory())}{lent}"


def amount(count: float) -> str:
    """Bytes in words: "20 KiB", "512 MiB", "3.2 GiB"."""
    unit, name = next(((size, name) for size, name in UNITS if count >= size), UNITS[-1])
    return f"{count / unit:.{0 if count >= 100 * unit else 1 if count >= 10 * unit else 2}f} {name}"


def cores(control: Path = CONTROL) -> int:
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


# ---- memory: how much there is, and what to do when it runs out -------------------------------------------------


def capacity(device: torch.device | str) -> int:
    """Bytes of memory that the device has in all, of which this process may use any; UNKNOWN where nobody tells."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if kind == "mps":
        return torch.mps.recommended_max_memory()
    return min(_meminfo("MemTotal"), _granted())


def room(device: torch.device | str) -> int:
    """Bytes that are free there now; UNKNOWN where nobody tells, and for a GPU that is not lent at the moment."""
    kind = torch.device(device).type
    if kind == "cuda":
        return UNKNOWN if spaces else torch.cuda.mem_get_info(device)[0] + _held(device)
    if kind == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return min(_meminfo("MemAvailable"), _granted() - _used())


def _held(device: torch.device | str) -> int:
    """Bytes that PyTorch took from the GPU and has no use for at present."""
    return torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _meminfo(name: str, path: Path = Path("/proc/meminfo")) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return next(int(line.split()[1]) * 1024 for line in path.read_text().splitlines() if line.startswith(name))
    return UNKNOWN


def _granted(control: Path = CONTROL) -> int:
    """The container's memory limit."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: "max"
        return int((control / "memory.max").read_text())
    return UNKNOWN


def _used(control: Path = CONTROL) -> int:
    """What the container uses, less the files that the system would drop from memory when asked."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (control / "memory.stat").read_text().splitlines()
        files = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        return int((control / "memory.current").read_text()) - files
    return 0


def exhausted(error: BaseException) -> bool:
    """Whether the error says that memory ran out: of a GPU, or of the machine where the system refuses to give more."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def release(device: torch.device | str) -> None:
    """Gives memory that nothing refers to back to the device."""
    gc.collect()
    kind = torch.device(device).type
    if kind == "cuda" and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if kind == "mps":
        torch.mps.empty_cache()


# ---- ZeroGPU: a GPU lent for the time of one call ----------------------------------------------------------------


def lends() -> bool:
    """Whether this machine lends a GPU (LENT) to functions under `gpu`, and has none otherwise."""
    return spaces is not None


def refused(error: BaseException) -> str:
    """What ZeroGPU says where it lends no GPU, such as that the day's share is used up; "" for any other error."""
    ours = lends() and type(error).__module__.startswith("gradio.")
    return re.sub(r"<[^>]*>", "", str(getattr(error, "message", error))) if ours else ""


def gpu(duration: float | Callable[..., float]) -> Callable[[Callable], Callable]:
    """Decorator of functions of a module: on ZeroGPU a call has a GPU lent for `duration` seconds, else no change.

    duration: a number, or a function of the call's arguments. There the function runs in another process, forked at
    this call or at an earlier one: what it needs is in its arguments, which are pickled as what it returns or yields
    is; what it changes elsewhere is lost, and of an error only the name arrives. A generator stays one.
    """
    return spaces.GPU(duration=duration) if spaces else lambda function: function
