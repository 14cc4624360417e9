"""What the Hub on loopback answers: its HTTP, on the repositories that `hub_server.Hub` keeps."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".png", ".ckpt", ".parquet")  # kept as "LFS" files: their ETag is a SHA-256


@dataclass
class Repo:
    """One repository: its files under each revision, and how it behaves."""

    root: Path  # holds a folder for each commit
    revisions: dict[str, str] = field(default_factory=dict)  # branch or commit -> commit
    private: bool = False
    gated: str | bool = False
    readers: set[str] = field(default_factory=set)  # tokens that a gated or private one lets in
    license: str = ""
    proposed: list[str] = field(default_factory=list)  # titles of open pull requests, from number 1

    def files(self, revision: str) -> Path | None:
        commit = self.revisions.get(revision)
        return self.root / commit if commit else None


@dataclass
class Slow:
    """How a file is served: bytes a second, and after how many of them it hangs (None: never)."""

    rate: float = 0.0
    hang: int | None = None


def files_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _etag(path: Path) -> str:
    data = path.read_bytes()
    if path.name.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Answer(Exception):
    """What to answer instead of going on."""

    def __init__(self, status: int, code: str = "", message: str = ""):
        super().__init__(status)
        self.status, self.code, self.message = status, code, message


def answering(hub: Any) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"hub": hub})


class _Handler(BaseHTTPRequestHandler):
    hub: Any  # the Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("HEAD")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        place = urlsplit(self.path)
        self.query, path = parse_qs(place.query), place.path
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.hub.requests.append((method, path, bool(self.token)))
        self.body = self._body()
        try:
            if self.hub.broken:
                raise _Answer(self.hub.broken)
            if self.token and self.token not in self.hub.tokens:
                raise _Answer(401, message="Invalid credentials in Authorization header")
            for methods, pattern, action in _ROUTES:
                if method in methods and (match := re.fullmatch(pattern, path)):
                    action(self, *map(unquote, match.groups()))
                    return
            raise _Answer(404, "EntryNotFound", f"no such address: {path}")
        except _Answer as answer:
            headers = {"X-Error-Code": answer.code} if answer.code else {}
            self._json({"error": answer.message}, answer.status, headers | {"X-Error-Message": answer.message})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # ---- reading ----------------------------------------------------------------------------------------------

    def _repo(self, name: str, files: bool = False) -> Repo:
        found = self.hub.repos.get(name)
        if found is None or (found.private and self.token not in found.readers):
            raise _Answer(404 if self.token else 401, "RepoNotFound", "Repository not found")
        if files and found.gated and self.token not in found.readers:
            raise _Answer(403 if self.token else 401, "GatedRepo", "Access to this model is restricted")
        return found

    def _files_of(self, name: str, revision: str, files: bool = False) -> tuple[Repo, str, Path]:
        repo = self._repo(name, files)
        folder = repo.files(revision)
        if folder is None:
            raise _Answer(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo, repo.revisions[revision], folder

    def _info(self, kind: str, name: str, revision: str = "main") -> None:
        repo, commit, folder = self._files_of(_key(kind, name), revision)
        siblings = []
        for path in files_in(folder):
            found: dict[str, Any] = {"rfilename": path.relative_to(folder).as_posix()}
            if "blobs" in self.query:
                found |= {"size": path.stat().st_size, "blobId": hashlib.sha1(path.read_bytes()).hexdigest()}
                if path.name.endswith(LARGE):
                    found["lfs"] = {"sha256": _etag(path), "size": path.stat().st_size, "pointerSize": 130}
                else:
                    found["blobId"] = _etag(path)
            siblings.append(found)
        about = {"license": repo.license} if repo.license else {}
        told = {"id": name, "modelId": name, "sha": commit, "private": repo.private, "gated": repo.gated}
        self._json(told | {"tags": [], "downloads": 0, "likes": 0, "cardData": about, "siblings": siblings})

    def _tree(self, kind: str, name: str, revision: str) -> None:
        _, _, folder = self._files_of(_key(kind, name), revision)
        items = []
        for path in files_in(folder):
            item = {"type": "file", "path": path.relative_to(folder).as_posix(), "size": path.stat().st_size}
            item["oid"] = hashlib.sha1(path.read_bytes()).hexdigest()
            if path.name.endswith(LARGE):
                item["lfs"] = {"oid": _etag(path), "size": path.stat().st_size, "pointerSize": 130}
            items.append(item)
        self._json(items)

    def _resolve(self, kind: str, name: str, revision: str, file: str) -> None:
        key = _key(kind, name)
        _, commit, folder = self._files_of(key, revision, files=True)
        path = folder / file
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            raise _Answer(404, "EntryNotFound", "Entry not found")
        if self.hub.storage and file.endswith(LARGE):
            self._json({}, 302, {"Location": self.hub.storage + self.path, "X-Linked-ETag": f'"{_etag(path)}"'})
            return
        data = path.read_bytes()[: self.hub.cut.get((key, file))]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(wanted.group(1)) if wanted else 0
        if first and first >= len(data):
            raise _Answer(416)
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", f'"{_etag(path)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        if self.command == "GET":
            self._send(data[first:], self.hub.slowness.get((key, file), Slow()))

    def _send(self, data: bytes, slow: Slow) -> None:
        if slow.hang is not None:
            self.wfile.write(data[: slow.hang])
            self.wfile.flush()
            self.hub.released.wait(60)
            self.close_connection = True
            return
        piece = max(1, int(slow.rate / 20)) if slow.rate else len(data) or 1
        for start in range(0, len(data), piece):
            self.wfile.write(data[start : start + piece])
            if slow.rate:
                time.sleep(0.05)

    def _discussions(self, kind: str, name: str) -> None:
        found = self._repo(_key(kind, name)).proposed
        same = {"status": "open", "isPullRequest": True, "author": {"name": "bot"}}
        same["createdAt"] = "2024-01-01T00:00:00.000Z"
        told = [{"num": n, "title": title, **same} for n, title in enumerate(found, 1)]
        self._json({"discussions": told, "count": len(told), "start": 0})

    # ---- writing ----------------------------------------------------------------------------------------------

    def _writer(self, owner: str) -> str:
        if not self.token:
            raise _Answer(401, message="Authentication required")
        name, role = self.hub.tokens[self.token]
        if role != "write" or name != owner:
            raise _Answer(403, message="You don't have the rights to do that")
        return name

    def _whoami(self) -> None:
        if not self.token:
            raise _Answer(401, message="Invalid username or password.")
        name, role = self.hub.tokens[self.token]
        token = {"accessToken": {"displayName": "a token", "role": role}}
        self._json({"type": "user", "name": name, "orgs": [], "auth": {"type": "access_token", **token}})

    def _create(self) -> None:
        asked = json.loads(self.body)
        owner = asked.get("organization") or self.hub.tokens.get(self.token, ("", ""))[0]
        self._writer(owner)
        name = f"{owner}/{asked['name']}"
        told = {"url": f"{self.hub.url}/{name}", "name": name, "id": name}
        if name in self.hub.repos:
            self._json(told | {"error": "You already created this model repo"}, 409)
            return
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.repos[name] = Repo(self.hub.root / name.replace("/", "--"), private=bool(private))
        self.hub.repos[name].readers.add(self.token)
        self.hub.commit(name, {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        self._json(told)

    def _branch(self, kind: str, name: str, branch: str) -> None:
        self._writer(name.split("/")[0])
        repo = self._repo(_key(kind, name))
        if branch in repo.revisions:
            raise _Answer(409, message="Reference already exists")
        repo.revisions[branch] = repo.revisions["main"]
        self._json({}, 201)

    def _preupload(self, kind: str, name: str, revision: str) -> None:
        self._writer(name.split("/")[0])
        self._files_of(_key(kind, name), revision)
        asked = json.loads(self.body)["files"]
        modes = [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular", "shouldIgnore": False}
            for f in asked
        ]
        self._json({"files": modes})

    def _batch(self, name: str) -> None:
        self._writer(name.split("/")[0])
        objects = [
            {**item, "authenticated": True, "actions": {"upload": {"href": f"{self.hub.url}/upload/{item['oid']}"}}}
            for item in json.loads(self.body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Answer(400, message="the content is another one")
        self.hub.uploads[oid] = self.body
        self._json({})

    def _commit(self, kind: str, name: str, revision: str) -> None:
        self._writer(name.split("/")[0])
        _, _, folder = self._files_of(_key(kind, name), revision)
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_in(folder)}
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
        commit = self.hub.commit(_key(kind, name), files, revision)
        url = f"{self.hub.url}/{name}/commit/{commit}"
        self._json({"commitUrl": url, "commitOid": commit, "hookOutput": "", "success": True})

    def _yaml(self) -> None:
        content = json.loads(self.body)["content"]
        errors = [] if content.startswith("---\n") else [{"message": "no metadata"}]
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)


def _key(kind: str, name: str) -> str:
    return name if kind in ("", "models", "models/") else f"datasets/{name}"


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES = (
    (("GET",), rf"/api/(models|datasets)/{_NAME}", _Handler._info),
    (("GET",), rf"/api/(models|datasets)/{_NAME}/revision/([^/]+)", _Handler._info),
    (("GET",), rf"/api/(models|datasets)/{_NAME}/tree/([^/]+)", _Handler._tree),
    (("GET",), rf"/api/(models|datasets)/{_NAME}/discussions", _Handler._discussions),
    (("GET", "HEAD"), rf"/(datasets/|){_NAME}/resolve/([^/]+)/(.+)", _Handler._resolve),
    (("GET",), r"/api/whoami-v2", _Handler._whoami),
    (("POST",), r"/api/repos/create", _Handler._create),
    (("POST",), rf"/api/(models|datasets)/{_NAME}/branch/([^/]+)", _Handler._branch),
    (("POST",), rf"/api/(models|datasets)/{_NAME}/preupload/([^/]+)", _Handler._preupload),
    (("POST",), rf"/api/(models|datasets)/{_NAME}/commit/([^/]+)", _Handler._commit),
    (("POST",), rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler._batch),
    (("PUT",), r"/upload/([0-9a-f]{64})", _Handler._upload),
    (("POST",), r"/api/validate-yaml", _Handler._yaml),
)
