"""What is asked from outside: `/live`, `/server`, `/ready` and `/metrics`, answered by the loop that works.

`/live` is asked for the worker's container and says only that the loop goes round; `/server` for the model
server's, which hangs in ways that only its client sees.

That the same loop answers is the point. A loop that stalls answers nobody: the kubelet's probe times out
(after 1 s by default), which counts like a 503, and the third in a row restarts the container. A server in a
thread, such as prometheus_client's, would go on answering for a loop that is dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from runtime.worker.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

MAX_REQUEST_BYTES = 8192
REQUEST_SECONDS = 5
REQUEST_LINE = re.compile(rb"([A-Z]+) ([^\s?]+)(?:\?\S*)? HTTP/1\.[01]\r\n")

Answer = tuple[HTTPStatus, bytes]


@contextlib.asynccontextmanager
async def serving(
    port: int, server: Callable[[], bool], ready: Callable[[], bool], metrics: Callable[[], bytes]
) -> AsyncGenerator[int]:
    """Answers on all addresses, since the kubelet asks from outside the pod, until the block ends.

    Args:
        port: 0 for any that is free.
        server: whether the model server is to go on; if not, the kubelet restarts it.
        ready: whether it can answer documents, or has one in hand.
        metrics: the text that a scrape gets.

    Yields:
        The port.

    Raises:
        OSError: the port is taken.
    """

    def judged(good: bool) -> Answer:  # noqa: FBT001  the judgement itself
        return (HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE), b""

    pages: dict[bytes, Callable[[], Answer]] = {
        b"/live": lambda: (HTTPStatus.OK, b""),
        b"/server": lambda: judged(server()),
        b"/ready": lambda: judged(ready()),
        b"/metrics": lambda: (HTTPStatus.OK, metrics()),
    }

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, pages))
                await writer.drain()
        except (ConnectionError, TimeoutError, EOFError, asyncio.LimitOverrunError):
            pass  # whoever it was has gone, or does not speak HTTP
        finally:
            writer.close()

    listener = await asyncio.start_server(answer, host=None, port=port, limit=MAX_REQUEST_BYTES)
    async with listener:
        # Port 0 gives each address family its own port: the first is IPv4's, where there is one.
        yield min(listener.sockets, key=lambda bound: bound.family).getsockname()[1]


def _response(head: bytes, pages: dict[bytes, Callable[[], Answer]]) -> bytes:
    """The whole answer to a request."""
    request = REQUEST_LINE.match(head)
    method, path = request.groups() if request else (b"", b"")
    page, body = pages.get(path), b""
    if request is None:
        status = HTTPStatus.BAD_REQUEST
    elif method not in {b"GET", b"HEAD"}:
        status = HTTPStatus.METHOD_NOT_ALLOWED
    elif page is None:
        status = HTTPStatus.NOT_FOUND
    else:
        status, body = page()
    what = f"Content-Type: {CONTENT_TYPE}\r\n" if body else ""
    fields = f"{what}Content-Length: {len(body)}\r\nConnection: close\r\n"
    start = f"HTTP/1.1 {status.value} {status.phrase}\r\n{fields}\r\n".encode()
    return start if method == b"HEAD" else start + body
