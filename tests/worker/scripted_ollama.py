"""An Ollama server that does what a test tells it: the wire format of the real one, any fault on demand."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

DIGEST = "c0ffee"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer to a request.

    Attributes:
        body: JSON.
        status: HTTP status.
    """

    body: dict[str, Any]
    status: int = 200


def answer(text: str) -> Reply:
    """An answer that ended by itself."""
    return Reply(
        {
            "response": text,
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 7,
            "eval_count": 3,
            "load_duration": 1_000_000,
            "prompt_eval_duration": 2_000_000,
            "eval_duration": 3_000_000,
        }
    )


DROP = None
"""Instead of a reply: the connection ends without one."""

Script = "Callable[[dict[str, Any]], Reply | None]"


@dataclass
class ScriptedOllama:
    """What a test sees of the server, and how it tells it what to do.

    Attributes:
        script: called with each request for an answer, in a thread of its own; it may block.
        asked: prompts so far, in order.
        load: what it says to a request that loads the model.
        up: while False, every request is dropped, as by a server that has died.
        host: `address:port`.
    """

    script: Callable[[dict[str, Any]], Reply | None] = lambda body: answer(f"about {body['prompt']}")
    load: Callable[[], Reply] = lambda: Reply({"done": True, "done_reason": "load"})
    asked: list[str] = field(default_factory=list)
    up: bool = True
    host: str = ""

    def reply(self, path: str, body: dict[str, Any]) -> Reply | None:
        """What the server says to a request."""
        if not self.up:
            return DROP
        if path == "/api/ps":
            return Reply({"models": [{"name": "tiny:latest", "digest": DIGEST, "size_vram": 0}]})
        if "prompt" not in body:
            return self.load()
        self.asked.append(body["prompt"])
        return self.script(body)


@contextmanager
def running() -> Generator[ScriptedOllama]:
    """A scripted server on a free port until the block ends."""
    scripted = ScriptedOllama()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self) -> None:
            self._answer({})

        def _answer(self, body: dict[str, Any]) -> None:
            reply = scripted.reply(self.path, body)
            if reply is None:
                self.close_connection = True
                return
            content = json.dumps(reply.body).encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as it is inherited
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that went away is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    scripted.host = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
