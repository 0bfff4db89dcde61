"""Keeping a message: heartbeats against a queue that refuses, by a clock that the test holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from runtime.worker.aws import AwsFailure
from runtime.worker.failures import LostOwnershipError
from runtime.worker.holding import Hold
from runtime.worker.queue import Message, Queue
from tests.unit.clocks import Clock, HeldClock, settle
from tests.unit.records import SENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MESSAGE = Message(body="{}", receipt="r", receives=1, sent=SENT)
VISIBILITY_SECONDS = 300
AWAY = AwsFailure("change_message_visibility", "500", "away")


class FakeQueue:
    """A queue whose answers a test decides; `hidden` has what was asked of it."""

    def __init__(self, answer: Callable[[int], Awaitable[None]] | None = None) -> None:
        self.hidden: list[tuple[str, int]] = []
        self._answer = answer

    async def hide(self, receipt: str, seconds: int) -> None:
        """Takes a heartbeat, or the message back."""
        self.hidden.append((receipt, seconds))
        if self._answer:
            await self._answer(len(self.hidden))


class Missed:
    """Counts missed heartbeats."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """One more."""
        self.count += 1


def _hold(queue: FakeQueue, clock: Clock, missed: Callable[[], None] = lambda: None) -> Hold:
    return Hold(cast("Queue", queue), MESSAGE, VISIBILITY_SECONDS, missed=missed, clock=clock)


async def _never(_: Hold) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def clock() -> Clock:
    """A clock of the test's own."""
    return Clock()


async def test_a_message_is_hidden_anew_every_third_of_its_visibility(clock: Clock) -> None:
    """Work that takes ten visibilities is covered by a heartbeat in each third of them."""
    enough = asyncio.Event()
    times: list[float] = []

    async def accept(count: int) -> None:
        times.append(clock.seconds)
        if count == 30:
            enough.set()

    async def work(_: Hold) -> None:
        await enough.wait()

    queue = FakeQueue(accept)
    hold = _hold(queue, clock)
    await hold.during(work)
    assert times[:30] == [VISIBILITY_SECONDS / 3 * number for number in range(1, 31)]
    assert set(queue.hidden) == {("r", VISIBILITY_SECONDS)}
    assert not hold.lost


async def test_work_on_a_message_that_is_not_ours_any_more_is_cancelled(clock: Clock) -> None:
    """A refused heartbeat cancels the work at once, and the work can tell why."""
    told: list[bool] = []

    async def refuse(_: int) -> None:
        raise LostOwnershipError("gone")

    async def work(hold: Hold) -> None:
        try:
            await _never(hold)
        finally:
            told.append(hold.lost)

    missed = Missed()
    await _hold(FakeQueue(refuse), clock, missed).during(work)
    assert (told, clock.seconds, missed.count) == ([True], VISIBILITY_SECONDS / 3, 0)


async def test_a_queue_that_is_away_for_a_moment_costs_nothing(clock: Clock) -> None:
    """Heartbeats that fail while the message is still hidden are counted and tried again."""
    enough = asyncio.Event()

    async def fail_twice(count: int) -> None:
        if count <= 2:
            raise AWAY
        if count == 4:
            enough.set()

    async def work(_: Hold) -> None:
        await enough.wait()

    missed = Missed()
    hold = _hold(FakeQueue(fail_twice), clock, missed)
    await hold.during(work)
    assert (hold.lost, missed.count) == (False, 2)
    assert clock.seconds > VISIBILITY_SECONDS


async def test_a_queue_that_stays_away_loses_the_message(clock: Clock) -> None:
    """Once the visibility must have ended, the message counts as lost, whatever the queue says."""

    async def fail(_: int) -> None:
        raise AWAY

    missed = Missed()
    hold = _hold(FakeQueue(fail), clock, missed)
    await hold.during(_never)
    assert (hold.lost, clock.seconds, missed.count) == (True, VISIBILITY_SECONDS, 3)


async def test_visibility_counts_from_when_it_was_asked_for(clock: Clock) -> None:
    """A heartbeat that SQS took long to answer may have begun at its start: only so long is it believed."""

    async def slowly_once(count: int) -> None:
        if count > 1:
            raise AWAY
        clock.seconds += 250

    hold = _hold(FakeQueue(slowly_once), clock)
    await hold.during(_never)
    assert (hold.lost, clock.seconds) == (True, 100 + 250 + 100)


async def test_an_error_of_the_work_is_not_swallowed(clock: Clock) -> None:
    """What the work raises comes out, and the heartbeats end with it."""

    async def fail(_: Hold) -> None:
        raise ZeroDivisionError

    queue = FakeQueue()
    with pytest.raises(ZeroDivisionError):
        await _hold(queue, clock).during(fail)
    before = len(queue.hidden)
    await settle()
    assert len(queue.hidden) == before


async def test_a_heartbeat_that_breaks_down_is_not_silent(clock: Clock) -> None:
    """An error that nobody expected in a heartbeat comes out, as one of the work would."""

    async def break_down(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await _hold(FakeQueue(break_down), clock).during(_never)


async def test_a_release_waits_for_a_heartbeat_under_way_and_none_follows() -> None:
    """A heartbeat that SQS took after the release would hide from everybody what was given back."""
    clock, going_on, released = HeldClock(), asyncio.Event(), asyncio.Event()

    async def slowly_once(count: int) -> None:
        if count == 1:
            await going_on.wait()

    async def work(hold: Hold) -> None:
        await clock.sleep(VISIBILITY_SECONDS / 3)
        await settle()
        await hold.release(7)
        await released.wait()

    queue = FakeQueue(slowly_once)
    working = asyncio.ensure_future(_hold(queue, clock).during(work))
    await settle()
    await clock.move(VISIBILITY_SECONDS / 3)
    await settle()
    assert queue.hidden == [("r", VISIBILITY_SECONDS)]
    going_on.set()
    await settle()
    await clock.move(10 * VISIBILITY_SECONDS)
    assert queue.hidden == [("r", VISIBILITY_SECONDS), ("r", 7)]
    released.set()
    await working


async def test_work_that_gave_its_message_back_ends_as_it_will(clock: Clock) -> None:
    """The end of the heartbeats cancels nothing then, and no message counts as lost."""
    ended: list[float] = []

    async def work(hold: Hold) -> None:
        await hold.release(0)
        await settle()
        ended.append(clock.seconds)

    hold = _hold(FakeQueue(), clock)
    await hold.during(work)
    assert ended == [VISIBILITY_SECONDS / 3]
    assert not hold.lost


async def test_heartbeats_go_on_while_what_is_cancelled_puts_its_message_away() -> None:
    """A worker that is going keeps its messages until each was handed back."""
    clock, leave = HeldClock(), asyncio.Event()

    async def work(hold: Hold) -> None:
        try:
            await _never(hold)
        finally:
            await leave.wait()
            await hold.release(0)

    queue = FakeQueue()
    working = asyncio.ensure_future(_hold(queue, clock).during(work))
    await settle()
    working.cancel()
    await settle()
    await clock.move(VISIBILITY_SECONDS / 3)
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert queue.hidden == [("r", VISIBILITY_SECONDS), ("r", 0)]
