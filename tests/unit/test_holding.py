"""Keeping a message: heartbeats against a queue that refuses, by a clock that the test holds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest

from runtime.worker.aws import AwsFailure
from runtime.worker.failures import LostOwnershipError
from runtime.worker.holding import Hold
from runtime.worker.queue import Message, Queue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MESSAGE = Message(body="{}", receipt="r", receives=1, sent=datetime.now(UTC))
VISIBILITY_SECONDS = 300


class FakeClock:
    """Time for `runtime.worker.holding`: it passes in its sleeps, each of which takes a turn of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        turn = asyncio.sleep

        async def sleep(seconds: float) -> None:
            self.seconds += seconds
            await turn(0)

        monkeypatch.setattr("runtime.worker.holding.asyncio.sleep", sleep)
        monkeypatch.setattr("runtime.worker.holding.time.monotonic", lambda: self.seconds)


class FakeQueue:
    """A queue whose answers to heartbeats a test decides."""

    def __init__(self, answer: Callable[[int], Awaitable[None]]) -> None:
        self.heartbeats = 0
        self._answer = answer

    async def hide(self, _message: Message, seconds: int) -> None:
        """Takes a heartbeat."""
        assert seconds == VISIBILITY_SECONDS
        self.heartbeats += 1
        await self._answer(self.heartbeats)


async def _hold(queue: FakeQueue, work: Callable[[Hold], Awaitable[None]]) -> Hold:
    hold = Hold(cast("Queue", queue), MESSAGE, VISIBILITY_SECONDS)
    await hold.during(work)
    return hold


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """A clock of the test's own."""
    return FakeClock(monkeypatch)


async def test_a_message_is_hidden_anew_every_third_of_its_visibility(clock: FakeClock) -> None:
    """Work that takes ten visibilities is covered by a heartbeat in each third of them."""
    enough = asyncio.Event()
    times: list[float] = []

    async def accept(count: int) -> None:
        times.append(clock.seconds)
        if count == 30:
            enough.set()

    hold = await _hold(FakeQueue(accept), lambda _: _until(enough))
    assert times[:30] == [VISIBILITY_SECONDS / 3 * number for number in range(1, 31)]
    assert not hold.lost


async def test_work_on_a_message_that_is_not_ours_any_more_is_cancelled(clock: FakeClock) -> None:
    """A refused heartbeat cancels the work at once, and the work can tell why."""

    async def refuse(_: int) -> None:
        raise LostOwnershipError("gone")

    hold = await _hold(FakeQueue(refuse), lambda _: _until(asyncio.Event()))
    assert hold.lost
    assert clock.seconds == VISIBILITY_SECONDS / 3


async def test_a_queue_that_is_away_for_a_moment_costs_nothing(clock: FakeClock) -> None:
    """Heartbeats that fail while the message is still hidden are tried again."""
    enough = asyncio.Event()

    async def fail_once(count: int) -> None:
        if count == 1:
            raise AwsFailure("change_message_visibility", "500", "away")
        if count == 3:
            enough.set()

    hold = await _hold(FakeQueue(fail_once), lambda _: _until(enough))
    assert not hold.lost
    assert clock.seconds > VISIBILITY_SECONDS


async def test_a_queue_that_stays_away_loses_the_message(clock: FakeClock) -> None:
    """Once the visibility must have ended, the message counts as lost, whatever the queue says."""

    async def fail(_: int) -> None:
        raise AwsFailure("change_message_visibility", "500", "away")

    hold = await _hold(FakeQueue(fail), lambda _: _until(asyncio.Event()))
    assert hold.lost
    assert clock.seconds == VISIBILITY_SECONDS


async def test_an_error_of_the_work_is_not_swallowed(clock: FakeClock) -> None:
    """What the work raises comes out, and the heartbeats end with it."""

    async def accept(_: int) -> None:
        return

    async def fail(_: Hold) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await _hold(FakeQueue(accept), fail)
    assert clock.seconds <= VISIBILITY_SECONDS


@pytest.mark.usefixtures("clock")
async def test_a_heartbeat_that_breaks_down_is_not_silent() -> None:
    """An error that nobody expected in a heartbeat comes out, as one of the work would."""

    async def break_down(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await _hold(FakeQueue(break_down), lambda _: _until(asyncio.Event()))


async def _until(event: asyncio.Event) -> None:
    await event.wait()
