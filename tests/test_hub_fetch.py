"""Downloads from the Hub: watched, stopped, gone on with, checked."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hub_case import PIPELINE, WEIGHTS, fetched, serving, written
from hub_server import READS, Hub

from gen_models import hub
from gen_models.hub import bringing, contents
from gen_models.interface import BadInput


@pytest.fixture
def server(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch) as running:
        yield running


def test_what_is_fetched_is_found_by_the_hubs_own_library(server):
    from huggingface_hub import hf_hub_download, scan_cache_dir

    look = hub.look(hub.address("ann/model"))
    reports = list(hub.fetch(look))
    assert reports[-1][:2] == (look.bytes, look.bytes)
    assert (reports[-1].folder / WEIGHTS).read_bytes() == PIPELINE[WEIGHTS]
    found = hf_hub_download("ann/model", WEIGHTS, local_files_only=True)
    assert Path(found) == reports[-1].folder / WEIGHTS
    assert not scan_cache_dir(look.small.parents[2]).warnings
    server.requests.clear()
    assert fetched(look).folder == reports[-1].folder
    assert not server.requests


def test_what_the_hubs_own_library_fetched_is_not_fetched_again(server):
    from huggingface_hub import hf_hub_download

    hf_hub_download("ann/model", WEIGHTS)
    server.requests.clear()
    assert fetched(hub.look(hub.address("ann/model"))).folder
    assert not server.asked("GET", "safetensors")


def test_a_slow_download_reports_bytes_and_stops_within_a_second(server):
    look = hub.look(hub.address("ann/model"))
    server.slow("ann/model", WEIGHTS, rate=400_000)
    reports, started = [], time.monotonic()
    for report in hub.fetch(look, stop=lambda: time.monotonic() - started > 0.8):
        reports.append(report)
    assert 0.8 < time.monotonic() - started < 1.8
    assert reports[-1].folder is None
    assert reports[-1].file == WEIGHTS
    seen = [report.done for report in reports]
    assert len(set(seen)) > 3
    assert seen == sorted(seen)
    assert reports[-1].done > 100_000


def test_a_download_that_hangs_stops_at_once_and_goes_on_where_it_was(server):
    look = hub.look(hub.address("ann/model"))
    server.slow("ann/model", WEIGHTS, hang=300_000)
    started = time.monotonic()
    for report in hub.fetch(look, stop=lambda: time.monotonic() - started > 0.5):
        last = report
    assert time.monotonic() - started < 1.5
    assert last.done >= 300_000
    server.fast()
    started = time.monotonic()
    assert (fetched(look).folder / WEIGHTS).read_bytes() == PIPELINE[WEIGHTS]
    assert time.monotonic() - started < 3  # the reader that was left behind holds nothing up
    assert server.asked("GET", "safetensors") == 2


def test_closing_the_iterator_stops_the_download(server):
    look = hub.look(hub.address("ann/model"))
    server.slow("ann/model", WEIGHTS, rate=200_000)
    reports = hub.fetch(look)
    next(reports)
    reports.close()
    threads = [thread for thread in threading.enumerate() if thread.name == "hub"]
    for thread in threads:
        thread.join(2)
    assert not any(thread.is_alive() for thread in threads)


def test_two_who_fetch_the_same_share_one_download(server):
    look = hub.look(hub.address("ann/model"))
    server.slow("ann/model", WEIGHTS, rate=2_000_000)
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetched(look).folder)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 2
    assert found[0] == found[1]
    assert server.asked("GET", "safetensors") == 1


def test_a_truncated_file_is_noticed(server, monkeypatch):
    monkeypatch.setattr(bringing, "PAUSE", 0.01)
    look = hub.look(hub.address("ann/model"))
    server.truncate("ann/model", WEIGHTS, 1000)
    with pytest.raises(BadInput, match=r"Only 1,000 of 1,024,000 bytes of unet/diff"):
        fetched(look)
    assert not (look.small / WEIGHTS).exists()
    server.cut.clear()
    assert (fetched(look).folder / WEIGHTS).read_bytes() == PIPELINE[WEIGHTS]


def test_a_file_of_other_contents_is_noticed_and_thrown_away(server):
    look = hub.look(hub.address("ann/model"))
    path = server.repos["ann/model"].files("main") / WEIGHTS
    path.write_bytes(bytes(len(PIPELINE[WEIGHTS])))
    with pytest.raises(BadInput, match="checksum differs"):
        fetched(look)
    path.write_bytes(PIPELINE[WEIGHTS])
    assert (fetched(look).folder / WEIGHTS).read_bytes() == PIPELINE[WEIGHTS]


def test_a_disk_without_room_is_told_before_anything_is_fetched(server, monkeypatch):
    look = hub.look(hub.address("ann/model"))
    monkeypatch.setattr(bringing, "SPARE", 1 << 60)
    with pytest.raises(BadInput, match=r"are needed in .* are free"):
        fetched(look)


def test_a_token_is_not_sent_on_to_the_storage_that_large_files_come_from(server, tmp_path):
    server.gate("ann/model", READS)
    with Hub(tmp_path / "storage") as storage:
        storage.add("ann/model", tmp_path / "files")
        server.storage = storage.url
        look = hub.look(hub.address("ann/model"), token=READS)
        assert (fetched(look, token=READS).folder / WEIGHTS).read_bytes() == PIPELINE[WEIGHTS]
        assert [token for _, path, token in storage.requests if path.endswith(WEIGHTS)] == [False]
    assert all(token for _, path, token in server.requests if path.endswith(WEIGHTS))


def test_a_folder_is_looked_at_and_fetched_where_it_is(tmp_path):
    folder = written(tmp_path / "pipeline", PIPELINE)
    look = hub.look(hub.address(str(folder)))
    assert (look.kind, look.licence, look.commit) == ("DDPMPipeline", "mit", "")
    assert fetched(look).folder == folder.resolve()


def test_names_in_a_listing_cannot_leave_their_folder(server):
    look = hub.look(hub.address("ann/model"))
    evil = look._replace(files=(*look.files, contents.File("../outside.json", 2, True)))
    with pytest.raises(BadInput, match="leaves its folder"):
        fetched(evil)
    assert not server.asked("GET", "outside.json")
