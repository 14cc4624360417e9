"""What does not fit is made in parts that come as one run; models in memory are counted, dropped and refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from toys import lively, pixel_pipeline, put_on_shelf, small

from gen_models import device, hub, zoo
from gen_models.interface import BadInput, Decodes, Frame, GenerativeModel, Loss, Samples, Space, State
from gen_models.noise import Noise
from gen_models.zoo import parts

STEPS = 3
OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 17 GB, other allocations: 1 GB)."),
    MemoryError(),
)


class Hungry(GenerativeModel, Samples, Decodes):
    """Runs out of memory in its second step, and when it decodes, where a batch is larger than `most`."""

    latent_shape = (2,)

    def __init__(self, most: int, error: Exception = OUT_OF_MEMORY[0]):
        super().__init__(Space("points", (2,), labels=("a", "b", "c")), conditional=True)
        self.weight = nn.Parameter(torch.eye(2))
        self.most, self.error, self.batches = most, error, []

    def loss(self, batch, turn) -> Loss:
        raise AssertionError

    def sample(self, noise: Noise, *, label: Tensor | None = None) -> Iterator[Frame]:
        self.batches.append(len(noise))
        x, history = noise.normal(2), ()
        yield Frame(x, 0, STEPS, state=State(1.0, x))
        for step in range(1, STEPS + 1):
            if step == 2 and len(noise) > self.most:
                raise self.error
            x0 = x @ self.weight / 2
            x = x0 + noise.at(step).normal(2) + label.argmax(1, keepdim=True)
            history = (*history, (1 - step / STEPS, x0))
            state = State(1 - step / STEPS, x, step, history)
            yield Frame(x, step, STEPS, x0, {"eps": 2 * x, "sigma": torch.tensor(0.5)}, state, calls=step)

    def decode(self, z: Tensor, *, label: Tensor | None = None) -> Tensor:
        if len(z) > self.most:
            raise self.error
        return z @ self.weight + (0 if label is None else label[:, :2])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> zoo.Shelf:
    shelf = zoo.Shelf(tmp_path_factory.mktemp("memory"))
    for name in ("vae-8gaussians", "gan-8gaussians"):
        put_on_shelf(shelf.root / name, small(zoo.ZOO[name]))
    return shelf


@pytest.fixture(autouse=True)
def nothing_loaded():
    zoo.unload()


def same(a: Frame, b: Frame) -> None:
    assert (a.step, a.total) == (b.step, b.total)
    assert_close(a.x, b.x)
    assert (a.x0 is None) == (b.x0 is None)
    if a.x0 is not None:
        assert_close((a.x0, dict(a.show)), (b.x0, dict(b.show)))
    assert (a.state.t, a.state.step) == (b.state.t, b.state.step)
    assert_close(a.state.x, b.state.x)
    assert_close(a.state.history, b.state.history)


# ---- parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_comes_as_one_run(error):
    whole = list(zoo.sample(Hungry(99), 5, 10))
    hungry = Hungry(3, error)
    run = zoo.sample(hungry, 5, 10)
    frames, words = [], []
    for frame in run:
        frames.append(frame)
        words.append(run.said)
    assert [frame.step for frame in frames] == [0, 1, 2, 3], "each step once, those before the halving too"
    for mine, expected in zip(frames, whole, strict=True):
        same(mine, expected)
    assert max(hungry.batches) == 10
    assert hungry.batches[-5:] == [2] * 5
    assert words[0] == words[1] == ""
    assert "2 at a time" in words[-1]
    assert "cpu" in words[-1]
    assert frames[-1].calls == whole[-1].calls == 3, "each sample went through the network three times"


def test_a_single_sample_that_does_not_fit_says_what_to_do():
    with pytest.raises(BadInput, match=r"Unload.*--device cpu"):
        list(zoo.sample(Hungry(0), 0, 4))
    with pytest.raises(BadInput, match="--device cpu"):
        zoo.decoded(Hungry(0), torch.randn(4, 2))


def test_another_error_is_not_taken_for_it():
    for error in (RuntimeError("shapes differ"), ValueError("out of memory")):
        with pytest.raises(type(error), match=str(error)):
            list(zoo.sample(Hungry(1, error), 0, 4))


def test_codes_are_decoded_in_parts_too():
    z, rows = torch.randn(7, 2), torch.eye(3)[torch.arange(7) % 3]
    assert_close(zoo.decoded(Hungry(2), z, rows), z + rows[:, :2])


def test_where_running_out_ends_the_process_batches_are_small_from_the_start(monkeypatch):
    whole = list(zoo.sample(Hungry(99), 5, 10))
    monkeypatch.setattr(parts, "AT_ONCE", 8)  # numbers: four points
    model = Hungry(99)
    run = zoo.sample(model, 5, 10)
    for mine, expected in zip(run, whole, strict=True):
        same(mine, expected)
    assert model.batches == [4, 4, 2]
    assert run.said == "", "nothing ran out"
    assert parts.most_at_once(10, SimpleNamespace(device=torch.device("cuda"), space=model.space)) == 10


def test_lines_of_which_some_end_early_come_together(monkeypatch):
    model = lively(small(zoo.ZOO["transformer-names"]))
    n = 6
    known = torch.zeros(n, model.space.size, dtype=torch.bool)
    whole = list(zoo.complete(model, torch.zeros(n, model.space.size, dtype=torch.int64), known, 3))[-1].x
    monkeypatch.setattr(parts, "AT_ONCE", 2 * model.space.size)
    frames = list(zoo.complete(model, torch.zeros(n, model.space.size, dtype=torch.int64), known, 3))
    assert torch.equal(frames[-1].x, whole)
    assert all(len(frame.x) == n for frame in frames)


def test_a_run_that_is_left_frees_what_it_holds():
    closed = []

    def frames():
        try:
            yield Frame(torch.zeros(1, 2), 0, 1)
            yield Frame(torch.zeros(1, 2), 1, 1)
        finally:
            closed.append(True)

    run = parts.Run(frames(), [])
    next(run)
    run.close()
    assert closed


# ---- what is loaded ---------------------------------------------------------------------------------------------


def test_what_is_loaded_is_listed_with_its_bytes_and_can_be_unloaded(shelf):
    model = zoo.load("vae-8gaussians", shelf)
    zoo.load("gan-8gaussians", shelf)
    zoo.load("vae-8gaussians", shelf, "meta")
    found = zoo.loaded()
    assert [(one.name, one.device) for one in found] == [
        ("vae-8gaussians", "meta"),
        ("gan-8gaussians", "cpu"),
        ("vae-8gaussians", "cpu"),
    ], "the latest first"
    size = sum(p.numel() * 4 for p in model.parameters()) + sum(b.numel() * b.element_size() for b in model.buffers())
    assert found[2].bytes == size
    assert found[2].folder == shelf.root / "vae-8gaussians"
    assert zoo.unload("vae-8gaussians", shelf, "cpu") == size
    assert [(one.name, one.device) for one in zoo.loaded()] == [("vae-8gaussians", "meta"), ("gan-8gaussians", "cpu")]
    assert zoo.load("vae-8gaussians", shelf) is not model
    zoo.unload(shelf=zoo.Shelf("/elsewhere"))
    assert len(zoo.loaded()) == 3
    zoo.unload()
    assert zoo.loaded() == []


def test_what_two_modules_share_is_counted_once():
    layer = nn.Linear(10, 10, bias=False)
    shared = nn.Sequential(layer, layer)
    shared.register_buffer("unsaved", torch.zeros(5, dtype=torch.float64), persistent=False)
    assert zoo.shelf._bytes(shared) == 400 + 40


def test_the_limit_is_that_of_each_device(shelf, monkeypatch):
    zoo.load("gan-8gaussians", shelf, "meta")
    zoo.load("gan-8gaussians", shelf)
    monkeypatch.setattr(zoo.shelf, "CACHE_BYTES", 1)
    zoo.load("vae-8gaussians", shelf)
    assert [(one.name, one.device) for one in zoo.loaded()] == [("vae-8gaussians", "cpu"), ("gan-8gaussians", "meta")]


def test_without_a_limit_half_of_the_memory_is(monkeypatch):
    monkeypatch.setattr(zoo.shelf, "CACHE_BYTES", 0)
    monkeypatch.setattr(device, "capacity", lambda where: {"cpu": 1000, "cuda": 600}[where])
    assert (zoo.shelf._limit("cpu"), zoo.shelf._limit("cuda")) == (500, 300)


def test_what_cannot_fit_is_refused_before_it_is_built(shelf, monkeypatch):
    older = zoo.load("gan-8gaussians", shelf)
    monkeypatch.setattr(device, "room", lambda where: 3000)
    monkeypatch.setattr(zoo.shelf, "build", lambda entry: pytest.fail("it was built"))
    with pytest.raises(BadInput, match=r"vae-8gaussians needs .* of memory on cpu, and 2.93 KiB are free"):
        zoo.load("vae-8gaussians", shelf)
    assert zoo.loaded() == [], "what was used longest ago made room first"
    assert older.device.type == "cpu"


def test_room_is_made_by_dropping_no_more_than_is_needed(shelf, monkeypatch):
    zoo.load("gan-8gaussians", shelf)
    zoo.load("gan-8gaussians", shelf, "meta")
    monkeypatch.setattr(device, "room", lambda where: 0 if ("gan-8gaussians", "cpu") in names() else 10**9)

    def names():
        return [(one.name, one.device) for one in zoo.loaded()]

    zoo.load("vae-8gaussians", shelf)
    assert names() == [("vae-8gaussians", "cpu"), ("gan-8gaussians", "meta")]


def test_a_model_computes_in_the_half_precision_that_it_allows(shelf, monkeypatch):
    assert zoo.load("vae-8gaussians", shelf, "meta").device.type == "meta"
    zoo.unload()
    monkeypatch.setattr(device, "precision", lambda where, model: torch.bfloat16)
    model = zoo.load("vae-8gaussians", shelf, "meta")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    tensors = [*model.parameters(), *model.buffers()]
    assert zoo.loaded()[0].bytes == sum(2 * t.numel() if t.is_floating_point() else t.nbytes for t in tensors)


# ---- the list on the page ---------------------------------------------------------------------------------------


def test_a_visit_sees_its_own_and_everybodys_models_and_others_as_a_sum(shelf, tmp_path):
    from gen_models.ui import memory

    entry, other = zoo.Shelf(tmp_path / "mine"), zoo.Shelf(tmp_path / "theirs")
    for one in (entry, other):
        put_on_shelf(one.root / "secret", small(zoo.ZOO["vae-8gaussians"]))
        zoo.load("secret", one)
    zoo.load("gan-8gaussians", shelf)
    visits = SimpleNamespace(bundled=shelf, may_edit_bundled=False)
    visit = SimpleNamespace(shelf=entry)
    served = memory.serve(visits, "cpu")
    shown = served["loaded"](visit, {})
    assert [(row["name"], row["may"]) for row in shown["models"]] == [("gan-8gaussians", False), ("secret", True)]
    assert shown["others"].startswith("1 of other visits, ")
    assert "CPU" in shown["chip"]

    with pytest.raises(BadInput, match="not in memory"):
        served["unload"](visit, {"name": "gan-8gaussians", "device": "cpu"})
    after = served["unload"](visit, {"name": "secret", "device": "cpu"})
    assert after["said"].endswith("freed")
    assert [row["name"] for row in after["models"]] == ["gan-8gaussians"]
    assert [one.folder for one in zoo.loaded()] == [shelf.root / "gan-8gaussians", other.root / "secret"]
    visits.may_edit_bundled = True
    assert served["unload"](visit, {"name": "gan-8gaussians", "device": "cpu"})["models"] == []


# ---- ZeroGPU ----------------------------------------------------------------------------------------------------

SPACES = '''"""As the real one: the function runs in a forked process, and what it yields is pickled."""
import functools, inspect, os, pickle, sys
assert "torch" not in sys.modules, "spaces comes first"
calls, decorated, refusal = [], [], None
Error = type("Error", (Exception,), {"__module__": "gradio.exceptions", "message": "<b>Quota</b> exceeded (0 s left)"})

def GPU(duration):
    def wrapped(function):
        assert inspect.isgeneratorfunction(function)
        decorated.append(function.__name__)

        @functools.wraps(function)
        def run(*args):
            if refusal:
                raise Error()
            args = pickle.loads(pickle.dumps(args))
            calls.append((args, duration(*args)))
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                with open(writing, "wb") as out:
                    for value in function(*args):
                        pickle.dump(value, out)
                os._exit(0)
            os.close(writing)
            with open(reading, "rb") as found:
                try:
                    while True:
                        yield pickle.load(found)
                except EOFError:
                    os.waitpid(child, 0)
        return run
    return wrapped
'''
LENDING = """
import os, sys
from gen_models import device, zoo
import spaces, torch
from gen_models.interface import BadInput

assert not torch.cuda.is_initialized()
assert spaces.decorated == ["_on_gpu"], "one function alone is lent a GPU"
assert device.lends() and device.choose("auto").type == "cpu" and "ZeroGPU" in device.describe("cpu")
assert zoo.shelf.CACHE_BYTES == 12345678
device.LENT = "cpu"  # what is lent here
name, shelf = sys.argv[2], zoo.Shelf(sys.argv[1])
hub, gan = zoo.load(name, shelf), zoo.load("gan-8gaussians", shelf)
expected = list(zoo.sampling.drawn(hub, 3, 2, steps=4))
zoo.unload()

frames = list(zoo.sample(hub, 3, 2, steps=4))
((root, asked_for, asked), seconds), = spaces.calls
assert (root, asked_for, asked["seed"], asked["n"]) == (sys.argv[1], name, 3, 2)
assert 1 < seconds < 60
assert len(frames) == len(expected) == 5
for mine, other in zip(frames, expected):
    assert torch.equal(mine.x, other.x) and torch.equal(mine.state.x, other.state.x)
    assert (mine.step, mine.total, mine.calls) == (other.step, other.total, other.calls)
assert zoo.loaded() == [], "what the other process loaded stays there"

try:
    list(zoo.sample(hub, 3, 2, steps=-9))
except BadInput as error:
    assert "steps" in str(error)
else:
    raise AssertionError

called = len(spaces.calls)
list(zoo.sample(gan, 3, 5))
assert zoo.decoded(gan, torch.zeros(1, *gan.latent_shape)).shape == (1, 2)
assert len(spaces.calls) == called, "models of ours stay here, and so do sliders"

spaces.refusal = True
try:
    list(zoo.sample(hub, 3, 2))
except BadInput as error:
    assert str(error) == "No GPU is lent at the moment: Quota exceeded (0 s left)"
else:
    raise AssertionError

assert zoo.place(shelf) == [name]
assert [one.name for one in zoo.loaded()] == [name]
"""


def test_models_of_the_hub_sample_on_the_gpu_that_zero_gpu_lends(shelf, tmp_path):
    (tmp_path / "spaces.py").write_text(SPACES)
    files, here = tmp_path / "files", zoo.Shelf(tmp_path / "shelf")
    pixel_pipeline(files)
    name = zoo.shelve(zoo.offer(hub.look(hub.address(str(files)))), files, here)
    shutil.copytree(shelf.root / "gan-8gaussians", here.root / "gan-8gaussians")
    paths = os.pathsep.join([str(tmp_path), str(Path(device.__file__).parents[1])])
    env = {**os.environ, "SPACES_ZERO_GPU": "1", "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    env["GEN_MODELS_CACHE_BYTES"] = "12345678"
    command = [sys.executable, "-c", LENDING, str(here.root), name]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_elsewhere_nothing_is_placed_at_start(shelf):
    assert zoo.place(shelf) == []
    assert zoo.loaded() == []


def test_what_travels_between_processes_arrives_as_it_was():
    history = ((0.5, torch.ones(2, 2, dtype=torch.bfloat16)),)
    state = State(0.5, torch.zeros(2, 2), 3, history)
    frame = Frame(torch.randn(2, 2), 3, 9, None, {"codes": torch.arange(2)}, state, 7)
    there = zoo.lending.landed(zoo.lending.packed(frame))
    assert isinstance(there, Frame)
    assert isinstance(there.state, State)
    assert_close(there.x, frame.x)
    assert torch.equal(there.show["codes"], frame.show["codes"])
    assert there.state.history[0][0] == 0.5
    assert_close(there.state.history[0][1], torch.ones(2, 2))
    assert (there.x0, there.calls, there.state.step) == (None, 7, 3)
