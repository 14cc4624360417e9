"""Checkpoints come back as they were saved, failures leave the old one, and nothing foreign is loaded."""

import errno
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from gen_models import checkpoint
from gen_models.interface import BadInput


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def net(width: int = 5) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 4, 3))


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---- save and restore -----------------------------------------------------------------------------------------


def test_a_model_comes_back_exactly(tmp_path):
    model, other = net(), net()
    model[1].running_mean.normal_()
    checkpoint.save(tmp_path / "new" / "vae", {"family": "vae", "steps": 7}, model)
    checkpoint.restore(other, tmp_path / "new" / "vae")
    assert same(model, other)
    card = checkpoint.read_card(tmp_path / "new" / "vae")
    assert card["family"] == "vae"
    assert card["steps"] == 7
    assert card["weights"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert card["weights"]["bytes"] == (tmp_path / "new" / "vae" / "model.safetensors").stat().st_size
    assert left(tmp_path / "new" / "vae") == {"card.json", "model.safetensors"}


def test_half_precision_halves_the_file_and_comes_back_as_float32(tmp_path):
    model, other = nn.Linear(100, 100), nn.Linear(100, 100)
    checkpoint.save(tmp_path / "full", {}, model)
    checkpoint.save(tmp_path / "half", {}, model, half=True)
    checkpoint.restore(other, tmp_path / "half")
    assert other.weight.dtype == torch.float32
    assert torch.equal(other.weight, model.weight.half().float())
    sizes = [checkpoint.read_card(tmp_path / name)["weights"]["bytes"] for name in ("full", "half")]
    assert sizes[1] < 0.55 * sizes[0]


def test_half_precision_keeps_what_does_not_fit(tmp_path):
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    model.weight.data.fill_(1e6)
    checkpoint.save(tmp_path, {}, model, half=True)
    checkpoint.restore(other, tmp_path)
    assert torch.equal(other.weight, model.weight)


def test_tied_and_transposed_weights_are_saved(tmp_path):
    weight = torch.randn(3, 4)
    checkpoint.save(tmp_path, {}, {"weight": weight.T, "bias": weight[0, :3]})
    other = nn.Linear(3, 4)
    other.bias = nn.Parameter(torch.zeros(3))
    checkpoint.restore(other, tmp_path)
    assert torch.equal(other.weight, weight.T)
    assert torch.equal(other.bias, weight[0, :3])


def test_a_card_is_strict_json_whatever_the_loss_became(tmp_path):
    checkpoint.save(tmp_path, {"loss": float("nan"), "shape": (1, 28), "kl": torch.tensor(2.5)}, net())
    text = (tmp_path / "card.json").read_text()
    card = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (card["loss"], card["shape"], card["kl"]) == (None, [1, 28], 2.5)


# ---- failures while saving ------------------------------------------------------------------------------------


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["write", "first rename", "second rename"])
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch, call):
    old, new = net(), net()
    checkpoint.save(tmp_path, {"version": 1}, old)
    if call == "write":
        monkeypatch.setattr(os, "fsync", full)
    else:
        real, calls = os.replace, []

        def replace(a, b):
            calls.append(b)
            return full() if len(calls) == (1 if call == "first rename" else 2) else real(a, b)

        monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(BadInput, match="disk is full") as caught:
        checkpoint.save(tmp_path, {"version": 2}, new)
    assert str(tmp_path) in str(caught.value)
    assert "Free some space" in str(caught.value)
    monkeypatch.undo()
    assert left(tmp_path) == {"card.json", "model.safetensors"}
    other = net()
    checkpoint.restore(other, tmp_path)
    assert same(other, old)
    assert checkpoint.read_card(tmp_path)["version"] == 1


def test_a_first_save_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: full() if Path(b).name == "card.json" else real(a, b))
    with pytest.raises(BadInput, match="disk is full"):
        checkpoint.save(tmp_path, {}, net())
    assert not left(tmp_path)


def test_no_permission_says_so(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(BadInput, match="No permission to write"):
        checkpoint.save(tmp_path, {}, net())


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="Choose another folder"):
        checkpoint.save(tmp_path / "file" / "vae", {}, net())


def test_a_kill_while_saving_leaves_a_checkpoint_that_loads(tmp_path):
    old = net()
    checkpoint.save(tmp_path, {"version": 1}, old)
    code = (
        "import os, sys, torch\nfrom gen_models import checkpoint\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), 9)\n"
        "checkpoint.save(sys.argv[1], {}, {'a': torch.zeros(3)})\n"
    )
    root = Path(checkpoint.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root).returncode == -9
    other = net()
    checkpoint.restore(other, tmp_path)
    assert same(other, old)
    (stale,) = [path for path in tmp_path.iterdir() if path.suffix == ".part"]
    os.utime(stale, (0, 0))
    checkpoint.save(tmp_path, {"version": 2}, old)
    assert left(tmp_path) == {"card.json", "model.safetensors"}


# ---- what is refused ------------------------------------------------------------------------------------------


def test_weights_of_another_model_are_named_and_the_model_is_untouched(tmp_path):
    checkpoint.save(tmp_path, {}, {"weight": torch.zeros(3, 3), "extra": torch.zeros(1)})
    model = nn.Linear(2, 3)
    before = model.weight.clone()
    with pytest.raises(BadInput) as caught:
        checkpoint.restore(model, tmp_path)
    for words in ("1 missing: bias", "1 unexpected: extra", r"weight (3, 3) instead of (3, 2)"):
        assert words in str(caught.value)
    assert torch.equal(model.weight, before)


def test_changed_bytes_are_refused(tmp_path):
    checkpoint.save(tmp_path, {}, net())
    path = tmp_path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadInput, match="SHA-256 differs"):
        checkpoint.restore(net(), tmp_path)


def test_a_truncated_file_is_refused(tmp_path):
    checkpoint.save(tmp_path, {}, net())
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadInput, match="truncated"):
        checkpoint.restore(net(), tmp_path)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("form", ["torch zip", "torch legacy", "pickle"])
@pytest.mark.parametrize("honest", [True, False])
def test_a_renamed_pickle_is_refused_unread(tmp_path, monkeypatch, form, honest):
    monkeypatch.chdir(tmp_path)
    checkpoint.save(tmp_path, {}, net())
    path = tmp_path / "model.safetensors"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"weight": Bomb()}, path, _use_new_zipfile_serialization=form == "torch zip")
    if honest:  # even with a card that vouches for it
        data = path.read_bytes()
        said = {"sha256": checkpoint.hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        (tmp_path / "card.json").write_text(json.dumps({"weights": said}))
    with pytest.raises(BadInput, match="not a safetensors file but a pickle"):
        checkpoint.restore(net(), tmp_path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no card.json"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "no JSON object"),
        (b" " * 2**21, "larger than 1 MiB"),
        (b"", "empty"),
    ],
)
def test_bad_cards_are_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(BadInput, match=words):
        checkpoint.read_card(tmp_path)


def test_missing_weights_and_a_card_without_a_hash_are_refused(tmp_path):
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(BadInput, match="does not say which weights"):
        checkpoint.restore(net(), tmp_path)
    (tmp_path / "card.json").write_text('{"weights": {"sha256": "0"}}')
    with pytest.raises(BadInput, match=r"There is no model\.safetensors"):
        checkpoint.restore(net(), tmp_path)


# ---- the state of a training ----------------------------------------------------------------------------------


def test_a_nested_state_comes_back_exactly(tmp_path):
    shared = torch.randn(4, 6)
    state = {
        "step": 12,
        "big": 2**62 + 1,
        "ratio": 0.1 + 0.2,
        "nothing": None,
        "yes": True,
        3: "three",
        "3": "a different key",
        "infinite": float("inf"),
        "words": ["a", ("b", 2, {"dict": 1})],
        "tensors": {"a": shared, "b": shared.T, "c": shared[1:3], "zero": torch.tensor(1.5), "none": torch.empty(0, 3)},
        "bits": torch.arange(5, dtype=torch.uint8),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "empty": {},
    }
    checkpoint.save_state(tmp_path / "deep" / "state.safetensors", state)
    back = checkpoint.load_state(tmp_path / "deep" / "state.safetensors")
    tensors, read = state.pop("tensors"), back.pop("tensors")
    for name in ("bits", "half"):
        torch.testing.assert_close(back.pop(name), state.pop(name), rtol=0, atol=0)
    assert back == state
    assert list(back) == list(state)
    assert list(read) == list(tensors)
    for name in tensors:
        torch.testing.assert_close(read[name], tensors[name], rtol=0, atol=0)


def test_a_resumed_optimizer_walks_the_same_path(tmp_path):
    def step(model, optimizer):
        optimizer.zero_grad()
        model(torch.ones(1, 4)).square().sum().backward()
        optimizer.step()

    model = nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    step(model, optimizer)
    checkpoint.save_state(tmp_path / "s", {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    other = nn.Linear(4, 2)
    again = torch.optim.AdamW(other.parameters(), lr=0.5)
    state = checkpoint.load_state(tmp_path / "s")
    assert set(state["optimizer"]["state"]) == {0, 1}
    other.load_state_dict(state["model"])
    again.load_state_dict(state["optimizer"])
    step(model, optimizer)
    step(other, again)
    assert same(model, other)


def test_what_a_state_cannot_hold_is_an_error(tmp_path):
    with pytest.raises(TypeError, match="got set"):
        checkpoint.save_state(tmp_path / "s", {"a": {1, 2}})
    assert not left(tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 9, pickle.dumps({"a": 1}), None])
def test_a_file_that_is_no_state_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "s").write_bytes(content)
    with pytest.raises(BadInput):
        checkpoint.load_state(tmp_path / "s")


def test_a_header_may_have_any_length(tmp_path):
    """A file starts with its header's length: one of 32 begins like a pickle, and none of them is one."""
    starts = set()
    for n in range(0, 264, 8):
        checkpoint.save_state(tmp_path / "state.safetensors", {"x" * n: torch.ones(2)})
        starts.add((tmp_path / "state.safetensors").read_bytes()[0])
        assert list(checkpoint.load_state(tmp_path / "state.safetensors")) == ["x" * n]
    assert 0x80 in starts


def test_weights_are_not_taken_for_a_state(tmp_path):
    checkpoint.save(tmp_path, {}, net())
    with pytest.raises(BadInput, match="state of a training"):
        checkpoint.load_state(tmp_path / "model.safetensors")


# ---- where it lies --------------------------------------------------------------------------------------------


def test_locate_finds_names_under_the_roots_in_order(tmp_path):
    for root in ("one", "two"):
        checkpoint.save(tmp_path / root / "vae-mnist", {}, {"a": torch.zeros(1)})
    checkpoint.save(tmp_path / "two" / "gan-mnist", {}, {"a": torch.zeros(1)})
    roots = [tmp_path / "one", tmp_path / "two"]
    assert checkpoint.locate("vae-mnist", roots) == tmp_path / "one" / "vae-mnist"
    assert checkpoint.locate("gan-mnist", roots) == tmp_path / "two" / "gan-mnist"
    assert checkpoint.locate(tmp_path / "two" / "gan-mnist", []) == tmp_path / "two" / "gan-mnist"
    assert checkpoint.locate(tmp_path / "two" / "gan-mnist" / "card.json", []) == tmp_path / "two" / "gan-mnist"
    with pytest.raises(BadInput, match="vae-mnist"):
        checkpoint.locate("vae-mnits", roots)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../secret", "/etc", "a/b", "a\\b", "a\0b", "-x", ".x", "a\n", "x" * 200]
)
def test_names_cannot_leave_the_roots(tmp_path, name):
    checkpoint.save(tmp_path / "secret", {}, {"a": torch.zeros(1)})
    (tmp_path / "root").mkdir()
    with pytest.raises(BadInput, match="is no name"):
        checkpoint.locate(name, [tmp_path / "root"])


def test_a_path_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no checkpoint in"):
        checkpoint.locate(tmp_path, [])
