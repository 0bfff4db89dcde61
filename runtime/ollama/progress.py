"""Progress as log lines that a person can follow and a log bill can bear."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERVAL_SECONDS = 1
WINDOW_SECONDS = 10
"""What the rate is a mean over: long enough not to flicker, short enough to show a slower registry."""

_PULLING = "pulling "


class Progress:
    """Logs how far something has come, its rate and the time that is left: at most one line a second."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._next = 0.0
        self._sizes: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._seen: deque[tuple[float, int]] = deque()
        self._what: tuple[str, int] | None = None
        self.furthest = 0
        """Bytes of the model that the registry has sent or need not send: only ever more."""

    def expect(self, sizes: Mapping[str, int], present: Mapping[str, int]) -> None:
        """Says what a pull consists of, so that its lines tell of the model rather than of one blob.

        Args:
            sizes: the length in bytes of every blob, by digest.
            present: how many of them are there already.
        """
        # The server's lines name a blob by the first 12 digits.
        self._sizes = {_short(digest): size for digest, size in sizes.items()}
        self._done = {_short(digest): done for digest, done in present.items()}

    def __call__(self, status: str, done: int = 0, total: int = 0) -> None:
        """Says that `done` of `total` bytes are there; both are 0 where the step does not count bytes."""
        blob = status.removeprefix(_PULLING)
        if blob in self._sizes:
            self._done[blob] = done
            status, done, total = "pulling", sum(self._done.values()), sum(self._sizes.values())
        self.furthest = max(self.furthest, done)
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + INTERVAL_SECONDS
        if self._what != (status, total):
            self._what = (status, total)
            self._seen.clear()
        self._seen.append((now, done))
        while now - self._seen[0][0] > WINDOW_SECONDS:
            self._seen.popleft()
        began, before = self._seen[0]
        rate = round((done - before) / (now - began)) if now > began else 0
        self._log.info(
            "progress",
            status=status,
            bytes=done,
            total=total,
            bytes_per_second=rate,
            eta_seconds=round((total - done) / rate) if rate > 0 else None,
        )


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
