"""A device is there or the message says so; nothing touches CUDA at import; ZeroGPU's wrapper only on ZeroGPU."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

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


def test_the_chip_counts_cores_and_tells_the_memory_in_use(monkeypatch):
    monkeypatch.setattr(device, "memory", lambda: 512 << 20)
    for count, words in ((1, "CPU · 1 core · 512 MiB"), (2, "CPU · 2 cores · 512 MiB")):
        monkeypatch.setattr(device, "cores", lambda count=count: count)
        assert device.describe("cpu") == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0.00 KiB"),
        (20_480, "20.0 KiB"),
        (2**20, "1.00 MiB"),
        (512 << 20, "512 MiB"),
        (int(3.25 * 2**30), "3.25 GiB"),
    ],
)
def test_bytes_in_words(count, words):
    assert device.amount(count) == words


# ---- precision ------------------------------------------------------------------------------------------------


BOTH, BF16, FP16 = (torch.bfloat16, torch.float16), (torch.bfloat16,), (torch.float16,)


@pytest.mark.parametrize(
    ("where", "supported", "halves", "kind"),
    [
        ("cuda", True, BOTH, torch.bfloat16),
        ("cuda", False, BOTH, torch.float16),
        ("cuda", False, BF16, torch.float32),
        ("cuda", True, FP16, torch.float16),
        ("cuda", True, None, torch.float32),
        ("cpu", True, BOTH, torch.float32),
        ("mps", True, BOTH, torch.float32),
    ],
)
def test_half_precision_is_for_cuda_where_gpu_and_model_allow_it(monkeypatch, where, supported, halves, kind):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    model = SimpleNamespace() if halves is None else SimpleNamespace(halves=halves)
    assert device.precision(where, model) == kind


# ---- memory ---------------------------------------------------------------------------------------------------


def test_free_memory_is_what_machine_and_container_leave(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   800 kB\n")
    assert device._meminfo("MemAvailable", tmp_path / "meminfo") == 800 * 1024
    assert device._meminfo("MemAvailable", tmp_path / "none") == device.UNKNOWN
    assert (device._granted(tmp_path), device._used(tmp_path)) == (device.UNKNOWN, 0)
    (tmp_path / "memory.max").write_text("max\n")
    assert device._granted(tmp_path) == device.UNKNOWN
    (tmp_path / "memory.max").write_text("700\n")
    (tmp_path / "memory.current").write_text("300\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 120\n")
    assert (device._granted(tmp_path), device._used(tmp_path)) == (700, 180)
    monkeypatch.setattr(device, "_meminfo", lambda name: {"MemTotal": 1000, "MemAvailable": 600}[name])
    for granted, room, capacity in ((700, 520, 700), (900, 600, 900), (5000, 600, 1000)):
        monkeypatch.setattr(device, "_granted", lambda granted=granted: granted)
        monkeypatch.setattr(device, "_used", lambda: 180)
        assert (device.room("cpu"), device.capacity("cpu")) == (room, capacity)


def test_this_machine_has_room():
    assert 2**20 < device.room("cpu") <= device.capacity("cpu")


@pytest.mark.parametrize(
    ("error", "out"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA out of memory."), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error, out):
    assert device.exhausted(error) is out


def test_a_tensor_beyond_all_memory_is_such_an_error():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.int8)
    assert device.exhausted(raised.value)


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
    assert 0 < device.room("cuda") <= device.capacity("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_that_runs_out_of_memory_is_noticed_and_gives_back_what_is_dropped():
    before = device.room("cuda")
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50, dtype=torch.int8, device="cuda")
    assert device.exhausted(raised.value)
    held = torch.empty(2**28, dtype=torch.int8, device="cuda")
    assert device.room("cuda") <= before - 2**28
    del held
    device.release("cuda")
    assert device.room("cuda") > before - 2**27
