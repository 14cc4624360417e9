"""A reverse proxy on loopback that serves a page under a path, and a site of another origin that frames it."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length", "host"}


@contextlib.contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def behind(url: str, path: str) -> Iterator[str]:
    """The address at which `url` is served under `path`, which is cut off on the way; anything else is not found."""
    target = urlsplit(url)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # an answer ends when the connection does: events pass as they come

        def do_GET(self) -> None:
            if not self.path.startswith(path + "/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            headers |= {"Host": target.netloc, "X-Forwarded-Host": self.headers["Host"], "X-Forwarded-Proto": "http"}
            upstream = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
            with contextlib.closing(upstream), contextlib.suppress(OSError, http.client.HTTPException):
                upstream.request(self.command, self.path[len(path) :], body or None, headers)
                answer = upstream.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.end_headers()
                while part := answer.read1(65536):
                    self.wfile.write(part)
                    self.wfile.flush()

        do_POST = do_HEAD = do_GET

        def log_message(self, *_) -> None:
            pass

    with _serving(Proxy) as origin:
        yield f"{origin}{path}/"


@contextlib.contextmanager
def framing(url: str) -> Iterator[str]:
    """The address of a page of another origin that shows `url` in a frame, as huggingface.co shows a Space."""
    allowed = "allow-downloads allow-forms allow-popups allow-same-origin allow-scripts"
    body = (
        f'<!doctype html><title>Outside</title><iframe src="{url}" sandbox="{allowed}" style="width: 1200px; '
        'height: 800px"></iframe>'
    ).encode()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/" else 204)
            if self.path == "/":
                self.send_header("Content-Type", "text/html")
            self.end_headers()
            if self.path == "/":
                self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    with _serving(Site) as origin:
        yield origin.replace("127.0.0.1", "localhost")  # another host, so another site
