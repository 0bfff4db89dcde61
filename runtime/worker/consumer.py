"""The loop: as many documents in hand as the server answers at once, until it is told to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from runtime.worker.aws import AwsFailure
from runtime.worker.failures import LostOwnershipError
from runtime.worker.holding import Hold

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from runtime.spec import TaskSpec
    from runtime.worker.handler import Handler
    from runtime.worker.queue import Message, Queue
    from runtime.worker.server import Server

log = structlog.get_logger()

HAND_BACK_SECONDS = 15
"""Kept of the grace time for handing back what could not be finished."""

PAUSE_SECONDS = 5
"""Between polls that fail: SQS is gone or forbids it, and asking faster mends neither."""


class Consumer:
    """Receives only while the model is loaded, and only what a slot is free for."""

    def __init__(self, *, task: TaskSpec, queue: Queue, handler: Handler, server: Server) -> None:
        self._task = task
        self._queue = queue
        self._handler = handler
        self._server = server

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`, then finishes what is in hand, or hands it back when the grace time ends.

        An error that nobody expected in one slot ends all of them: a worker is whole or it is restarted.
        """
        async with asyncio.TaskGroup() as group:
            slots = {group.create_task(self._slot(stop)) for _ in range(self._task.parallel)}
            group.create_task(self._drain(stop, slots))

    async def _slot(self, stop: asyncio.Event) -> None:
        while await _unless(stop, self._server.load()):
            message = await self._receive()
            if message is None:
                continue
            if stop.is_set():
                await self._hand_back(message)
            else:
                hold = Hold(self._queue, message, self._task.visibility_seconds)
                await hold.during(self._handler.handle)

    async def _receive(self) -> Message | None:
        try:
            return await self._queue.receive()
        except AwsFailure as error:
            log.error("no message can be received", problem=error.detail)
            await asyncio.sleep(PAUSE_SECONDS)
            return None

    async def _hand_back(self, message: Message) -> None:
        try:
            await self._queue.hide(message, 0)
        except (AwsFailure, LostOwnershipError) as error:
            log.warning("message left to come back", problem=str(error))

    async def _drain(self, stop: asyncio.Event, slots: set[asyncio.Task[None]]) -> None:
        await stop.wait()
        log.info("stopping: no more documents are taken")
        grace = max(0, self._task.grace_seconds - HAND_BACK_SECONDS)
        _, late = await asyncio.wait(slots, timeout=grace)
        for slot in late:
            slot.cancel()


async def _unless(stop: asyncio.Event, work: Coroutine[object, object, None]) -> bool:
    """Runs `work` to its end, or until `stop`: then it is cancelled, and the answer is False."""
    stopping = asyncio.ensure_future(stop.wait())
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stopping, working):
            task.cancel()
        await asyncio.wait({stopping, working})
    if not working.cancelled():
        working.result()
    return not stop.is_set()
