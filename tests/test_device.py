"""A device is there or the message says so; nothing touches CUDA at import; ZeroGPU's wrapper only on ZeroGPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gen_models import device
from gen_models.interface import BadInput


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu"), (True, False, "cuda")]
)
def test_auto_takes_the_best(monkeypatch, cuda, mps, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device.choose().type == best
    assert device.choose("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_what_the_machine_lacks_is_refused(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(BadInput, match="choose cpu or auto"):
        device.choose(name)


def test_an_unknown_name_is_refused():
    with pytest.raises(BadInput, match="auto, cpu, cuda, mps"):
        device.choose("tpu")


def test_cores_respect_affinity_and_the_container(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert device.cores(tmp_path) == 8
    for text, count in (("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8)):
        (tmp_path / "cpu.max").write_text(text)
        assert device.cores(tmp_path) == count


def test_the_chip_counts_cores(monkeypatch):
    for count, words in ((1, "CPU · 1 core"), (2, "CPU · 2 cores")):
        monkeypatch.setattr(device, "cores", lambda count=count: count)
        assert device.describe("cpu") == words


def test_memory_grows_with_what_is_held():
    """In a process of its own: one that has freed memory before may hold more without growing."""
    code = (
        "from gen_models import device; before = device.memory(); held = bytearray(b'1') * (64 << 20); "
        "print(before, device.memory())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    before, after = map(int, said.stdout.split())
    assert before > 10 * 2**20
    assert after - before > 0.8 * 64 * 2**20


def test_without_zero_gpu_the_function_is_unchanged():
    def function():
        return 1

    assert device.gpu(30)(function) is function


@pytest.mark.parametrize(("flag", "present", "wrapped"), [("1", True, True), ("", True, False), ("1", False, False)])
def test_zero_gpu_wraps_only_where_it_is_and_cuda_stays_untouched(tmp_path, flag, present, wrapped):
    if present:
        (tmp_path / "spaces.py").write_text(
            "import sys\nassert 'torch' not in sys.modules, 'spaces comes first'\n"
            "def GPU(duration):\n    return lambda f: ('lent', duration, f)\n"
        )
    else:
        (tmp_path / "spaces.py").write_text("raise ImportError")
    code = (
        "from gen_models import device\nimport torch\nf = len\n"
        f"assert (device.gpu(30)(f) == ('lent', 30, f)) is {wrapped}\n"
        f"assert (device.gpu(30)(f) is f) is {not wrapped}\nassert not torch.cuda.is_initialized()\n"
        "torch.cuda.is_available = lambda: True\n"
        f"assert (device.choose('auto').type == 'cpu') is {wrapped}\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(device.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "SPACES_ZERO_GPU": flag, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 4)])
def test_a_computation_takes_half_of_the_cores(monkeypatch, cores, threads):
    before = torch.get_num_threads()
    monkeypatch.setattr(device, "cores", lambda: cores)
    try:
        device.share_cores()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_is_named():
    assert torch.cuda.get_device_name(0) in device.describe("cuda")
    assert "GiB" in device.describe("cuda")
