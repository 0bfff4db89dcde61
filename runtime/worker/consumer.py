"""The loop: documents in hand as long as there are turns for them, until it is told to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from runtime.worker.clock import SYSTEM, Clock
from runtime.worker.failures import LostOwnershipError, TransientFailure
from runtime.worker.holding import Hold

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from runtime.spec import TaskSpec
    from runtime.worker.handler import Handler
    from runtime.worker.metrics import Metrics
    from runtime.worker.queue import Message, Queue
    from runtime.worker.server import Server
    from runtime.worker.turns import Turn, Turns

log = structlog.get_logger()

HANDS_PER_SLOT = 3
"""While one document is at the server, another is fetched and a third one's result is put away."""

HAND_BACK_SECONDS = 15
"""Kept of the grace time for handing back what could not be finished."""

PAUSE_SECONDS = 5
"""Between polls that fail: SQS is gone or forbids it, and asking faster mends neither."""

DEPTH_SECONDS = 5
"""How long the queue's depth is believed."""


class Consumer:
    """Receives only while the model answers, and only what there is a turn for."""

    def __init__(  # noqa: PLR0913  the parts that it joins, each made once in main
        self,
        *,
        task: TaskSpec,
        queue: Queue,
        handler: Handler,
        server: Server,
        turns: Turns,
        metrics: Metrics,
        clock: Clock = SYSTEM,
    ) -> None:
        self._task = task
        self._queue = queue
        self._handler = handler
        self._server = server
        self._turns = turns
        self._metrics = metrics
        self._clock = clock
        self._polling = asyncio.Lock()
        self._in_hand = 0

    @property
    def busy(self) -> bool:
        """Whether any document is in hand."""
        return self._in_hand > 0

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`, then finishes what is in hand, or hands it back when the grace time ends.

        An error that nobody expected in one hand ends all of them: a worker is whole or it is restarted.
        """
        async with asyncio.TaskGroup() as group:
            count = HANDS_PER_SLOT * self._task.parallel
            hands = {group.create_task(self._hand(stop)) for _ in range(count)}
            aside = [group.create_task(self._server.keep()), group.create_task(self._watch_depth())]
            await self._drain(stop, hands)
            for task in aside:
                task.cancel()

    async def _hand(self, stop: asyncio.Event) -> None:
        while (turn := await self._turns.enter()) is not None:
            try:
                message = await self._receive(stop)
                if message is not None:
                    await self._keep(message, turn)
            finally:
                turn.end()

    async def _keep(self, message: Message, turn: Turn) -> None:
        """Takes a message to its end."""
        hold = Hold(
            self._queue,
            message,
            self._task.visibility_seconds,
            missed=self._metrics.heartbeat_failed,
            clock=self._clock,
        )
        self._count(+1)
        try:
            await hold.during(lambda hold: self._handler.handle(hold, turn))
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        self._in_hand += more
        self._metrics.in_hand(self._in_hand)

    async def _receive(self, stop: asyncio.Event) -> Message | None:
        """One message, as soon as this hand may ask; None where there is none, or none is to be."""
        async with self._polling:
            if not await unless(stop, self._server.wait_until_ready()):
                return None
            try:
                message = await self._queue.receive()
            except TransientFailure as error:
                log.error("no message can be received", problem=error.detail)
                await unless(stop, self._clock.sleep(PAUSE_SECONDS))
                return None
        if message is None or not stop.is_set():
            return message
        try:
            await self._queue.hide(message.receipt, 0)
        except (TransientFailure, LostOwnershipError) as error:
            log.warning("message left to come back", problem=str(error))
        return None

    async def _watch_depth(self) -> None:
        """Says whether documents may be taken ahead; asks only while every slot is taken."""
        enough = self._task.parallel * max(1, self._task.max_instances)
        while True:
            await self._turns.until(lambda: self._turns.full)
            try:
                deep = await self._queue.waiting() >= enough
            except TransientFailure as error:
                log.warning("depth of the queue not known", problem=error.detail)
                deep = False
            self._turns.note_depth(deep=deep)
            await self._clock.sleep(DEPTH_SECONDS)
            if not self._turns.full:
                self._turns.note_depth(deep=False)

    async def _drain(self, stop: asyncio.Event, hands: set[asyncio.Task[None]]) -> None:
        await stop.wait()
        log.info("stopping: no more documents are taken")
        self._turns.close()
        grace = max(0, self._task.grace_seconds - HAND_BACK_SECONDS)
        _, late = await asyncio.wait(hands, timeout=grace)
        for hand in late:
            hand.cancel()
        await asyncio.wait(hands)


async def unless(stop: asyncio.Event, work: Coroutine[object, object, None]) -> bool:
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
