"""A message that is given back or lost: what is recorded, and who sees it next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from runtime.worker.aws import AwsFailure
from runtime.worker.failures import LostOwnershipError, TransientFailure
from tests.unit.clocks import settle, until
from tests.unit.edge import AWS_DOWN
from tests.unit.handler.world import cancel, response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.handler.world import World


async def test_a_document_without_a_turn_is_given_back_at_once(make: Callable[..., World]) -> None:
    """Another pod may have a slot; it counts as no attempt."""
    world = make()
    other = await world.turn()
    world.turns.note_depth(deep=True)
    async with other.at_server():
        pass
    at = await world.turn()
    async with at.at_server():
        working = world.start()
        await settle()
        world.turns.close()
        await asyncio.wait_for(working, 1)
    assert world.edge.done == ["fetch", "write running", "write released", "hide 0"]
    assert (world.record.outcome, world.record.failure) == ("released", None)
    assert [record.outcome for record in world.told] == ["released"]


async def test_a_sick_server_is_asked_nothing(make: Callable[..., World]) -> None:
    """Whoever had its document fetched before it fell sick gives it back."""
    world = make()
    world.ready = False
    assert await world.handle() == ["fetch", "write running", "write released", "hide 0"]


@pytest.mark.parametrize("step", ["fetch", "ask"])
async def test_a_worker_that_goes_hands_its_document_back(make: Callable[..., World], step: str) -> None:
    """Recorded as released, visible at once, and out of the journal; then it is cancelled."""
    world = make()
    hang = asyncio.Event()
    world.fetches, world.says = (hang.wait, None) if step == "fetch" else (None, hang.wait)
    working = world.start()
    await until(lambda: step in world.edge.done)
    await cancel(working)
    assert world.edge.done[-2:] == ["write released", "hide 0"]
    assert list(world.journal.left()) == []


async def test_a_hand_that_is_cancelled_ends(make: Callable[..., World]) -> None:
    """What was handed back is no reason to go on."""
    world = make()
    world.says = asyncio.Event().wait
    working = asyncio.ensure_future(world.handle())
    await until(lambda: "ask" in world.edge.done)
    await cancel(working)
    assert world.edge.done[-1] == "hide 0"


@pytest.mark.parametrize("step", ["write", "hide"])
async def test_a_worker_that_cannot_hand_back_goes_all_the_same(
    make: Callable[..., World], step: str
) -> None:
    """The message comes back by itself."""
    world = make()
    world.says = asyncio.Event().wait
    working = world.start()
    await until(lambda: "ask" in world.edge.done)
    world.edge.failing[step] = [AWS_DOWN]
    await cancel(working)


@pytest.mark.parametrize("step", ["write", "hide"])
async def test_a_worker_that_goes_while_a_failure_is_put_away_hands_its_document_back(
    make: Callable[..., World], step: str
) -> None:
    """The message is visible at once, not when its visibility ends."""
    world = make()
    world.says = response(503, {"error": "busy"})
    hanging = asyncio.Event()

    async def hang() -> None:
        if "ask" in world.edge.done:
            world.edge.before.clear()
            hanging.set()
            await asyncio.Event().wait()

    world.edge.before[step] = hang
    working = world.start()
    await hanging.wait()
    await cancel(working)
    assert world.edge.done[-1] == "hide 0"


@pytest.mark.parametrize("step", ["write", "announce", "delete"])
async def test_a_worker_that_goes_after_the_result_leaves_its_record_alone(
    make: Callable[..., World], step: str
) -> None:
    """The answer is there: the record must not say that the document was given back without one."""
    world = make()

    async def hang() -> None:
        if world.edge.metadata is not None:
            world.edge.before.clear()
            await asyncio.Event().wait()

    world.edge.before[step] = hang
    working = world.start()
    await until(lambda: world.edge.metadata is not None and not world.edge.before)
    await settle()
    await cancel(working)
    assert world.edge.done[-1] == "hide 0"
    assert "write released" not in world.edge.done


@pytest.mark.parametrize(
    ("there", "last"),
    [(None, "write lost"), ({"attempt": "theirs"}, "ask")],
    ids=["open", "answered"],
)
async def test_whoever_lost_its_message_writes_over_nobodys_record(
    make: Callable[..., World], there: dict[str, str] | None, last: str
) -> None:
    """It records that, unless the document has its result: then its record may have been completed."""
    world = make()
    world.says = asyncio.Event().wait
    working = world.start()
    await until(lambda: "ask" in world.edge.done)
    world.edge.failing["hide"] = [LostOwnershipError("gone")]
    world.edge.metadata = there
    await world.clock.move(100)
    await asyncio.wait_for(working, 1)
    world.edge.done.remove("hide 300")
    assert world.hold.lost
    assert world.edge.done[-1] == last
    assert [record.outcome for record in world.told] == ([] if there else ["lost"])


async def test_what_cannot_even_be_recorded_comes_back_by_itself(make: Callable[..., World]) -> None:
    """With S3 away nothing is raised, and the message is hidden for a pause, no more."""
    world = make(receives=3)
    world.fetches = AWS_DOWN
    world.edge.failing["attempts"] = [AWS_DOWN]
    assert (await world.handle())[:-1] == ["fetch"]
    assert 4 <= world.released_after <= 8


@pytest.mark.parametrize("error", [AWS_DOWN, LostOwnershipError("gone")], ids=["down", "lost"])
async def test_nothing_expected_is_raised_though_nothing_works(
    make: Callable[..., World], error: Exception
) -> None:
    """Neither the record nor the release: a hand goes on with the next message, and nothing is a crash."""
    world = make()
    world.fetches = TransientFailure("aws_error", "down")
    world.edge.failing = {"write": [AwsFailure("put_object", "500", "down")], "hide": [error]}
    assert (await world.handle())[:2] == ["fetch", "write retried"]
    assert list(world.journal.left()) == []
