"""The client of a model server, besides what documents ask: loading, looking, and its connections."""

from __future__ import annotations

import asyncio
import json

import httpx
import pydantic
import pytest

from runtime.ollama.client import Loaded, Ollama
from runtime.spec import Options, TaskSpec
from tests.unit.answering.server import GOOD, Server, says, task

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


async def test_every_request_has_a_connection_of_its_own() -> None:
    """One that was kept from before a restart of the server would break under the next document."""
    connections: list[bytes] = []
    ended = asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(await reader.readuntil(b"\r\n\r\n"))
        body = json.dumps({"version": "0.24.0"}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        # As a server that is killed: the connection is not closed before the client asks again.
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.release()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        client = Ollama(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert [await client.ping() for _ in range(3)] == ["0.24.0"] * 3
        await client.close()
        for _ in connections:
            await ended.acquire()
    assert len(connections) == 3
