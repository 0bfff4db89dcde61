"""Deadlines and time limits, before the server and at it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.unit.edge import BODY
from tests.unit.handler.world import earlier
from tests.unit.records import SENT

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.unit.handler.world import World


@pytest.mark.parametrize("seconds", [-1, 0])
async def test_a_document_that_is_too_late_is_not_even_fetched(
    make: Callable[..., World], seconds: float
) -> None:
    """At its deadline it is of no use any more."""
    world = make(body=_due(seconds))
    assert await world.handle() == ["write failed", "dead_letter document too_late"]
    assert world.record.deadline == SENT + timedelta(seconds=seconds)


async def test_a_document_that_becomes_too_late_before_its_turn_is_not_asked(
    make: Callable[..., World],
) -> None:
    """What waited too long costs no time at the server."""
    world = make(body=_due(10))

    async def pass_time() -> None:
        world.clock.seconds += 10

    world.edge.before["write"] = pass_time
    assert await world.handle() == [
        "fetch",
        "write running",
        "write failed",
        "dead_letter document too_late",
    ]


async def test_a_document_that_becomes_too_late_at_the_server_is_the_documents_failure(
    make: Callable[..., World],
) -> None:
    """The request is given up; the server has done nothing wrong."""
    world = make(body=_due(0.001))

    async def hang() -> httpx.Response:
        world.clock.seconds += 1
        await asyncio.Event().wait()
        raise AssertionError

    world.says = hang
    assert (await asyncio.wait_for(world.handle(), 5))[2:] == [
        "ask",
        "write failed",
        "dead_letter document too_late",
    ]


async def test_a_server_without_an_answer_in_time_is_tried_again_and_looked_at(
    make: Callable[..., World],
) -> None:
    """The limit is the task's; what hangs may be the GPU."""
    world = make(time_limit_seconds=0.001)

    async def hang() -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    world.says = hang
    assert (await asyncio.wait_for(world.handle(), 5))[2:5] == ["ask", "sick", "write retried"]
    assert (world.failure.kind, world.failure.reason) == ("transient", "time_limit")


async def test_a_document_that_was_answered_in_time_is_not_too_late_afterwards(
    make: Callable[..., World],
) -> None:
    """Steps after its result failed, and its message comes again after the deadline: it is finished."""
    world = make(receives=2, body=_due(10))
    world.before(theirs := earlier(1, "answered", result={"bucket": "out", "key": "k"}))
    world.edge.metadata = {"attempt": theirs.attempt}
    world.clock.seconds = 10
    assert (await world.handle())[-3:] == ["write answered", f"announce {theirs.attempt}", "delete"]


def _due(seconds: float) -> str:
    return BODY[:-1] + f', "deadline": "{(SENT + timedelta(seconds=seconds)).isoformat()}"}}'
