"""A registry that speaks what Ollama pulls with, and that can be silent or wrong.

It serves a model directory that a real server has written. Ollama asks for the manifest; then, for each blob,
with HEAD for its length, with GET for where its bytes are (a `Location`, even under 200), there for ranges.
"""

from __future__ import annotations

import contextlib
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Registry(ThreadingHTTPServer):
    """What is served, and how.

    Attributes:
        models: the model directory.
        hang_on: a request whose method and path hold this text is never answered; None answers all.
        hanging: set once a request hangs.
        damaged: whether the last byte of every blob is another than it should be.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, models: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models
        self.hang_on: str | None = None
        self.hanging = threading.Event()
        self.damaged = False
        self.closing = threading.Event()

    def name(self, model: str = "tiny:latest") -> str:
        """What `from` says for a model of this registry."""
        return f"http://127.0.0.1:{self.server_port}/library/{model}"

    def manifest(self, namespace: str, model: str, tag: str) -> bytes | None:
        """The manifest as the server wrote it, or None."""
        path = self.models / "manifests" / "registry.ollama.ai" / namespace / model / tag
        return path.read_bytes() if path.is_file() else None

    def blob(self, digest: str) -> bytes | None:
        """The bytes that are sent under the digest, or None."""
        path = self.models / "blobs" / digest.replace(":", "-")
        if not path.is_file():
            return None
        content = path.read_bytes()
        return content[:-1] + bytes([content[-1] ^ 1]) if self.damaged else content


@contextlib.contextmanager
def running(models: Path) -> Iterator[Registry]:
    """Serves the model directory on a free port of loopback."""
    with Registry(models) as registry:
        thread = threading.Thread(target=registry.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield registry
        finally:
            registry.closing.set()
            registry.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A manifest, the place of a blob, or a range of it."""
        registry = cast("Registry", self.server)
        if registry.hang_on is not None and registry.hang_on in f"{self.command} {self.path}":
            registry.hanging.set()
            registry.closing.wait()
            self.close_connection = True
            return
        _, _, namespace, model, kind, name = [*self.path.split("/"), *[""] * 6][:6]
        body = registry.manifest(namespace, model, name) if kind == "manifests" else registry.blob(name)
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if body is None:
            self._answer(HTTPStatus.NOT_FOUND, b'{"errors": [{"code": "UNKNOWN"}]}')
        elif span is None:
            self._answer(HTTPStatus.OK, body, location=f"http://{self.headers['Host']}{self.path}")
        else:
            self._answer(HTTPStatus.PARTIAL_CONTENT, body[int(span[1]) : int(span[2]) + 1])

    do_HEAD = do_GET  # noqa: N815  the library's names

    def _answer(self, status: HTTPStatus, body: bytes, *, location: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location is not None:
            self.send_header("Location", location)
        self.end_headers()
        if self.command == "GET":
            # Ollama hangs up on the GET that it makes for the sake of the Location.
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

    def log_message(self, format: str, *_args: object) -> None:  # noqa: A002  likewise
        """Nothing: the server under test has its own log."""
