"""Keeping a message while it is worked on."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from runtime.worker.aws import AwsFailure
from runtime.worker.failures import LostOwnershipError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.worker.queue import Message, Queue

log = structlog.get_logger()


class Hold:
    """A message in hand.

    Attributes:
        message: the message.
        lost: whether it belongs to somebody else by now.
    """

    def __init__(self, queue: Queue, message: Message, visibility_seconds: int) -> None:
        self.message = message
        self.lost = False
        self._queue = queue
        self._visibility_seconds = visibility_seconds

    async def during(self, work: Callable[[Hold], Awaitable[None]]) -> None:
        """Runs `work`, hiding the message anew every third of its visibility; cancels it once it is lost."""
        working = asyncio.ensure_future(work(self))
        beating = asyncio.ensure_future(self._beat())
        try:
            await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Heartbeats go on while what is cancelled hands its message back.
            if not working.done():
                working.cancel()
                await asyncio.wait({working})
            beating.cancel()
            await asyncio.wait({beating})
        # A heartbeat that ended in an error that nobody expected ends the worker, as such errors do.
        for task in (beating, working):
            if not task.cancelled():
                task.result()

    async def _beat(self) -> None:
        held_until = time.monotonic() + self._visibility_seconds
        while True:
            await asyncio.sleep(self._visibility_seconds / 3)
            asked = time.monotonic()
            try:
                await self._queue.hide(self.message, self._visibility_seconds)
            except LostOwnershipError as error:
                problem = str(error)
            except AwsFailure as error:
                log.warning("heartbeat failed", problem=error.detail)
                if time.monotonic() < held_until:
                    continue
                problem = error.detail
            else:
                held_until = asked + self._visibility_seconds
                continue
            self.lost = True
            log.warning("message lost", problem=problem)
            return
