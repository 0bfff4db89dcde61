"""The model server's state: when its pod is given up, and what is no reason for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
from structlog.testing import capture_logs

from runtime.worker.server import MAX_DEATHS, SICK_SECONDS
from tests.unit.clocks import settle, until
from tests.unit.server.fake_ollama import BROKEN, GONE, FakeOllama, hang, kept, serve

if TYPE_CHECKING:
    from tests.unit.clocks import Clock


@pytest.mark.usefixtures("pings_at_once")
async def test_a_load_is_alive_for_as_long_as_its_server_answers(clock: Clock) -> None:
    """Ten hours are no reason to give the pod up, whatever failed before; an unanswered ping ends it."""
    clock.seconds = 1000
    ollama, alive = FakeOllama(), list[bool]()
    cancelled = asyncio.Event()

    async def load() -> None:
        if ollama.asked == ["load"]:
            raise GONE
        try:
            await hang()
        finally:
            cancelled.set()

    server = serve(ollama, clock)

    async def ping() -> None:
        alive.append(server.alive)
        clock.seconds += 10
        if len(alive) == 3600:
            ollama.script = {}
            raise GONE

    ollama.script.update(load=load, ping=ping)
    with capture_logs() as logs:
        async with kept(server):
            await asyncio.wait_for(server.wait_until_ready(), 60)
    assert alive == [True] * 3600
    assert cancelled.is_set()
    assert ollama.asked.count("load") == 3
    assert [entry["problem"] for entry in logs if entry["log_level"] == "warning"] == [
        "ConnectError: refused"
    ]


async def test_a_server_that_fails_for_too_long_is_not_alive_until_it_is_loaded(clock: Clock) -> None:
    """The pod is given up after 120 seconds of failures; one success takes that back."""
    ollama, seen = FakeOllama(), list[tuple[float, bool]]()
    server = serve(ollama, clock)
    # The time of a machine that has been up for a moment; 0 is no time that a failure can have.
    clock.seconds = 1000

    async def fail() -> None:
        seen.append((clock.seconds - 1000, server.alive))
        if len(seen) <= 130:
            raise BROKEN

    ollama.script["load"] = fail
    async with kept(server):
        await asyncio.wait_for(server.wait_until_ready(), 1)
    assert seen == [(float(second), second < SICK_SECONDS) for second in range(131)]
    assert SICK_SECONDS == 120
    assert server.alive


async def test_a_server_that_fails_at_once_is_given_up_by_the_clock_alone(clock: Clock) -> None:
    """A hundred refusals in as many seconds are no deaths; a clock that starts at 0 is one like any other."""
    ollama = FakeOllama()
    server = serve(ollama, clock)
    ollama.script["load"] = BROKEN
    async with kept(server):
        await until(lambda: clock.seconds == SICK_SECONDS - 1)
        assert server.alive
        await until(lambda: not server.alive)
    assert clock.seconds == SICK_SECONDS


@pytest.mark.usefixtures("pings_at_once")
@pytest.mark.parametrize("failures", [MAX_DEATHS - 1, MAX_DEATHS])
async def test_a_server_whose_every_load_fails_is_given_up_however_slowly_it_fails(
    clock: Clock, failures: int
) -> None:
    """A lost GPU may show after half a minute of loading: pings meanwhile hide it from the clock only."""
    ollama = FakeOllama()

    async def load() -> None:
        clock.seconds += 30
        await settle()
        if ollama.asked.count("load") <= failures:
            raise BROKEN

    ollama.script["load"] = load
    server = serve(ollama, clock)
    async with kept(server):
        await until(lambda: ollama.asked.count("load") == MAX_DEATHS)
        assert server.alive
        await until(lambda: server.digest)
    assert server.alive is server.ready is (failures < MAX_DEATHS)
    assert ollama.asked.count("ping") > MAX_DEATHS


@pytest.mark.usefixtures("pings_at_once")
async def test_slow_loads_that_end_well_are_no_deaths(clock: Clock) -> None:
    """However often a large model has to be loaded."""
    ollama = FakeOllama()
    ollama.script["load"] = settle
    server = serve(ollama, clock)
    async with kept(server):
        for _ in range(2 * MAX_DEATHS):
            await asyncio.wait_for(server.wait_until_ready(), 1)
            server.mark_sick()
        await asyncio.wait_for(server.wait_until_ready(), 1)
    assert server.alive


@pytest.mark.usefixtures("pings_at_once")
async def test_slow_loads_without_a_first_word_are_given_up(clock: Clock) -> None:
    """A GPU that takes a model and dies at its first word has it loaded slowly again, for ever."""
    ollama = FakeOllama()

    async def load() -> None:
        clock.seconds += 30
        await settle()

    ollama.script.update(load=load, first_word=BROKEN)
    server = serve(ollama, clock)
    async with kept(server):
        await until(lambda: clock.seconds > 3600)
    assert not server.alive


@pytest.mark.usefixtures("pings_at_once")
async def test_a_server_that_goes_away_in_every_load_is_given_up(clock: Clock) -> None:
    """It is there for the first ping of each load, and hangs at the next."""
    ollama = FakeOllama()

    async def ping() -> None:
        clock.seconds += 10
        if ollama.asked[-2:] == ["ping", "ping"]:
            raise httpx.ReadTimeout("")

    ollama.script.update(load=hang, ping=ping)
    server = serve(ollama, clock)
    async with kept(server):
        await until(lambda: clock.seconds > 3600)
    assert not server.alive


async def test_a_server_that_dies_under_whatever_it_is_asked_is_given_up(clock: Clock) -> None:
    """A broken GPU may load a model: after so many deaths in a row nothing is received, and the pod goes."""
    server = serve(FakeOllama(), clock)
    seen: list[tuple[bool, bool]] = []
    async with kept(server):
        for _ in range(MAX_DEATHS):
            await until(lambda: server.digest)
            seen.append((server.ready, server.alive))
            server.mark_sick(died=True)
        await until(lambda: server.digest)
    assert seen == [(True, True)] * MAX_DEATHS
    assert (server.ready, server.alive) == (False, False)


async def test_an_answer_between_two_deaths_clears_the_server(clock: Clock) -> None:
    """Neither deaths before it count, nor failures that are none."""
    server = serve(FakeOllama(), clock)
    async with kept(server):
        for died in [True] * (MAX_DEATHS - 1) + [False] * MAX_DEATHS:
            await until(lambda: server.digest)
            server.mark_sick(died=died)
        server.mark_well()
        for _ in range(MAX_DEATHS - 1):
            await until(lambda: server.digest)
            server.mark_sick(died=True)
        await asyncio.wait_for(server.wait_until_ready(), 1)
    assert server.alive


async def test_one_death_under_several_documents_is_one(clock: Clock) -> None:
    """With many slots a single crash fails many requests: that is no row of deaths."""
    server = serve(FakeOllama(), clock)
    async with kept(server):
        await until(lambda: server.digest)
        for _ in range(MAX_DEATHS):
            server.mark_sick(died=True)
        await until(lambda: server.digest)
    assert (server.ready, server.alive) == (True, True)


async def test_whoever_waits_hears_that_the_server_answered_after_all(clock: Clock) -> None:
    """A request that was under way may clear it: then it is ready, and nobody waits on."""
    server = serve(FakeOllama(), clock)
    async with kept(server):
        for _ in range(MAX_DEATHS):
            await until(lambda: server.digest)
            server.mark_sick(died=True)
        await until(lambda: server.digest)
        waiting = asyncio.ensure_future(server.wait_until_ready())
        await settle()
        assert not waiting.done()
        server.mark_well()
        assert server.ready
        await settle()
        assert waiting.done()
        await waiting


async def test_a_server_that_was_given_up_and_started_anew_gets_a_try(clock: Clock) -> None:
    """The kubelet has restarted it, and not the worker: it is asked again, and given up at its next death."""
    ollama = FakeOllama()
    server = serve(ollama, clock)
    async with kept(server):
        await until(lambda: server.ready)
        for _ in range(MAX_DEATHS):
            await until(lambda: bool(server.digest))
            server.mark_sick(died=True)
        await until(lambda: bool(server.digest))
        assert (server.ready, server.alive) == (False, False)
        ollama.script["loaded"] = GONE
        await server._look()  # noqa: SLF001  its pause is the loop's own time
        ollama.script.clear()
        await until(lambda: server.ready)
        assert server.alive
        server.mark_sick(died=True)
        assert not server.alive
