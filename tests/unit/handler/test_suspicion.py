"""A document that may kill its server or its worker: how it is found out, and who is acquitted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from runtime.worker import documents
from tests.unit.clocks import settle, until
from tests.unit.edge import KEY
from tests.unit.handler.world import CRASH, GOOD, cancel, earlier, response

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.worker.documents import Fetched
    from runtime.worker.records import Record
    from tests.unit.handler.world import World


SUSPECT = [
    pytest.param(earlier(1, "released", "server_gone", "server"), id="server"),
    pytest.param(earlier(1, "crashed"), id="worker"),
]


@pytest.mark.parametrize("past", SUSPECT)
async def test_a_document_under_suspicion_is_asked_alone(make: Callable[..., World], past: Record) -> None:
    """It has every slot, and the journal says so before it is asked; answered, it is cleared."""
    world = make(receives=2, parallel=3)
    world.before(past)
    alone: list[tuple[bool, list[bool], bool]] = []

    async def look() -> httpx.Response:
        noted = [entry.record.alone for entry in world.journal.left()]
        # The record in the bucket is that of a document which still waited.
        alone.append((world.turns.full, noted, world.record.alone))
        return response(200, GOOD)

    world.says = look
    assert (await world.handle())[-1] == "delete"
    assert alone == [(True, [True], False)]
    assert (world.record.outcome, world.record.alone) == ("answered", True)


async def test_a_document_without_suspicion_has_one_slot(make: Callable[..., World]) -> None:
    """The others are for its neighbours."""
    world = make(parallel=3)
    full: list[bool] = []

    async def look() -> httpx.Response:
        full.append(world.turns.full)
        return response(200, GOOD)

    world.says = look
    await world.handle()
    assert full == [False]


@pytest.mark.parametrize("past", SUSPECT)
async def test_a_document_at_which_the_server_dies_alone_is_condemned(
    make: Callable[..., World], past: Record
) -> None:
    """Nobody else can have done it; the server is looked at all the same."""
    world = make(receives=2)
    world.before(past)
    world.says = CRASH
    assert (await world.handle())[2:] == [
        "ask",
        "dead",
        "write failed",
        "dead_letter document kills_server",
    ]
    assert world.record.alone


async def test_a_document_alone_is_not_condemned_by_a_server_that_was_away(
    make: Callable[..., World],
) -> None:
    """Only a death under it counts."""
    world = make(receives=2)
    world.before(earlier(1, "crashed"))
    world.says = httpx.ConnectError("refused")
    assert (await world.handle())[-1] == "hide 0"


async def test_a_document_that_killed_its_worker_alone_is_not_asked_again(
    make: Callable[..., World],
) -> None:
    """It would do so for ever."""
    world = make(receives=3)
    world.before(earlier(1, "crashed"), earlier(2, "crashed", alone=True))
    assert await world.handle() == ["fetch", "write failed", "dead_letter document kills_worker"]


@pytest.mark.parametrize("crashes", [2, 3])
async def test_a_document_at_which_worker_after_worker_dies_is_not_even_read(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, crashes: int
) -> None:
    """Whatever reads it may be what kills them: it never gets to be alone. Twice may be its neighbour."""
    world = make(receives=1 + crashes, attempts=1)
    world.before(*[earlier(number, "crashed") for number in range(crashes)])
    read, reads = documents.read, list[str]()

    async def noted(fetched: Fetched, key: str, *given: Any, **more: Any) -> documents.Content:  # noqa: ANN401
        reads.append(key)
        return await read(fetched, key, *given, **more)

    monkeypatch.setattr(documents, "read", noted)
    done = await world.handle()
    assert reads == [KEY] * (crashes < 3)
    if crashes < 3:
        assert done[-1] == "delete"
    else:
        assert done == ["fetch", "write failed", "dead_letter document kills_worker"]
        assert (world.failure.kind, world.failure.reason) == ("document", "kills_worker")


async def test_a_worker_that_dies_of_a_neighbour_condemns_nobody_who_waits_to_be_alone(
    make: Callable[..., World],
) -> None:
    """What the journal said while it waited is what the next worker makes of it."""
    world = make(receives=2, parallel=2)
    world.before(earlier(1, "crashed"))
    other = await world.turn()
    async with other.at_server():
        working = world.start()
        await until(lambda: "write running" in world.edge.done)
        await settle()
        await world.ends.of_predecessor(world.journal)
        await cancel(working)
    other.end()
    assert world.told[0].outcome == "crashed"
    crashed = world.told[0]
    again = make(receives=3, parallel=2)
    again.before(earlier(1, "crashed"), crashed)
    assert (await again.handle())[-1] == "delete"


async def test_who_waits_to_be_alone_is_not_alone_yet(make: Callable[..., World]) -> None:
    """Should the worker die meanwhile, of whoever is at the server, this document is not condemned."""
    world = make(receives=2, parallel=2)
    world.before(earlier(1, "crashed"))
    other = await world.turn()
    async with other.at_server():
        working = world.start()
        await until(lambda: "write running" in world.edge.done)
        await settle()
        (entry,) = world.journal.left()
    other.end()
    await asyncio.wait_for(working, 1)
    assert world.edge.done[-1] == "delete"
    assert not entry.record.alone


async def test_who_is_alone_says_so_to_the_next_worker(make: Callable[..., World]) -> None:
    """Should the worker die of it, the next one knows enough to condemn it."""
    world = make(receives=2)
    world.before(earlier(1, "crashed"))
    noted: list[bool] = []

    async def look() -> httpx.Response:
        noted.extend(entry.record.alone for entry in world.journal.left())
        return response(200, GOOD)

    world.says = look
    await world.handle()
    assert noted == [True]


async def test_a_document_at_which_the_worker_breaks_down_is_left_to_the_next_worker(
    make: Callable[..., World],
) -> None:
    """An error that nobody expected ends the worker: that, too, is a death with the document in hand."""
    world = make()
    world.says = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await world.handle()
    assert [entry.record.attempt for entry in world.journal.left()] == [world.record.attempt]
