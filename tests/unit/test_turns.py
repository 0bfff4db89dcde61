"""Who is at the server, who comes next, and who is sent back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from runtime.worker.turns import AHEAD_SECONDS, NoTurnError, Turn, Turns

if TYPE_CHECKING:
    from collections.abc import Coroutine


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        """Now."""
        return self.seconds

    now = sleep = None


class At:
    """A document that stays at the server until it is told to leave."""

    def __init__(self, turn: Turn, *, alone: bool = False) -> None:
        self.there = asyncio.Event()
        self.leave = asyncio.Event()
        self.task = asyncio.ensure_future(self._stay(turn, alone=alone))

    async def _stay(self, turn: Turn, *, alone: bool) -> None:
        try:
            async with turn.at_server(alone=alone):
                self.there.set()
                await self.leave.wait()
        finally:
            turn.end()

    async def done(self) -> None:
        """Leaves."""
        self.leave.set()
        await self.task


@pytest.fixture
def clock() -> FakeClock:
    """A clock of the test's own."""
    return FakeClock()


def _turns(parallel: int, clock: FakeClock) -> Turns:
    return Turns(parallel, clock)  # type: ignore[arg-type]


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _entered(turns: Turns) -> Turn:
    turn = await asyncio.wait_for(turns.enter(), 1)
    assert turn is not None
    return turn


async def _waits(what: Coroutine[object, object, object]) -> asyncio.Task[object]:
    task = asyncio.ensure_future(what)
    await _settle()
    assert not task.done()
    return task


async def test_no_more_are_received_than_have_a_slot(clock: FakeClock) -> None:
    """With a shallow queue the third document of two slots stays in the queue, for another pod."""
    turns = _turns(2, clock)
    first, _second = await _entered(turns), await _entered(turns)
    third = await _waits(turns.enter())
    at = At(first)
    await at.there.wait()
    assert not third.done()
    await at.done()
    assert await third is not None


@pytest.mark.parametrize(
    ("deep", "seconds", "ahead"),
    [(True, 1.0, 1), (False, 1.0, 0), (True, AHEAD_SECONDS, 0)],
)
async def test_one_is_taken_ahead_for_each_slot_while_it_pays(
    clock: FakeClock, *, deep: bool, seconds: float, ahead: int
) -> None:
    """Ahead is taken from a deep queue only, and only where answers are quick; one for each slot, no more."""
    turns = _turns(2, clock)
    turns.note_depth(deep=deep)
    before = At(await _entered(turns))
    await before.there.wait()
    clock.seconds += seconds
    await before.done()
    at = [At(await _entered(turns)) for _ in range(2)]
    await asyncio.gather(*(each.there.wait() for each in at))
    for _ in range(2 * ahead):
        await _entered(turns)
    await _waits(turns.enter())
    for each in at:
        await each.done()


async def test_whoever_is_ahead_goes_to_the_server_the_moment_that_it_is_free(clock: FakeClock) -> None:
    """Between one document and the next one there is nothing to wait for."""
    turns = _turns(1, clock)
    turns.note_depth(deep=True)
    await _quick(turns)
    first = At(await _entered(turns))
    await first.there.wait()
    second = At(await _entered(turns))
    third = await _waits(turns.enter())
    assert not second.there.is_set()
    await first.done()
    await asyncio.wait_for(second.there.wait(), 1)
    assert await asyncio.wait_for(third, 1) is not None
    await second.done()


async def test_who_waits_too_long_goes_back_and_nobody_is_taken_ahead_after_it(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that finds no slot is for another pod, and the next one does not wait the same way."""
    monkeypatch.setattr("runtime.worker.turns.AHEAD_SECONDS", 0.05)
    turns = _turns(1, clock)
    turns.note_depth(deep=True)
    await _quick(turns)
    first = At(await _entered(turns))
    await first.there.wait()
    late = await _entered(turns)
    with pytest.raises(NoTurnError, match="no slot"):
        async with late.at_server():
            raise AssertionError
    late.end()
    waiting = await _waits(turns.enter())
    await first.done()
    assert await asyncio.wait_for(waiting, 1) is not None


async def test_a_document_under_suspicion_has_nobody_beside_it(clock: FakeClock) -> None:
    """It waits until the server is empty, nobody comes meanwhile, and nobody joins it."""
    turns = _turns(2, clock)
    first = At(await _entered(turns))
    await first.there.wait()
    suspect = At(await _entered(turns), alone=True)
    newcomer = await _waits(turns.enter())
    assert not suspect.there.is_set()
    await first.done()
    await asyncio.wait_for(suspect.there.wait(), 1)
    await _settle()
    assert turns.full
    assert not newcomer.done()
    await suspect.done()
    assert await asyncio.wait_for(newcomer, 1) is not None


@pytest.mark.parametrize("waits", [True, False])
async def test_nobody_is_taken_ahead_of_who_is_alone(clock: FakeClock, *, waits: bool) -> None:
    """It waits or is there, however deep the queue, quick the answers and many the slots that are free."""
    turns = _turns(3, clock)
    turns.note_depth(deep=True)
    await _quick(turns)
    first = At(await _entered(turns)) if waits else None
    await _settle()
    suspect = At(await _entered(turns), alone=True)
    await _settle()
    assert suspect.there.is_set() is not waits
    newcomers = [await _waits(turns.enter()) for _ in range(2)]
    if first:
        await first.done()
        await asyncio.wait_for(suspect.there.wait(), 1)
    turns.note_depth(deep=True)
    await _settle()
    assert not any(newcomer.done() for newcomer in newcomers)
    await suspect.done()
    assert all(await asyncio.wait_for(asyncio.gather(*newcomers), 1))


async def test_two_under_suspicion_do_not_wait_for_each_other(clock: FakeClock) -> None:
    """Each has the server alone, one after the other."""
    turns = _turns(2, clock)
    both = [At(turn, alone=True) for turn in [await _entered(turns), await _entered(turns)]]
    await asyncio.wait_for(both[0].there.wait(), 1)
    assert not both[1].there.is_set()
    await both[0].done()
    await asyncio.wait_for(both[1].there.wait(), 1)
    await both[1].done()
    assert not turns.full


async def test_a_worker_that_goes_sends_back_who_waits_and_keeps_who_is_there(clock: FakeClock) -> None:
    """Nobody enters any more, who has a slot finishes, and who has none is told at once."""
    turns = _turns(1, clock)
    turns.note_depth(deep=True)
    await _quick(turns)
    at = At(await _entered(turns))
    await at.there.wait()
    ahead = At(await _entered(turns))
    newcomer = await _waits(turns.enter())
    turns.close()
    assert await asyncio.wait_for(newcomer, 1) is None
    with pytest.raises(NoTurnError, match="going"):
        await ahead.task
    assert not at.task.done()
    await at.done()


async def test_a_turn_that_is_cancelled_leaves_its_place(clock: FakeClock) -> None:
    """Whether it waits or is at the server, its slot is there for the next one."""
    turns = _turns(1, clock)
    turns.note_depth(deep=True)
    await _quick(turns)
    at, ahead = At(await _entered(turns)), At(await _entered(turns))
    await at.there.wait()
    await _settle()
    for task in (ahead.task, at.task):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    again = At(await _entered(turns))
    await asyncio.wait_for(again.there.wait(), 1)
    await again.done()


async def _quick(turns: Turns) -> None:
    """One document comes and goes: from then on answers are known to be quick."""
    at = At(await _entered(turns))
    await at.there.wait()
    await at.done()


async def test_who_is_by_itself_has_nobody_on_the_way_either(clock: FakeClock) -> None:
    """Of a crash of the worker only such a document can be said to be the cause."""
    turns = _turns(2, clock)
    suspect, neighbour = await _entered(turns), await _entered(turns)
    at = At(suspect, alone=True)
    await at.there.wait()
    assert not suspect.by_itself
    neighbour.end()
    assert suspect.by_itself
    await at.done()
    assert not suspect.by_itself
