"""A stream of what happens to the objects of a kind."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

    OnEvent = Callable[[float, str, dict[str, Any]], None]
    """Gets the time by time.monotonic(), the event's type and the object, in the watch's thread."""


class Watch:
    """A stream of events, read in a thread of its own until it is closed."""

    def __init__(self, client: httpx.Client, path: str, version: str, on_event: OnEvent) -> None:
        request = client.build_request(
            "GET",
            path,
            params={"watch": "1", "resourceVersion": version},
            timeout=httpx.Timeout(30, read=None),
        )
        self._response = client.send(request, stream=True)
        self._on_event = on_event
        self._closed = False
        self.broken = ""
        """Why it ended without being closed, if it did."""
        self._thread = threading.Thread(target=self._read, name=f"watch {path}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._closed = True
        stream: socket.socket = self._response.extensions["network_stream"].get_extra_info("socket")
        with contextlib.suppress(OSError):
            # The socket's own: an SSL socket's would take the connection's state away from its reader.
            socket.socket.shutdown(stream, socket.SHUT_RDWR)
        self._thread.join()

    def _read(self) -> None:
        reason = "the server ended it"
        try:
            for line in self._response.iter_lines():
                event = json.loads(line)
                self._on_event(time.monotonic(), event["type"], event["object"])
        except httpx.TransportError as error:
            reason = repr(error)
        finally:
            self._response.close()
            self.broken = "" if self._closed else reason
