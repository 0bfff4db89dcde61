"""Keeping a message while it is worked on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from runtime.worker.clock import SYSTEM, Clock
from runtime.worker.failures import LostOwnershipError, TransientFailure

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

    def __init__(
        self,
        queue: Queue,
        message: Message,
        visibility_seconds: int,
        *,
        missed: Callable[[], None] = lambda: None,
        clock: Clock = SYSTEM,
    ) -> None:
        """Args are the queue, its message, how long a heartbeat hides it, and who hears of missed ones."""
        self.message = message
        self.lost = False
        self._queue = queue
        self._visibility_seconds = visibility_seconds
        self._missed = missed
        self._clock = clock
        self._kept = True
        self._one_at_a_time = asyncio.Lock()

    async def release(self, seconds: int) -> None:
        """Gives the message back, for others to see after so many seconds; no heartbeat follows.

        Raises:
            LostOwnershipError: it is not ours any more.
            TransientFailure: SQS does not answer.
        """
        self._kept = False
        # A heartbeat under way that arrived later would hide it again, for everybody.
        async with self._one_at_a_time:
            await self._queue.hide(self.message.receipt, seconds)

    async def during(self, work: Callable[[Hold], Awaitable[None]]) -> None:
        """Runs `work`, hiding the message anew every third of its visibility; cancels it once it is lost."""
        working = asyncio.ensure_future(work(self))
        beating = asyncio.ensure_future(self._beat())
        try:
            await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
            if not self._kept:
                await asyncio.wait({working})
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
        held_until = self._clock.monotonic() + self._visibility_seconds
        while True:
            await self._clock.sleep(self._visibility_seconds / 3)
            asked = self._clock.monotonic()
            try:
                async with self._one_at_a_time:
                    if not self._kept:
                        return
                    await self._queue.hide(self.message.receipt, self._visibility_seconds)
            except LostOwnershipError as error:
                problem = str(error)
            except TransientFailure as error:
                log.warning("heartbeat failed", problem=error.detail)
                self._missed()
                if self._clock.monotonic() < held_until:
                    continue
                problem = error.detail
            else:
                held_until = asked + self._visibility_seconds
                continue
            self.lost = True
            log.warning("message lost", problem=problem)
            return
