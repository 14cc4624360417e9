"""A Hugging Face Hub on loopback, of the standard library alone: what huggingface_hub, diffusers and `push` speak.

In a test: `with Hub(folder) as hub: hub.add("ann/model", files)`; HF_ENDPOINT is `hub.url`, or `online` sets it. In a
process of its own: `python tests/hub_server.py ROOT owner/name=FOLDER ..` prints its address and serves until ended.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hub_answers import Repo, Slow, answering, files_in

WRITES, READS = "hf_writes", "hf_reads"  # the tokens that are known from the start


class Hub:
    """The server; `requests` lists what was asked: method, path, and whether a token came with it."""

    def __init__(self, root: str | Path, port: int = 0):
        self.root = Path(root)
        self.repos: dict[str, Repo] = {}
        self.tokens = {WRITES: ("ann", "write"), READS: ("bob", "read")}
        self.slowness: dict[tuple[str, str], Slow] = {}
        self.cut: dict[tuple[str, str], int] = {}
        self.storage = ""  # another server's address, to which requests for large files are sent on
        self.broken = 0  # a status to answer everything with
        self.requests: list[tuple[str, str, bool]] = []
        self.released = threading.Event()  # lets what hangs go on, when the server ends
        self.uploads: dict[str, bytes] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", port), answering(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    # ---- what a test sets up ----------------------------------------------------------------------------------

    def add(self, repo: str, folder: str | Path, revision: str = "main", license: str = "") -> str:
        """A commit with the folder's files; its 40 hex digits. Data sets are named datasets/owner/name."""
        found = self.repos.setdefault(repo, Repo(self.root / repo.replace("/", "--")))
        found.license = license or found.license
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_in(Path(folder))}
        return self.commit(repo, files, revision)

    def commit(self, repo: str, files: dict[str, bytes], revision: str = "main") -> str:
        found, digest = self.repos[repo], hashlib.sha1(revision.encode())
        for name in sorted(files):
            digest.update(name.encode() + hashlib.sha1(files[name]).digest())
        commit = digest.hexdigest()
        for name, data in files.items():
            path = found.root / commit / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (found.root / commit).mkdir(parents=True, exist_ok=True)
        found.revisions |= {revision: commit, commit: commit}
        if said := re.search(rb"^license: (.+)$", files.get("README.md", b""), re.M):
            found.license = said.group(1).decode()
        return commit

    def gate(self, repo: str, *readers: str) -> None:
        """Only these tokens may fetch; anyone may see that it is there."""
        self.repos[repo].gated, self.repos[repo].readers = "manual", set(readers)

    def hide(self, repo: str, *readers: str) -> None:
        """Only these tokens know that it is there."""
        self.repos[repo].private, self.repos[repo].readers = True, set(readers)

    def slow(self, repo: str, file: str, rate: float = 0.0, hang: int | None = None) -> None:
        """So many bytes a second (0: all at once); after `hang` bytes nothing comes any more."""
        self.slowness[repo, file] = Slow(rate, hang)

    def fast(self) -> None:
        self.slowness.clear()

    def truncate(self, repo: str, file: str, size: int) -> None:
        """Serves the first bytes as if they were all, while the listing tells the truth."""
        self.cut[repo, file] = size

    def asked(self, method: str, part: str) -> int:
        """How many requests of a method had this in their path."""
        return sum(method == m and part in path for m, path, _ in self.requests)


def online(monkeypatch: Any, hub: Hub | str, cache: Path) -> None:
    """Lets this process's Hub libraries use the server, a cache of their own, and no token but one that is given."""
    from huggingface_hub import constants, hf_api

    url = hub if isinstance(hub, str) else hub.url
    settings = {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_DISABLE_XET": True,  # its storage is another server, which is not imitated
        "HF_TOKEN_PATH": str(cache / "no-token"),
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(hf_api.api, "endpoint", url)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="an empty folder to keep the repositories in")
    parser.add_argument("repos", nargs="*", help="owner/name=FOLDER")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    shutil.rmtree(given.root, ignore_errors=True)
    with Hub(given.root, given.port) as hub:
        for item in given.repos:
            name, _, folder = item.partition("=")
            hub.add(name, folder)
        print(hub.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
