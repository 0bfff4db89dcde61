"""What the kubelet asks: `/live` and `/ready`, answered by the same loop that does the work."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from runtime.worker.server import Server


@contextlib.asynccontextmanager
async def serving(server: Server, port: int) -> AsyncGenerator[None]:
    """Answers on all addresses, since the kubelet asks from outside the pod, until the block ends.

    Raises:
        OSError: the port is taken.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            async with asyncio.timeout(5):
                request = await reader.readline()
                path = request.split()[1:2]
                good = {b"/live": server.alive, b"/ready": server.ready}.get(path[0] if path else b"")
                status = {True: "200 OK", False: "503 Service Unavailable", None: "404 Not Found"}[good]
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, host=None, port=port)
    async with listener:
        yield
