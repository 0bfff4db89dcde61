"""The client of a model server, besides what documents ask: loading, looking, and its connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from typing import TYPE_CHECKING

import httpx
import pydantic
import pytest
import uvloop

from runtime.ollama.client import Loaded, Ollama
from runtime.spec import Options, TaskSpec
from tests.unit.answering.server import GOOD, Server, says, task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

OPTIONS = {"num_ctx": 1024, "num_predict": 64, "use_mmap": False}
GENERATE = task(options=Options(num_ctx=1024, num_predict=64))
EMBED = GENERATE.model_copy(update={"task": "embed"})


@pytest.mark.parametrize(("of", "path"), [(GENERATE, "/api/generate"), (EMBED, "/api/embed")])
async def test_a_model_is_loaded_with_the_options_of_its_requests(of: TaskSpec, path: str) -> None:
    """One that only embeds is loaded where it can be asked."""
    server = Server()
    await server.client().load(of)
    assert server.asked[0].url.path == path
    assert server.bodies == [{"model": "tiny:1b", "keep_alive": -1, "options": OPTIONS, "stream": False}]


async def test_the_first_word_is_one_token() -> None:
    """num_predict is no runner option: the model is not loaded again for it."""
    server = Server(lambda _body: says(done_reason="length"))
    await server.client().first_word(GENERATE)
    assert server.asked[0].url.path == "/api/generate"
    assert server.bodies == [
        {
            "model": "tiny:1b",
            "prompt": "1",
            "options": {**OPTIONS, "num_predict": 1},
            "keep_alive": -1,
            "truncate": False,
            "stream": False,
            "shift": False,
        }
    ]


async def test_the_first_vector() -> None:
    """A model that embeds shows itself by a vector."""
    server = Server(lambda _body: httpx.Response(200, json={"embeddings": [[0.5]]}))
    await server.client().first_word(EMBED)
    assert server.asked[0].url.path == "/api/embed"
    assert server.bodies == [
        {"model": "tiny:1b", "input": "1", "options": OPTIONS, "keep_alive": -1, "truncate": False}
    ]


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize("body", [{"error": "odd"}, {**GOOD, "done": False}, {"embeddings": []}, []])
async def test_no_first_word(*, embed: bool, body: object) -> None:
    """Anything but a token or a vector is an error, HTTP 200 or not."""
    client = Server(lambda _body: httpx.Response(200, json=body)).client()
    with pytest.raises(ValueError, match="validation error"):
        await client.first_word(EMBED if embed else GENERATE)


async def test_what_is_loaded() -> None:
    """The one model that the server keeps, or none."""
    listed = {"name": "tiny:1b", "digest": "c0ffee", "size": 3, "size_vram": 2, "context_length": 512}
    client = Server(lambda _body: httpx.Response(200, json={"models": [{**listed, "details": {}}]})).client()
    assert await client.loaded() == Loaded.model_validate(listed)
    assert await Server(lambda _body: httpx.Response(200, json={"models": []})).client().loaded() is None


async def test_what_a_model_can_do() -> None:
    """As the server tells it; of an old one nothing is known."""
    server = Server(lambda _body: httpx.Response(200, json={"capabilities": ["completion", "vision"]}))
    assert await server.client().capabilities("tiny:1b") == {"completion", "vision"}
    assert (server.asked[0].url.path, server.bodies) == ("/api/show", [{"model": "tiny:1b"}])
    assert await Server(lambda _body: httpx.Response(200, json={})).client().capabilities("a") == frozenset()


@pytest.mark.parametrize("ask", ["ping", "loaded", "capabilities", "load", "first_word"])
async def test_errors_are_raised(ask: str) -> None:
    """A refusal is an error of httpx, and what is not the API's JSON one of pydantic."""

    async def look(client: Ollama) -> None:
        of = {"load": (GENERATE,), "first_word": (GENERATE,), "capabilities": ("tiny:1b",)}.get(ask, ())
        await getattr(client, ask)(*of)

    with pytest.raises(httpx.HTTPStatusError):
        await look(Server(lambda _body: httpx.Response(500, json={"error": "odd"})).client())
    if ask != "load":
        with pytest.raises(pydantic.ValidationError):
            await look(Server(lambda _body: httpx.Response(200, json=[])).client())


class Kept:
    """A server that keeps every connection until it is stopped.

    Attributes:
        port: where it was started first, and is ever after.
        connections: how many there were so far.
        together: how many requests it has to have before it answers them.
    """

    def __init__(self) -> None:
        self.port = self.connections = 0
        self.together = asyncio.Barrier(1)
        self._writers: list[asyncio.StreamWriter] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        body = json.dumps({"version": "0.24.0"}).encode()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                await self.together.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()

    @contextlib.asynccontextmanager
    async def running(self, end: str = "closed") -> AsyncGenerator[None]:
        """Serves, at the same port each time; at the end its connections are closed, or reset."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for writer in self._writers:
                if end == "reset":
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            self._writers.clear()
            await server.wait_closed()


def test_connections_are_used_again() -> None:
    """One after the other needs one, however many; as many at once need as many, and keep them."""

    async def ask() -> None:
        kept = Kept()
        async with kept.running():
            client = Ollama(f"127.0.0.1:{kept.port}")
            assert [await client.ping() for _ in range(20)] == ["0.24.0"] * 20
            assert kept.connections == 1
            kept.together = asyncio.Barrier(30)
            for _ in range(3):
                await asyncio.gather(*(client.ping() for _ in range(30)))
            assert kept.connections == 30
            await client.close()

    asyncio.run(ask())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("end", ["closed", "reset"])
@pytest.mark.parametrize("noticed", [True, False])
def test_a_server_that_was_restarted_is_asked_by_a_new_connection(
    run: Callable[..., None], end: str, *, noticed: bool
) -> None:
    """No document breaks at a connection that was kept from before, noticed or not, by either loop."""

    async def ask() -> None:
        kept = Kept()
        async with kept.running(end):
            client = Ollama(f"127.0.0.1:{kept.port}")
            await asyncio.gather(*(client.ping() for _ in range(5)))
        async with kept.running():
            if noticed:
                await asyncio.sleep(0.05)
            assert await asyncio.gather(*(client.ping() for _ in range(9))) == ["0.24.0"] * 9
            assert kept.connections == 5 + 9
            await client.close()

    run(ask())


async def test_a_server_that_is_away_cannot_be_reached() -> None:
    """A kept connection does not make it look like one that broke off: no document was there."""
    kept = Kept()
    async with kept.running():
        client = Ollama(f"127.0.0.1:{kept.port}")
        await client.ping()
    with pytest.raises(httpx.ConnectError):
        await client.ping()
    await client.close()
