"""What stands at an address on the Hub, told before anything large is fetched."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
from hub_case import INDEX, PIPELINE, WEIGHTS, fetched, serving, written
from hub_server import READS, WRITES, Hub, online

from gen_models import hub
from gen_models.hub import contents
from gen_models.interface import BadInput


@pytest.fixture
def server(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch) as running:
        yield running


def changed(server: Hub, tmp_path: Path, **files: bytes | None) -> hub.Look:
    """A look at the same pipeline with files changed, or left out."""
    kept = {name: content for name, content in (PIPELINE | files).items() if content is not None}
    server.add("ann/changed", written(tmp_path / "changed", kept))
    return hub.look(hub.address("ann/changed"))


# ---- addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("google/ddpm-cifar10-32", "google/ddpm-cifar10-32", "main"),
        (" ann/model@v1.0 ", "ann/model", "v1.0"),
        ("ann/model@refs/pr/1", "ann/model", "refs/pr/1"),
        ("https://huggingface.co/ann/model", "ann/model", "main"),
        ("https://huggingface.co/ann/model/", "ann/model", "main"),
        ("https://huggingface.co/ann/model/tree/refs/pr/1", "ann/model", "refs/pr/1"),
    ],
)
def test_an_address_names_a_repository_and_a_revision(text, repo, revision):
    assert hub.address(text) == hub.Address(repo, revision)
    assert str(hub.address(text)) == (repo if revision == "main" else f"{repo}@{revision}")


@pytest.mark.parametrize(
    "text",
    [
        "", "model", "a/b/c", "../etc", "ann/..", "ann/../x", "ann/-x", "ann/x.", "ann/mo--del", "ann/model.git",
        "a b/c",         "ann/model@../../x", "ann/model@/x", "ann/model@a//b", "ann/model@-x", "/etc/passwd",
        "https://evil.example/ann/model", "http://huggingface.co/ann/model", "https://huggingface.co.evil.example/a/b",
        "https://huggingface.co/datasets/ann/data", "https://huggingface.co/ann", "file:///etc/passwd", "ann/mödel",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(BadInput, match=r"Give owner/name|no revision"):
        hub.address(text)


def test_a_folder_counts_only_where_folders_are_allowed(tmp_path):
    assert hub.address(str(tmp_path)).folder == tmp_path.resolve()
    with pytest.raises(BadInput, match="no repository"):
        hub.address(str(tmp_path), local=False)


# ---- looking ---------------------------------------------------------------------------------------------------


def test_a_look_says_what_it_is_and_fetches_only_small_files(server):
    look = hub.look(hub.address("ann/model"))
    assert (look.kind, look.licence, look.gated, look.refused) == ("DDPMPipeline", "mit", False, "")
    needed = ["model_index.json", "scheduler/scheduler_config.json", "unet/config.json", WEIGHTS, "README.md"]
    assert sorted(file.name for file in look.files) == sorted(needed)
    assert look.bytes == sum(len(PIPELINE[name]) for name in needed)
    assert len(look.commit) == 40
    assert json.loads((look.small / "unet/config.json").read_text())["_class_name"] == "UNet2DModel"
    assert not server.asked("GET", "safetensors")
    assert not server.asked("GET", ".py")


def test_old_pipelines_lie_flat(server, tmp_path):
    files = {name.removeprefix("unet/").removeprefix("scheduler/"): content for name, content in PIPELINE.items()}
    server.add("ann/flat", written(tmp_path / "flat", files))
    look = hub.look(hub.address("ann/flat"))
    assert not look.refused
    assert {"config.json", "scheduler_config.json", "diffusion_pytorch_model.safetensors"} <= {
        f.name for f in look.files
    }


def test_half_precision_is_taken_where_there_is_nothing_else_or_the_rest_is_too_large(server, tmp_path, monkeypatch):
    half = WEIGHTS.replace(".safetensors", ".fp16.safetensors")
    only = changed(server, tmp_path, **{WEIGHTS: None, half: b"half"})
    assert half in {file.name for file in only.files}
    both = {"changed": written(tmp_path / "changed", {WEIGHTS: PIPELINE[WEIGHTS]})}
    server.add("ann/both", both["changed"])
    whole = hub.look(hub.address("ann/both"))
    assert WEIGHTS in {file.name for file in whole.files}
    monkeypatch.setattr(contents, "MOST_BYTES", 500_000)
    assert half in {file.name for file in hub.look(hub.address("ann/both")).files}


def test_weights_in_pieces_are_all_needed(server, tmp_path):
    stem = "unet/diffusion_pytorch_model"
    pieces = [f"{stem}-0000{n}-of-00002.safetensors" for n in (1, 2)]
    look = changed(
        server,
        tmp_path,
        **{WEIGHTS: None, f"{stem}.safetensors.index.json": b"{}", pieces[0]: b"one", pieces[1]: b"two"},
    )
    assert {*pieces, f"{stem}.safetensors.index.json"} <= {file.name for file in look.files}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({WEIGHTS: None}, r"pickles \(unet/diffusion_pytorch_model\.bin\).*safetensors"),
        ({WEIGHTS: None, "unet/diffusion_pytorch_model.bin": None}, "no weights for unet"),
        ({"unet/config.json": None}, "part unet is missing"),
        ({"model_index.json": json.dumps(INDEX | {"unet": ["modeling", "Net"]}).encode()}, "program of its own"),
        (
            {"model_index.json": json.dumps(INDEX | {"_class_name": ["modeling", "Mine"]}).encode()},
            "program of its own",
        ),
        ({"model_index.json": json.dumps(INDEX | {"..": ["diffusers", "Net"]}).encode()}, "program of its own"),
        ({"model_index.json": None}, "no model here that is known|pickles"),
        ({"model_index.json": None, "config.json": b'{"model_type": "x"}'}, "does not say which model"),
        ({"model_index.json": None, "card.json": b'{"model": "gan.GAN"}'}, "model.safetensors is missing"),
    ],
)
def test_what_cannot_be_opened_says_why(server, tmp_path, files, says):
    look = changed(server, tmp_path, **files)
    with pytest.raises(BadInput, match=says):
        next(hub.fetch(look))
    assert not server.asked("GET", ".bin")


def test_a_pickle_only_repository_points_to_a_change_that_converts_it(server, tmp_path):
    server.add("ann/changed", written(tmp_path / "none", {}))
    server.repos["ann/changed"].proposed = ["Fix a word", "Adding `safetensors` variant of this model"]
    look = changed(server, tmp_path, **{WEIGHTS: None})
    assert "ann/changed@refs/pr/2" in look.refused
    assert [file.safe for file in look.files] == [False]


def test_a_model_that_is_too_large_to_fetch_says_by_how_much(server, tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "MOST_BYTES", 100_000)
    assert "needs 1 MB, and at most 100 KB" in hub.look(hub.address("ann/model")).refused
    assert not hub.look(hub.address(str(tmp_path / "files"))).refused, "of a folder nothing is fetched"


def test_a_description_that_is_absurdly_large_is_not_fetched(server, tmp_path):
    with pytest.raises(BadInput, match="2 MB large"):
        changed(server, tmp_path, **{"model_index.json": b" " * 2_000_000})


@pytest.mark.parametrize(
    ("address", "token", "says"),
    [
        ("ann/none", None, "no public model ann/none"),
        ("ann/none", READS, "this token may not read it"),
        ("ann/model@v9", None, "no revision 'v9'"),
        ("ann/gated", None, "gated: accept its terms.*log in"),
        ("ann/gated", READS, "this token's account may not"),
        ("ann/hidden", None, "no public model"),
        ("ann/model", "hf_unknown", "does not know this token"),
        ("ann/model", "no token\n at all", "no token of the Hub"),
    ],
)
def test_who_may_not_look_is_told_what_to_do(server, tmp_path, address, token, says):
    for name in ("ann/gated", "ann/hidden"):
        server.add(name, tmp_path / "files")
    server.gate("ann/gated", WRITES)
    server.hide("ann/hidden", WRITES)
    with pytest.raises(BadInput, match=says) as error:
        hub.look(hub.address(address), token=token)
    assert token is None or token not in str(error.value)


def test_the_right_token_opens_what_is_gated_and_private(server, tmp_path):
    for name in ("ann/gated", "ann/hidden"):
        server.add(name, tmp_path / "files")
    server.gate("ann/gated", WRITES)
    server.hide("ann/hidden", WRITES)
    gated = hub.look(hub.address("ann/gated"), token=f" {WRITES}\n")
    assert gated.gated
    assert fetched(gated, token=WRITES).folder
    assert hub.look(hub.address("ann/hidden"), token=WRITES).kind == "DDPMPipeline"


# ---- without the Hub -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["offline", "refused", "broken"])
def test_without_the_hub_what_was_fetched_still_opens(server, monkeypatch, how):
    before = hub.look(hub.address("ann/model"))
    folder = fetched(before).folder
    if how == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    elif how == "refused":
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", _closed())
    else:
        server.broken = 503
    server.requests.clear()
    look = hub.look(hub.address("ann/model"))
    assert (look.kind, look.commit, look.licence, look.bytes) == (before.kind, before.commit, "mit", before.bytes)
    assert fetched(look).folder == folder
    started = time.monotonic()
    with pytest.raises(BadInput, match=r"HF_HUB_OFFLINE|cannot be reached|cannot answer now"):
        hub.look(hub.address("ann/other"))
    assert time.monotonic() - started < 3


def test_what_a_token_has_fetched_is_no_stranger_s_when_the_hub_is_away(server, tmp_path, monkeypatch):
    for name in ("ann/gated", "ann/hidden"):
        server.add(name, tmp_path / "files")
    server.gate("ann/gated", WRITES)
    server.hide("ann/hidden", WRITES)
    for name in ("ann/gated", "ann/hidden"):
        assert fetched(hub.look(hub.address(name), token=WRITES), token=WRITES).folder
    assert fetched(hub.look(hub.address("ann/model"), token=False), token=False).folder
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", _closed())
    for name in ("ann/gated", "ann/hidden"):
        assert hub.look(hub.address(name)).kind == "DDPMPipeline", "this machine's own person"
        for token in (False, READS):
            with pytest.raises(BadInput, match="cannot be reached"):
                hub.look(hub.address(name), token=token)
    assert hub.look(hub.address("ann/model"), token=False).kind == "DDPMPipeline"


def test_what_is_only_partly_here_does_not_count_as_fetched(server, monkeypatch):
    hub.look(hub.address("ann/model"))  # the small files alone
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE"):
        hub.look(hub.address("ann/model"))


def test_a_hub_that_takes_no_connection_is_given_up_within_three_seconds(tmp_path, monkeypatch):
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:  # until the queue is full, and further connections hang
        one.setblocking(False)
        one.connect_ex(full.getsockname())
    online(monkeypatch, f"http://127.0.0.1:{full.getsockname()[1]}", tmp_path / "cache")
    started = time.monotonic()
    with pytest.raises(BadInput, match="cannot be reached"):
        hub.look(hub.address("ann/model"))
    assert time.monotonic() - started < 3
    for one in (*waiting, full):
        one.close()


def _closed() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


# ---- the table -------------------------------------------------------------------------------------------------------


def test_every_known_model_has_an_address():
    assert len({known.id for known in hub.KNOWN}) == len(hub.KNOWN) >= 12
    for known in hub.KNOWN:
        assert str(hub.address(known.id, local=False)) == known.id
        assert 0 < known.bytes <= hub.MOST_BYTES
