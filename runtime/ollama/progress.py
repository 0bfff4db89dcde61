"""Progress as log lines that a person can follow and a log bill can bear."""

from __future__ import annotations

import time

import structlog

INTERVAL_SECONDS = 1


class Progress:
    """Logs how far something has come, at most one line a second."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._next = 0.0

    def __call__(self, status: str, done: int = 0, total: int = 0) -> None:
        """Says that `done` of `total` bytes are there; both are 0 where the step does not count bytes."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL_SECONDS
            self._log.info("progress", status=status, bytes=done, total=total)
