"""An Ollama server that does what a test tells it: the wire format of the real one, any fault on demand.

As a program (`python -m tests.worker.scripted_ollama`) it is a server of fixed speed, for benches.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import heapq
import json
import math
import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.worker.loopback import Handler, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

DIGEST = "c0ffee"
MODEL = "tiny:latest"
CREATED_AT = "2026-01-01T00:00:00.000000000Z"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer to a request.

    Attributes:
        body: JSON.
        status: HTTP status.
        after: seconds, or an event, that it waits for before it is sent.
        sent: the share of the body that is sent before the connection ends; 0 sends not even headers.
    """

    body: dict[str, Any]
    status: int = 200
    after: float | threading.Event = 0.0
    sent: float = 1.0


def answer(text: str, thinking: str = "") -> Reply:
    """An answer that ended by itself."""
    return Reply(
        {
            "model": MODEL,
            "created_at": CREATED_AT,
            "response": text,
            **({"thinking": thinking} if thinking else {}),
            "done": True,
            "done_reason": "stop",
            "total_duration": 7_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": 7,
            "prompt_eval_duration": 2_000_000,
            "eval_count": 3,
            "eval_duration": 3_000_000,
        }
    )


def length(text: str = "and so on and so") -> Reply:
    """An answer that ran into num_predict or num_ctx."""
    return Reply(answer(text).body | {"done_reason": "length"})


def not_done(text: str = "ha ha ha") -> Reply:
    """What the server says where it gave up, as on a repeated token: 200, and not done."""
    return Reply({"model": MODEL, "created_at": CREATED_AT, "response": text, "done": False})


def error(status: int, message: str) -> Reply:
    """A refusal: 400 (body, capability, context), 404 (no such model), 500 (load, runner), 503 (busy)."""
    return Reply({"error": message}, status)


def error_line(message: str) -> Reply:
    """An error after the status was sent: HTTP 200, with the error as its only line."""
    return error(200, message)


def delay(seconds: float, reply: Reply) -> Reply:
    """A reply that takes its time, unless the client leaves first."""
    return replace(reply, after=seconds)


def hang(until: float | threading.Event = math.inf) -> Reply:
    """Silence until the client leaves, a time has passed or an event happens; then the connection ends."""
    return Reply({}, after=until, sent=0)


def cut(reply: Reply | None = None) -> Reply:
    """Headers that promise a whole reply, half of it, and the end of the connection."""
    return replace(reply or answer("a text of which only half arrives"), sent=0.5)


def embedding(text: str) -> list[float]:
    """The vector that the server gives for a text."""
    return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]]


def embeddings(body: dict[str, Any]) -> Reply:
    """The vectors of a request's texts."""
    texts: list[str] = [body["input"]] if isinstance(body["input"], str) else body["input"]
    return Reply(
        {
            "model": MODEL,
            "embeddings": [embedding(text) for text in texts],
            "total_duration": 7_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": sum(len(text) for text in texts),
        }
    )


DROP = None
"""Instead of a reply: the connection ends without one."""


@dataclass
class ScriptedOllama:
    """What a test sees of the server, and how it tells it what to do.

    Attributes:
        script: called with each request for an answer, in a thread of its own; it may block.
        load: what it says to a request that loads the model.
        embed: called with each request for vectors.
        asked: prompts and texts to embed so far, in order.
        requests: bodies so far of requests for answers or vectors; an image is its sha256 and size in bytes.
        loads: bodies so far of requests that load the model.
        abandoned: prompts so far whose client left before the reply was sent.
        dropped: prompts so far that came while it was down; a real server's port would refuse them.
        crash_on: a prompt that contains one of these texts, or an image of this sha256, crashes the server.
        down_seconds: after a crash by `crash_on`, the time until it is back; without end, for `restart`.
        loaded: whether the model is in memory, as /api/ps says.
        resident: what /api/ps says of the model while it is loaded.
        shown: what /api/show says of it.
        version: what /api/version says.
        up: while False, every request is dropped, as by a server that has died.
        host: `address:port`.
    """

    script: Callable[[dict[str, Any]], Reply | None] = lambda body: answer(f"about {body['prompt']}")
    load: Callable[[], Reply] = lambda: Reply({"response": "", "done": True, "done_reason": "load"})
    embed: Callable[[dict[str, Any]], Reply | None] = embeddings
    asked: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    crash_on: set[str] = field(default_factory=set)
    down_seconds: float = math.inf
    loaded: bool = False
    resident: dict[str, Any] = field(
        default_factory=lambda: {
            "name": MODEL,
            "model": MODEL,
            "size": 1_000_000,
            "size_vram": 0,
            "digest": DIGEST,
            "context_length": 4096,
        }
    )
    shown: dict[str, Any] = field(
        default_factory=lambda: {
            "capabilities": ["completion"],
            "details": {"format": "gguf", "family": "llama"},
            "model_info": {"general.architecture": "llama", "llama.context_length": 4096},
        }
    )
    version: str = "0.0.0"
    up: bool = True
    host: str = ""
    connections: set[socket.socket] = field(default_factory=set)

    def crash(self) -> None:
        """Dies: every connection ends now, the model is gone, and nothing is answered until `restart`."""
        self.up = self.loaded = False
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def restart(self) -> None:
        """Comes back, with no model loaded."""
        self.up = True

    def reply(self, path: str, body: dict[str, Any]) -> Reply | None:
        """What the server says to a request."""
        if not self.up:
            self.dropped += [body["prompt"]] if "prompt" in body else []
            return DROP
        match path:
            case "/api/generate" if body.get("options", {}).get("num_predict") == 1:
                # A worker that asks for a first word only wants to know that the model answers.
                return self._load(body)
            case "/api/generate" if body.get("prompt") or body.get("images"):
                return self._question(body, [body.get("prompt", "")], self.script)
            case "/api/embed" if body.get("input"):
                texts = body["input"]
                return self._question(body, [texts] if isinstance(texts, str) else texts, self.embed)
            case "/api/generate" | "/api/embed":
                return self._load(body)
        pages = {
            "/api/ps": {"models": [self.resident] if self.loaded else []},
            "/api/show": self.shown,
            "/api/version": {"version": self.version},
        }
        return Reply(pages[path]) if path in pages else error(404, "404 page not found")

    def _question(
        self, body: dict[str, Any], texts: list[str], script: Callable[[dict[str, Any]], Reply | None]
    ) -> Reply | None:
        images = [base64.b64decode(image) for image in body.get("images", [])]
        digests = [{"sha256": hashlib.sha256(image).hexdigest(), "bytes": len(image)} for image in images]
        self.asked += texts
        self.requests.append(body | ({"images": digests} if digests else {}))
        said = [*texts, *(str(digest["sha256"]) for digest in digests)]
        if any(mark in text for mark in self.crash_on for text in said):
            self.crash()
            if self.down_seconds < math.inf:
                back = threading.Timer(self.down_seconds, self.restart)
                back.daemon = True
                back.start()
            return DROP
        return script(body)

    def _load(self, body: dict[str, Any]) -> Reply:
        self.loads.append(body)
        if body.get("keep_alive") == 0:
            self.loaded = False
            return Reply({"response": "", "done": True, "done_reason": "unload"})
        reply = self.load()
        self.loaded = reply.status == 200
        return reply


@contextmanager
def running(scripted: ScriptedOllama | None = None, port: int = 0) -> Generator[ScriptedOllama]:
    """A scripted server, on a free port unless one is given, until the block ends."""
    told = scripted or ScriptedOllama()

    class Ollama(Handler):
        def setup(self) -> None:
            super().setup()
            told.connections.add(self.connection)

        def finish(self) -> None:
            told.connections.discard(self.connection)
            super().finish()

        def do_POST(self) -> None:  # noqa: N802  as http.server calls it
            self._answer(json.loads(self.read_body()))

        def do_GET(self) -> None:  # noqa: N802  likewise
            self._answer({})

        def _answer(self, body: dict[str, Any]) -> None:
            reply = told.reply(self.path, body)
            if reply and reply.after and self.client_leaves(reply.after):
                told.abandoned.append(body.get("prompt", ""))
                reply = DROP
            if reply is None or not reply.sent:
                self.close_connection = True
                return
            content = json.dumps(reply.body).encode()
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "Content-Length": str(len(content)),
            }
            self.write(reply.status, headers, content[: int(len(content) * reply.sent)])
            self.close_connection |= reply.sent < 1

    with serving(Ollama, port) as told.host:
        yield told


@dataclass
class TimedOllama(ScriptedOllama):
    """A server of fixed speed: every prompt takes the same time, at most `slots` at once, the rest in order.

    Times are planned when a prompt arrives, not measured, so this machine's noise is not the slots' time.

    Attributes:
        service_seconds: time in a slot.
        slots: as OLLAMA_NUM_PARALLEL.
        answers: monotonic times of each answer: arrived, started, ended.
    """

    service_seconds: float = 0.2
    slots: int = 4
    answers: list[tuple[float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Starts with every slot free."""
        self.script = self._in_a_slot
        self._free = [0.0] * self.slots
        self._lock = threading.Lock()

    def _in_a_slot(self, body: dict[str, Any]) -> Reply:
        arrived = time.monotonic()
        with self._lock:
            started = max(arrived, self._free[0])
            ended = started + self.service_seconds
            heapq.heapreplace(self._free, ended)
            self.answers.append((arrived, started, ended))
        reply = answer(fingerprint(body))
        time.sleep(max(0.0, ended - time.monotonic()))
        return reply

    def stats(self) -> dict[str, Any]:
        """What a bench needs to tell how busy the slots were."""
        return {
            "slots": self.slots,
            "service_seconds": self.service_seconds,
            "cpu_seconds": time.process_time(),
            "answers": [dict(zip(("arrived", "start", "end"), times, strict=True)) for times in self.answers],
        }

    def reply(self, path: str, body: dict[str, Any]) -> Reply | None:
        """What the server says to a request; its stats at /stats."""
        return Reply(self.stats()) if path == "/stats" else super().reply(path, body)


def fingerprint(body: dict[str, Any]) -> str:
    """The answer of a timed server: 16 hex digits of the sha256 of prompt and images."""
    return hashlib.sha256("".join([body.get("prompt", ""), *body.get("images", [])]).encode()).hexdigest()[
        :16
    ]


def main() -> None:
    """Serves until SIGTERM: the first line is `address:port`, the last one the stats as JSON."""
    parser = argparse.ArgumentParser(description=TimedOllama.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--service-seconds", type=float, default=0.2)
    parser.add_argument("--slots", type=int, default=4)
    given = parser.parse_args()
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    timed = TimedOllama(service_seconds=given.service_seconds, slots=given.slots)
    with running(timed, given.port):
        print(timed.host, flush=True)  # noqa: T201  it is what a bench reads
        signal.sigwait(signals)
        print(json.dumps(timed.stats()), flush=True)  # noqa: T201  likewise


if __name__ == "__main__":
    main()
