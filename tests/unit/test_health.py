"""What is asked from outside the pod, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from runtime.worker import health

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


@dataclass
class State:
    """What a worker says of itself."""

    server: bool = True
    ready: bool = True
    text: bytes = b"documents 1\n"

    def serving(self, port: int = 0) -> AbstractAsyncContextManager[int]:
        """The server that asks it."""
        return health.serving(port, lambda: self.server, lambda: self.ready, lambda: self.text)


async def _ask(port: int, request: bytes) -> bytes:
    """The whole answer, until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def _get(port: int, path: str) -> bytes:
    return await _ask(
        port, f"GET {path} HTTP/1.1\r\nHost: pod\r\nUser-Agent: kube-probe/1.34\r\n\r\n".encode()
    )


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("server", [True, False])
@pytest.mark.parametrize("ready", [True, False])
async def test_server_and_ready_are_what_the_worker_says(*, server: bool, ready: bool) -> None:
    """Each path answers 200 or 503 by its own question; a loop that goes round is alive all the same."""
    state = State()
    async with state.serving() as port:
        state.server, state.ready = server, ready
        assert await _get(port, "/live") == OK
        assert await _get(port, "/server") == (OK if server else UNAVAILABLE)
        assert await _get(port, "/ready") == (OK if ready else UNAVAILABLE)


async def test_metrics_are_text_of_the_type_that_a_scraper_knows() -> None:
    """A scrape gets the body with its type and length, whatever query it adds."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=1.0.0; charset=utf-8\r\n"
        b"Content-Length: 12\r\nConnection: close\r\n\r\n"
    )
    async with State().serving() as port:
        assert await _get(port, "/metrics") == head + b"documents 1\n"
        assert await _get(port, "/metrics?name=a") == head + b"documents 1\n"
        assert await _ask(port, b"HEAD /metrics HTTP/1.1\r\n\r\n") == head


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"GET /live/ HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"POST /live HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405 Method Not Allowed"),
        (b"\r\n\r\n", b"400 Bad Request"),
        (b"GET\r\n\r\n", b"400 Bad Request"),
        (b"GET /live HTTP/2\r\n\r\n", b"400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\xff\xfe\r\n\r\n", b"400 Bad Request"),
    ],
)
async def test_what_is_not_a_question_gets_an_answer(request_: bytes, status: bytes) -> None:
    """Other paths, other methods and what is not HTTP are refused in HTTP's own words."""
    async with State().serving() as port:
        assert (await _ask(port, request_)).split(b"\r\n")[0] == b"HTTP/1.1 " + status


@pytest.mark.parametrize(
    ("garbage", "seconds"),
    [
        pytest.param(b"", 0.05, id="nothing"),
        pytest.param(b"GET /live HTTP/1.1\r\n", 0.05, id="half a request"),
        pytest.param(b"x" * 200_000, 3600, id="too much, which no timeout has to end"),
    ],
)
async def test_garbage_costs_a_connection_and_nothing_else(
    garbage: bytes, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says nothing, half a request or far too much is cut off; whoever asks next is answered."""
    monkeypatch.setattr("runtime.worker.health.REQUEST_SECONDS", seconds)
    async with State().serving() as port:
        with contextlib.suppress(ConnectionError):  # cut off while it still spoke
            async with asyncio.timeout(30):
                assert await _ask(port, garbage) == b""
        assert await _get(port, "/live") == OK


async def test_a_loop_that_stalls_does_not_answer_in_time() -> None:
    """While the loop is blocked a probe ends in its timeout, which is a failure; later ones are answered."""
    outcome: list[str] = []
    probed = threading.Event()

    def probe(port: int) -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=0.2) as connection:
                connection.sendall(b"GET /live HTTP/1.1\r\n\r\n")
                outcome.append(f"answered {connection.recv(100)!r}")
        except TimeoutError:
            outcome.append("timed out")
        finally:
            probed.set()

    async with State().serving() as port:
        prober = threading.Thread(target=probe, args=(port,))
        prober.start()
        assert probed.wait(timeout=60)  # in the loop's own thread: nothing else runs
        prober.join()
        assert outcome == ["timed out"]
        assert await _get(port, "/live") == OK


async def test_the_port_is_free_again_and_a_taken_one_is_an_error() -> None:
    """The server is up exactly within its block, and says so when it cannot be."""
    async with State().serving() as port:
        with pytest.raises(OSError, match="in use"):
            async with State().serving(port):
                pass
    with pytest.raises(ConnectionRefusedError):
        await _get(port, "/live")
    async with State().serving(port) as again:
        assert again == port
        assert await _get(port, "/live") == OK
