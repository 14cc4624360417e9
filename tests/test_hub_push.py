"""Checkpoints of ours pushed to the Hub, and the server that the tests speak with, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_case import PIPELINE, fetched, serving, written
from hub_server import READS, WRITES

from gen_models import data, hub
from gen_models.hub.pushing import DATASETS
from gen_models.interface import BadInput


@pytest.fixture
def server(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch) as running:
        yield running


def test_what_is_pushed_is_found_again(server, shelf):
    url = hub.push(shelf.folder("gan-mnist"), "ann/digits", token=WRITES)
    assert url == f"{server.url}/ann/digits"
    look = hub.look(hub.address("ann/digits"))
    assert (look.kind, look.licence) == ("gen_models", "other")
    folder = fetched(look).folder
    for name in ("card.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (shelf.folder("gan-mnist") / name).read_bytes()


def test_the_page_of_a_pushed_model_has_metadata(server, shelf):
    card = json.loads((shelf.folder("gan-mnist") / "card.json").read_text())
    (shelf.folder("gan-mnist") / "card.json").write_text(json.dumps(card | {"licence": "Apache-2.0 (weights)"}))
    (shelf.folder("gan-mnist") / "preview.png").write_bytes(b"a picture")
    hub.push(shelf.folder("gan-mnist"), "ann/digits", token=WRITES, private=True, revision="trial")
    files = server.repos["ann/digits"].files("trial")
    from huggingface_hub import ModelCard

    about = ModelCard.load(files / "README.md").data
    assert (about.license, about.library_name, about.datasets) == ("apache-2.0", "gen_models", ["ylecun/mnist"])
    assert about.pipeline_tag == "unconditional-image-generation"
    assert "gan" in about.tags
    assert (files / "preview.png").read_bytes() == b"a picture"
    assert server.repos["ann/digits"].private
    assert not (server.repos["ann/digits"].files("main") / "card.json").exists()


@pytest.mark.parametrize(
    ("repo", "token", "says"),
    [
        ("ann/digits", None, "must know who you are"),
        ("ann/digits", "hf_unknown", "does not know this token"),
        ("bob/digits", READS, "permission to write"),
        ("bob/digits", WRITES, "permission to write"),
        ("digits", WRITES, "no repository"),
    ],
)
def test_who_may_not_push_is_told_what_to_do(server, shelf, repo, token, says):
    with pytest.raises(BadInput, match=says) as error:
        hub.push(shelf.folder("gan-mnist"), repo, token=token)
    assert token is None or token not in str(error.value)
    assert repo not in server.repos


def test_only_a_checkpoint_is_pushed(server, tmp_path):
    with pytest.raises(BadInput, match="no weights of its own"):
        hub.push(tmp_path, "ann/nothing", token=WRITES)


def test_the_data_sets_named_on_a_page_are_those_that_are_used():
    assert {name: item.repo for name, item in data.hub.HUB_SETS.items()} == DATASETS


def test_nothing_is_printed_or_logged_with_a_token(server, shelf, capfd, caplog):
    caplog.set_level("DEBUG")
    hub.push(shelf.folder("gan-mnist"), "ann/digits", token=WRITES)
    fetched(hub.look(hub.address("ann/digits"), token=WRITES), token=WRITES)
    out, err = capfd.readouterr()
    assert WRITES not in out + err + caplog.text
    assert not out


def test_the_server_runs_in_a_process_of_its_own(tmp_path):
    folder = written(tmp_path / "files", PIPELINE)
    command = [sys.executable, Path(__file__).parent / "hub_server.py", tmp_path / "hub", f"ann/model={folder}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        code = "from gen_models import hub; print(hub.look(hub.address('ann/model')).kind)"
        env = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
        said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert said.stdout.strip() == "DDPMPipeline"
    finally:
        process.kill()
        process.wait()
