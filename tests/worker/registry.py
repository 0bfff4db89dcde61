"""A registry that speaks what Ollama pulls with, and that can be silent, slow, refusing, cut off or wrong.

It serves a model directory that a real server has written. Ollama asks for the manifest; then, for each blob,
with HEAD for its length, with GET for where its bytes are (a `Location`, even under 200), there for ranges.
Bytes go from the file to the socket without a copy, so that it is not what a bench measures.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE_BYTES = 16 * 1024


class Registry(ThreadingHTTPServer):
    """What is served, and how.

    Attributes:
        models: the model directory.
        hang_on: a request whose method and path hold this text is never answered; None answers all.
        hanging: set once a request hangs.
        damaged: whether the last byte of every blob is another than it should be.
        refuses: the status of every answer; None refuses nothing. 401 comes with the address of a token that
            helps no further.
        redirects: whether the bytes of blobs lie on another host, by 307, as with a registry on S3.
        cut_after: bytes of a range after which the connection is closed; None sends all.
        cuts: how many ranges are still to be cut off.
        bytes_per_second: of one connection; None is as fast as can be.
        moving: set once bytes of a range have been sent.
        sent: bytes of blobs that were sent in ranges.
        asked: method and path of every request.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, models: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models
        self.hang_on: str | None = None
        self.hanging = threading.Event()
        self.damaged = False
        self.refuses: HTTPStatus | None = None
        self.redirects = False
        self.cut_after: int | None = None
        self.cuts = 0
        self.bytes_per_second: int | None = None
        self.moving = threading.Event()
        self.sent = 0
        self.asked: list[str] = []
        self.closing = threading.Event()
        self.counting = threading.Lock()

    @property
    def host(self) -> str:
        """`address:port` of it."""
        return f"127.0.0.1:{self.server_port}"

    def name(self, model: str = "tiny:latest", namespace: str = "library") -> str:
        """What `from` says for a model of this registry."""
        return f"http://{self.host}/{namespace}/{model}"

    def manifest_path(self, namespace: str, model: str, tag: str) -> Path:
        """Where it keeps a manifest."""
        return self.models / "manifests" / "registry.ollama.ai" / namespace / model / tag

    def manifest(self, namespace: str, model: str, tag: str) -> bytes | None:
        """The manifest as the server wrote it, or None."""
        path = self.manifest_path(namespace, model, tag)
        return path.read_bytes() if path.is_file() else None

    def blob_path(self, digest: str) -> Path:
        """Where it keeps a blob."""
        return self.models / "blobs" / digest.replace(":", "-")

    def takes_a_cut(self) -> bool:
        """Whether this range is one to cut off, which then is one less."""
        with self.counting:
            self.cuts -= 1
            return self.cuts >= 0

    def count(self, sent: int) -> None:
        """Notes that bytes of a blob have left."""
        with self.counting:
            self.sent += sent
        self.moving.set()


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
    server: Registry  # pyright: ignore[reportIncompatibleVariableOverride]  it serves no other

    def do_GET(self) -> None:
        """A manifest, the place of a blob, or a range of it."""
        registry = self.server
        request = f"{self.command} {self.path}"
        registry.asked.append(request)
        if registry.hang_on is not None and registry.hang_on in request:
            registry.hanging.set()
            registry.closing.wait()
            self.close_connection = True
            return
        _, version, namespace, model, kind, name = [*self.path.split("/"), *[""] * 6][:6]
        if version == "token":
            self._answer(HTTPStatus.OK, b'{"token": "none"}')
        elif registry.refuses is not None:
            challenge = f'Bearer realm="http://{registry.host}/token",service="x",scope="x"'
            headers = {"WWW-Authenticate": challenge} if registry.refuses == HTTPStatus.UNAUTHORIZED else {}
            self._answer(registry.refuses, b"not for you", **headers)
        elif kind == "manifests" and (manifest := registry.manifest(namespace, model, name)) is not None:
            self._answer(HTTPStatus.OK, manifest)
        elif kind == "blobs" and registry.blob_path(name).is_file():
            with registry.blob_path(name).open("rb") as blob:
                self._answer_with(blob)
        else:
            self._answer(HTTPStatus.NOT_FOUND, b'{"errors": [{"code": "UNKNOWN"}]}')

    do_HEAD = do_GET  # noqa: N815  the library's names

    def _answer_with(self, blob: BinaryIO) -> None:
        length = os.fstat(blob.fileno()).st_size
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if span is not None:
            begin, end = int(span[1]), min(int(span[2]) + 1, length)
            self._head(HTTPStatus.PARTIAL_CONTENT, end - begin)
            self._send(blob, begin, end)
        elif self.command == "HEAD":
            self._head(HTTPStatus.OK, length)
        elif self.server.redirects:
            # Another name of loopback is another host.
            place = f"http://localhost:{self.server.server_port}{self.path}"
            self._answer(HTTPStatus.TEMPORARY_REDIRECT, b"", Location=place)
        else:
            # Ollama hangs up on the GET that it makes for the sake of the Location.
            self._head(HTTPStatus.OK, length, Location=f"http://{self.headers['Host']}{self.path}")
            self.close_connection = True

    def _answer(self, status: HTTPStatus, body: bytes, **headers: str) -> None:
        self._head(status, len(body), **headers)
        if self.command == "GET":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        with contextlib.suppress(ConnectionError):
            self.end_headers()

    def _send(self, blob: BinaryIO, begin: int, end: int) -> None:
        registry = self.server
        damaged = registry.damaged and end == os.fstat(blob.fileno()).st_size
        stop = end - 1 if damaged else end
        if registry.cut_after is not None and registry.takes_a_cut():
            stop, damaged = min(stop, begin + registry.cut_after), False
            self.close_connection = True
        piece = PIECE_BYTES if registry.bytes_per_second else 1 << 30
        with contextlib.suppress(ConnectionError):
            while begin < stop:
                sent = os.sendfile(self.connection.fileno(), blob.fileno(), begin, min(piece, stop - begin))
                begin += sent
                registry.count(sent)
                if registry.bytes_per_second:
                    time.sleep(sent / registry.bytes_per_second)
            if damaged:
                blob.seek(stop)
                self.wfile.write(bytes([blob.read(1)[0] ^ 1]))

    def log_message(self, format: str, *_args: object) -> None:  # noqa: A002  likewise
        """Nothing: the server under test has its own log."""
