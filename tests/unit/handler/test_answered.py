"""A document that is answered: the order of steps that loses nothing, and what is found already done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from runtime.worker import documents
from runtime.worker.handler import READERS
from tests.unit.clocks import settle
from tests.unit.edge import AWS_DOWN, BODY, JOB, KEY
from tests.unit.handler.world import UNVERSIONED, earlier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.worker.records import Record
    from tests.unit.handler.world import World


async def test_every_step_comes_in_the_order_that_loses_nothing(make: Callable[..., World]) -> None:
    """Recorded as running before it is asked, stored before anything says so, deleted last."""
    world = make()
    assert await world.handle() == [
        "fetch",
        "write running",
        "ask",
        "put answer",
        "write answered",
        f"announce {world.record.attempt}",
        "delete",
    ]
    assert [record.outcome for record in world.told] == ["answered"]
    assert world.record.seconds.keys() == {
        *("waited", "fetch", "turn", "server", "load", "prompt", "answer", "store")
    }
    assert world.record.document.model_dump() == {
        "bucket": "in",
        "key": KEY,
        "version": "v1",
        "declared": "text/plain",
        "type": "text/plain",
        "decided_by": "declared",
        "charset": "utf-8",
        "bytes": 4,
        "pages": 0,
    }
    assert (world.record.alone, world.record.model_digest) == (False, "sha")
    assert list(world.journal.left()) == []
    assert not world.turns.full
    assert world.well == 1


@pytest.mark.parametrize("body", [BODY, UNVERSIONED], ids=["versioned", "unversioned"])
async def test_a_document_is_in_the_journal_from_the_first_step_to_the_last(
    make: Callable[..., World], body: str
) -> None:
    """Whenever the worker dies, the next one finds it, under the job that it has by then."""
    world = make(body=body)
    seen: list[tuple[str, list[tuple[str, str]]]] = []

    def look(step: str) -> Callable[[], Awaitable[None]]:
        async def look() -> None:
            seen.append((step, [(entry.receipt, entry.record.job) for entry in world.journal.left()]))

        return look

    steps = ("find", "write", "put", "announce", "delete")
    world.edge.before.update({step: look(step) for step in steps})
    await world.handle()
    assert [step for step, _ in seen] == ["find", "write", "put", "write", "announce", "delete"]
    assert all(entries == [("r", JOB)] for _, entries in seen)


@pytest.mark.parametrize(
    ("body", "past", "notes"),
    [
        (BODY, (), [(True, "", False)]),
        (UNVERSIONED, (), [(False, "", False), (True, "", False)]),
        (BODY, ("crashed",), [(True, "", False), (True, "sha", True), (True, "sha", False)]),
        (
            UNVERSIONED,
            ("crashed",),
            [(False, "", False), (True, "", False), (True, "sha", True), (True, "sha", False)],
        ),
    ],
)
async def test_the_journal_is_written_only_for_what_the_next_worker_has_to_know(
    make: Callable[..., World],
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    past: tuple[str, ...],
    notes: list[tuple[bool, str, bool]],
) -> None:
    """Which job it is, and for how long it is alone: each note is a write to a disk."""
    world = make(body=body, receives=1 + len(past))
    world.before(*[earlier(number, outcome) for number, outcome in enumerate(past)])
    seen: list[tuple[bool, str, bool]] = []

    def note(receipt: str, record: Record) -> None:
        assert receipt == "r"
        seen.append((record.job == JOB, record.model_digest, record.alone))

    monkeypatch.setattr(world.journal, "note", note)
    assert (await world.handle())[-1] == "delete"
    assert seen == notes


async def test_a_suspect_is_not_alone_while_a_neighbour_is_on_its_way(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The neighbour, still being read, may be what kills the worker: then no crash is the suspect's proof."""
    world = make(receives=2, parallel=2)
    world.before(earlier(0, "crashed"))
    neighbour = await world.turns.enter()
    alone: list[bool] = []
    monkeypatch.setattr(world.journal, "note", lambda _, record: alone.append(record.alone))
    assert (await world.handle())[-1] == "delete"
    assert neighbour is not None
    assert not any(alone)


async def test_a_result_that_is_there_is_finished_without_any_time_at_the_server(
    make: Callable[..., World],
) -> None:
    """A message that comes again does what the first delivery left undone, and no more."""
    world = make(receives=2)
    theirs = earlier(1, "running")
    world.before(theirs)
    world.edge.metadata = {"attempt": theirs.attempt}
    assert await world.handle() == ["fetch", "write answered", f"announce {theirs.attempt}", "delete"]
    assert list(world.edge.records) == [theirs.attempt]
    assert world.told == []


async def test_a_result_that_does_not_say_whose_it_is_is_a_result(make: Callable[..., World]) -> None:
    """Whoever put it there, the document is not asked about."""
    world = make()
    world.edge.metadata = {}
    done = await world.handle()
    assert (done[-1], "ask" in done) == ("delete", False)


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("step", ["announce", "delete", "write"])
@pytest.mark.parametrize("there", [True, False])
async def test_an_answered_document_is_never_recorded_as_failed(
    make: Callable[..., World], step: str, attempts: int, *, there: bool
) -> None:
    """What fails after a result, ours or another's, leaves the message to come back, nothing else."""
    world = make(attempts=attempts)
    if there:
        world.edge.metadata = {"attempt": "theirs"}
        world.edge.failing[step] = [AWS_DOWN]
    else:

        async def stored() -> None:
            world.edge.failing[step] = [AWS_DOWN]

        world.edge.before["put"] = stored
    await world.handle()
    assert 0 < world.released_after <= 60
    assert {record.outcome for record in world.edge.records.values()} <= {"running", "answered"}
    assert not [done for done in world.edge.done if done.startswith("dead_letter")]


async def test_no_s3_says_no_while_it_is_asked_for_a_result(make: Callable[..., World]) -> None:
    """Where it is not known whether there is a result, none is made: the attempt is tried again."""
    world = make()
    world.edge.failing["find"] = [AWS_DOWN]
    assert (await world.handle())[:2] == ["fetch", "write retried"]
    assert (world.failure.kind, world.failure.reason) == ("transient", "aws_error")


async def test_a_record_that_cannot_be_written_costs_no_time_at_the_server(
    make: Callable[..., World],
) -> None:
    """A request that no record tells of could not be counted."""
    world = make()
    world.edge.failing["write"] = [AWS_DOWN]
    assert (await world.handle())[:3] == ["fetch", "write running", "write retried"]


async def test_an_attempt_without_a_result_names_none(make: Callable[..., World]) -> None:
    """Its record says where a result lies only where one does."""
    world = make()
    world.edge.failing["put"] = [AWS_DOWN] * 99
    working = asyncio.ensure_future(world.handle())
    while not working.done():
        await world.clock.move(60)
    await working
    assert world.record.outcome == "retried"
    assert world.record.result is None


async def test_a_result_that_went_away_again_is_asked_for_again(make: Callable[..., World]) -> None:
    """Nothing was decided then: the attempt is tried again, with a pause."""
    world = make()

    async def refuse() -> None:
        world.edge.metadata = {}

    async def go() -> None:
        world.edge.metadata = None

    world.edge.before.update(put=refuse, find=go)
    assert (await world.handle())[3:5] == ["put answer", "write retried"]
    assert 1 <= world.released_after <= 2
    assert [record.outcome for record in world.told] == ["retried"]


async def test_few_documents_are_read_at_once(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are in hand: what reads a page takes memory."""
    world, now, most = make(parallel=6), 0, 0
    read = documents.read

    async def slowly(*given: Any, **more: Any) -> documents.Content:  # noqa: ANN401
        nonlocal now, most
        now += 1
        most = max(most, now)
        await settle()
        now -= 1
        return await read(*given, **more)

    monkeypatch.setattr(documents, "read", slowly)
    await asyncio.gather(*(world.handle() for _ in range(6)))
    assert most == READERS


async def test_the_record_names_the_model_that_answered(make: Callable[..., World]) -> None:
    """A server that was sick when the document came, and well when it was asked, has a digest by then."""
    world = make()
    world.digest = ""

    async def load() -> None:
        world.digest = "sha"

    world.edge.before["write"] = load
    await world.handle()
    assert (world.record.outcome, world.record.model_digest) == ("answered", "sha")
