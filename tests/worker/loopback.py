"""HTTP servers on loopback whose clients may leave when they like."""

from __future__ import annotations

import math
import socket
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

LOOK_SECONDS = 0.02
"""How often a reply that waits for an event looks whether it has come."""
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Server(ThreadingHTTPServer):
    """A server on loopback whose clients may leave when they like."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  as it is inherited
        """A client that went away is what some tests are about; any other error is a test's own mistake."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with one write a reply, so that no client waits for a delayed acknowledgement."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def read_body(self) -> bytes:
        """The request's body, by its length or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return body

    def write(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """Sends a reply at once; its headers are given whole."""
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + content)

    def client_leaves(self, until: float | threading.Event) -> bool:
        """Waits for seconds or an event; says at once whether the client went away meanwhile."""
        event = until if isinstance(until, threading.Event) else threading.Event()
        deadline = math.inf if isinstance(until, threading.Event) else time.monotonic() + until
        step = LOOK_SECONDS if event is until else math.inf
        while not event.is_set() and (left := deadline - time.monotonic()) > 0:
            wait = min(left, step)
            self.connection.settimeout(None if wait == math.inf else wait)
            try:
                return not self.connection.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                continue
            except OSError:
                return True
            finally:
                self.connection.settimeout(None)
        return False

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as it is inherited
        """Says nothing."""


@contextmanager
def serving(handler: type[Handler], port: int = 0) -> Generator[str]:
    """Serves on loopback in threads until the block ends; gives `address:port`."""
    server = Server(("127.0.0.1", port), handler)
    # The default looks for the end twice a second, which is half a second at the end of every test.
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
