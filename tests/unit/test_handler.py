"""What a message comes to: every order of steps that is promised, over an edge that fails on demand."""

from __future__ import annotations

import asyncio
import json
import tempfile
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from runtime.worker import documents, keys
from runtime.worker.aws import AwsFailure
from runtime.worker.documents import Documents, Fetched
from runtime.worker.ends import MAX_SERVER_FAILURES, Ends
from runtime.worker.failures import DocumentFailure, Failure, LostOwnershipError, TransientFailure
from runtime.worker.handler import READERS, Handler
from runtime.worker.holding import Hold
from runtime.worker.journal import Journal
from runtime.worker.queue import Message, Queue
from runtime.worker.turns import Turn, Turns
from tests.unit.test_ends import AWS_DOWN, BODY, JOB, KEY, Edge
from tests.unit.test_history import SENT, _record
from tests.unit.test_holding import HeldClock, settle, until
from tests.unit.test_queue import TASK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from runtime.ollama.client import Ollama
    from runtime.worker.messages import Job
    from runtime.worker.records import FailureFacts, Record
    from runtime.worker.results import Results
    from runtime.worker.server import Server

GOOD = {
    "response": "answer",
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 7,
    "eval_count": 3,
}
UNVERSIONED = f'{{"document": "s3://in/{KEY}"}}'
EVENT = {"source": "aws.s3", "detail-type": "Object Created"}
CRASH = httpx.ReadError("broke off")
"""What a server that dies under a request looks like: `server_gone`."""


def _answered(status: int, body: dict[str, object]) -> httpx.Response:
    return httpx.Response(status, json=body)


class World:
    """A handler, all that is around it, and the message that it gets.

    Attributes:
        says: what the model server does to a request: a response, an error, or a call that gives one.
        fetches: what S3 does to a fetch, likewise; None for the document.
    """

    def __init__(self, folder: Path, *, receives: int = 1, body: str = BODY, **task: object) -> None:
        self.edge, self.clock = Edge(), HeldClock()
        self.task = TASK.model_copy(update=task)
        self.told: list[Record] = []
        self.says: Any = _answered(200, GOOD)
        self.fetches: Any = None
        self.files: list[Fetched] = []
        self.ready, self.digest, self.vision, self.well = True, "sha", False, 0
        self.journal = Journal(folder)
        self.turns = Turns(self.task.parallel, self.clock)
        self.message = Message(body=body, receipt="r", receives=receives, sent=SENT)
        queue, results = cast("Queue", self.edge), cast("Results", self.edge)
        self.ends = Ends(
            task=self.task, queue=queue, results=results, ended=self.told.append, clock=self.clock
        )
        self.handler = Handler(
            task=self.task,
            queue=queue,
            documents=cast("Documents", self),
            results=results,
            server=cast("Server", self),
            ollama=cast("Ollama", self),
            journal=self.journal,
            ends=self.ends,
            clock=self.clock,
        )
        self.hold = Hold(queue, self.message, 300, clock=self.clock)

    # The documents, the server and its client

    async def fetch(self, job: Job) -> Fetched:
        """Fetches."""
        self.edge.done.append("fetch")
        if self.fetches is not None:
            await _play(self.fetches)
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed by the handler, which a test checks
        file.write(b"text")
        self.files.append(Fetched(file=file, size=4, declared="text/plain", version=job.version or "v1"))
        return self.files[-1]

    def mark_sick(self, *, died: bool = False) -> None:
        """Takes note."""
        self.edge.done.append("dead" if died else "sick")
        self.ready = False

    def mark_well(self) -> None:
        """Takes note."""
        self.well += 1

    async def generate(self, body: dict[str, object], images: object) -> httpx.Response:
        """Answers."""
        assert (body["prompt"], images) == ("text", ())
        self.edge.done.append("ask")
        return await _play(self.says)

    # What a test does

    async def turn(self) -> Turn:
        """One more turn."""
        turn = await self.turns.enter()
        assert turn is not None
        return turn

    async def handle(self) -> list[str]:
        """Handles the message; what was done."""
        async with asyncio.timeout(10):
            await self._handle(self.hold)
        return self.edge.done

    async def _handle(self, hold: Hold) -> None:
        turn = await self.turn()
        try:
            await self.handler.handle(hold, turn)
        finally:
            turn.end()

    def start(self) -> asyncio.Task[None]:
        """Starts with the message, under heartbeats."""
        return asyncio.ensure_future(self.hold.during(self._handle))

    def before(self, *records: Record) -> None:
        """What earlier attempts have left."""
        self.edge.records.update({record.attempt: record for record in records})

    @property
    def record(self) -> Record:
        """The record of this attempt as it was written last."""
        return list(self.edge.records.values())[-1]

    @property
    def failure(self) -> FailureFacts:
        """Why this attempt failed."""
        assert self.record.failure is not None
        return self.record.failure

    @property
    def released_after(self) -> int:
        """For how long the message was hidden at the end."""
        step, _, seconds = self.edge.done[-1].partition(" ")
        assert step == "hide"
        return int(seconds)


async def _play(what: Any) -> Any:  # noqa: ANN401
    await asyncio.sleep(0)
    if isinstance(what, Exception):
        raise what
    call: Any = what if callable(what) else None
    return await call() if call else what


def _past(after_seconds: float, outcome: str, reason: str = "", kind: str = "", **more: object) -> Record:
    return _record(after_seconds, outcome, reason, kind, job=JOB, **more)


@pytest.fixture
def make(tmp_path: Path) -> Iterable[Callable[..., World]]:
    """Makes worlds; at the end none has a file open, nor anything in its journal that was seen to."""
    worlds: list[World] = []

    def world(**given: Any) -> World:  # noqa: ANN401
        worlds.append(World(tmp_path / "in-hand", **given))
        return worlds[-1]

    yield world
    assert all(fetched.file.closed for each in worlds for fetched in each.files)


# Answered


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
    world.before(*[_past(number, outcome) for number, outcome in enumerate(past)])
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
    world.before(_past(0, "crashed"))
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
    theirs = _past(1, "running")
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


# Failed


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (_answered(200, {**GOOD, "done_reason": "length"}), "document", "answer_cut"),
        (_answered(200, {**GOOD, "response": " \n"}), "document", "empty_answer"),
        (_answered(400, {"error": "bad"}), "document", "refused"),
    ],
)
async def test_a_document_at_fault_is_put_away_at_once(
    make: Callable[..., World], reply: httpx.Response, kind: str, reason: str
) -> None:
    """With its record before its dead letter, and no sickness of the server."""
    world = make()
    world.says = reply
    assert (await world.handle())[2:] == ["ask", "write failed", f"dead_letter {kind} {reason}"]
    assert (world.failure.kind, world.failure.reason) == (kind, reason)
    assert world.record.ended is not None
    assert [record.outcome for record in world.told] == ["failed"]


async def test_a_document_that_cannot_be_fetched_is_put_away(make: Callable[..., World]) -> None:
    """Its job is named by what the message says."""
    world = make()
    world.fetches = DocumentFailure("gone", "deleted")
    assert await world.handle() == ["fetch", "write failed", "dead_letter document gone"]
    assert world.record.job == JOB


async def test_a_document_that_was_deleted_after_its_answer_is_no_failure(
    make: Callable[..., World],
) -> None:
    """Its message came again, and the version that it names has its result: that supersedes failures."""
    world = make(receives=2)
    world.before(theirs := _past(1, "answered", result={"bucket": "out", "key": "k"}))
    world.edge.metadata = {"attempt": theirs.attempt}
    world.fetches = DocumentFailure("gone", "deleted")
    assert await world.handle() == ["fetch", "write answered", f"announce {theirs.attempt}", "delete"]
    assert list(world.edge.records) == [theirs.attempt]


async def test_a_document_that_was_deleted_is_not_failed_while_it_is_not_known_whether_it_is_answered(
    make: Callable[..., World],
) -> None:
    """S3 does not say: the attempt is tried again."""
    world = make()
    world.fetches = DocumentFailure("gone", "deleted")
    world.edge.failing["find"] = [AWS_DOWN]
    assert (await world.handle())[:2] == ["fetch", "write retried"]
    assert (world.failure.kind, world.failure.reason) == ("transient", "aws_error")


async def test_a_fetch_that_fails_for_a_while_is_tried_again_without_a_look_for_a_result(
    make: Callable[..., World],
) -> None:
    """Only what is final makes a difference to whoever has an answer."""
    world = make()
    world.fetches = AWS_DOWN
    world.edge.metadata = {"attempt": "theirs"}
    assert (await world.handle())[:2] == ["fetch", "write retried"]


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


async def test_a_transient_failure_is_tried_again(make: Callable[..., World]) -> None:
    """After a pause of at most a minute, recorded first; the server is as well as it was."""
    world = make()
    world.says = _answered(503, {"error": "busy"})
    assert (await world.handle())[2:4] == ["ask", "write retried"]
    assert 1 <= world.released_after <= 2
    assert [record.outcome for record in world.told] == ["retried"]


@pytest.mark.parametrize(
    ("retried", "longest"),
    [(1, 4), (4, 32), (7, 60), (20, 60)],
)
async def test_the_pause_grows_with_the_attempts_on_record(
    make: Callable[..., World], retried: int, longest: int
) -> None:
    """However often SQS handed the message out: that is no attempt."""
    world = make(receives=40, attempts=99)
    world.before(*[_past(number, "retried", "busy", "transient") for number in range(retried)])
    world.says = _answered(503, {"error": "busy"})
    await world.handle()
    assert longest // 2 <= world.released_after <= longest


@pytest.mark.parametrize(
    ("past", "attempts", "outcome"),
    [
        ([], 1, "failed"),
        ([], 2, "retried"),
        (["retried"], 2, "failed"),
        (["retried", "retried"], 3, "failed"),
        (["released", "lost", "running", "crashed"], 2, "retried"),
    ],
)
async def test_attempts_are_counted_over_records(
    make: Callable[..., World], past: list[str], attempts: int, outcome: str
) -> None:
    """Only those that met a transient error count; the last one ends among the dead letters, as transient."""
    world = make(receives=len(past) + 1, attempts=attempts)
    world.before(*[_past(number, each) for number, each in enumerate(past)])
    world.says = _answered(503, {"error": "busy"})
    await world.handle()
    assert world.record.outcome == outcome
    if outcome == "failed":
        assert world.edge.done[-1] == "dead_letter transient busy"


@pytest.mark.parametrize(("seconds", "outcome"), [(3599, "retried"), (3600, "failed")])
async def test_a_document_is_tried_for_so_long_and_no_longer(
    make: Callable[..., World], seconds: float, outcome: str
) -> None:
    """From its first attempt that counted to this one: what was given back for hours was not tried."""
    world = make(receives=2, attempts=99, retry_seconds=3600)
    world.before(_past(-3, "released"), _past(0, "retried"), _past(3000, "retried"))
    world.clock.seconds = seconds
    world.says = _answered(503, {"error": "busy"})
    await world.handle()
    assert world.record.outcome == outcome


@pytest.mark.parametrize(
    ("says", "reason", "mark"),
    [
        (CRASH, "server_gone", "dead"),
        (httpx.ConnectError("refused"), "server_unreachable", "sick"),
        (_answered(500, {"error": "llama runner process has terminated"}), "runner_down", "sick"),
        (_answered(500, {"error": "CUDA error: device lost"}), "runner_crashed", "dead"),
        (_answered(404, {"error": "model 'tiny' not found"}), "model_gone", "sick"),
    ],
)
async def test_a_document_whose_server_failed_is_given_back_at_once(
    make: Callable[..., World], says: object, reason: str, mark: str
) -> None:
    """It is not to blame, it is no attempt, and nobody is received until the model answers."""
    world = make(attempts=1)
    world.says = says
    assert (await world.handle())[2:] == ["ask", mark, "write released", "hide 0"]
    assert (world.failure.kind, world.failure.reason) == ("server", reason)
    assert [record.outcome for record in world.told] == ["released"]


@pytest.mark.parametrize(
    ("failed", "longest", "outcome"),
    [(1, 2, "released"), (3, 8, "released"), (MAX_SERVER_FAILURES - 1, 0, "failed")],
)
async def test_a_document_whose_server_fails_again_waits_and_is_put_away_in_the_end(
    make: Callable[..., World], failed: int, longest: int, outcome: str
) -> None:
    """Another pod's server may be well, but not for ever; a message given back without a failure is none."""
    world = make(receives=40, attempts=1)
    world.before(
        *[_past(number, "released", "model_gone", "server") for number in range(failed)],
        *[_past(100 + number, "released") for number in range(20)],
    )
    world.says = _answered(404, {"error": "model 'tiny' not found"})
    assert (await world.handle())[2:5] == ["ask", "sick", f"write {outcome}"]
    if outcome == "failed":
        assert world.edge.done[-1] == "dead_letter server model_gone"
    else:
        assert longest // 2 <= world.released_after <= longest


async def test_a_server_error_counts_and_makes_the_server_show_its_model(
    make: Callable[..., World],
) -> None:
    """A 500 without a cause may be the document's: it is tried again, by a server that was looked at."""
    world = make()
    world.says = _answered(500, {"error": "out of memory"})
    assert (await world.handle())[2:5] == ["ask", "sick", "write retried"]


@pytest.mark.parametrize(
    ("past", "kind"),
    [([], "transient"), (["not_done"], "document"), (["busy"], "transient")],
)
async def test_an_answer_given_up_twice_is_the_documents_doing(
    make: Callable[..., World], past: list[str], kind: str
) -> None:
    """Once it may have been the server."""
    world = make(receives=1 + len(past), attempts=9)
    world.before(*[_past(1, "retried", reason, "transient") for reason in past])
    world.says = _answered(200, {"response": "ha ha", "done": False})
    await world.handle()
    assert (world.failure.kind, world.failure.reason) == (kind, "not_done")
    assert (world.edge.done[-1] == "dead_letter document not_done") is (kind == "document")


async def test_a_failure_whose_message_came_again_is_only_put_away_again(
    make: Callable[..., World],
) -> None:
    """It is on record: nothing is asked, nothing is recorded, the dead letter has the same reason."""
    world = make(receives=2)
    world.before(_past(1, "failed", "too_long", "document"))
    assert await world.handle() == ["fetch", "dead_letter document too_long"]
    assert len(world.edge.records) == 1
    assert world.told == []


@pytest.mark.parametrize("error", [AWS_DOWN, LostOwnershipError("gone")], ids=["down", "lost"])
async def test_a_failure_that_cannot_be_put_away_again_stays_the_failure_that_it_is(
    make: Callable[..., World], error: Exception
) -> None:
    """The message comes back after a pause; no other record is made of it."""
    world = make(receives=2, attempts=9)
    world.before(_past(1, "failed", "too_long", "document"))
    world.edge.failing["dead_letter"] = [error]
    await world.handle()
    assert 2 <= world.released_after <= 4
    assert [record.outcome for record in world.edge.records.values()] == ["failed"]
    assert world.told == []


# Under suspicion


SUSPECT = [
    pytest.param(_past(1, "released", "server_gone", "server"), id="server"),
    pytest.param(_past(1, "crashed"), id="worker"),
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
        return _answered(200, GOOD)

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
        return _answered(200, GOOD)

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
    world.before(_past(1, "crashed"))
    world.says = httpx.ConnectError("refused")
    assert (await world.handle())[-1] == "hide 0"


async def test_a_document_that_killed_its_worker_alone_is_not_asked_again(
    make: Callable[..., World],
) -> None:
    """It would do so for ever."""
    world = make(receives=3)
    world.before(_past(1, "crashed"), _past(2, "crashed", alone=True))
    assert await world.handle() == ["fetch", "write failed", "dead_letter document kills_worker"]


@pytest.mark.parametrize("crashes", [2, 3])
async def test_a_document_at_which_worker_after_worker_dies_is_not_even_read(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, crashes: int
) -> None:
    """Whatever reads it may be what kills them: it never gets to be alone. Twice may be its neighbour."""
    world = make(receives=1 + crashes, attempts=1)
    world.before(*[_past(number, "crashed") for number in range(crashes)])
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
    world.before(_past(1, "crashed"))
    other = await world.turn()
    async with other.at_server():
        working = world.start()
        await until(lambda: "write running" in world.edge.done)
        await settle()
        await world.ends.of_predecessor(world.journal)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    other.end()
    assert world.told[0].outcome == "crashed"
    crashed = world.told[0]
    again = make(receives=3, parallel=2)
    again.before(_past(1, "crashed"), crashed)
    assert (await again.handle())[-1] == "delete"


async def test_who_waits_to_be_alone_is_not_alone_yet(make: Callable[..., World]) -> None:
    """Should the worker die meanwhile, of whoever is at the server, this document is not condemned."""
    world = make(receives=2, parallel=2)
    world.before(_past(1, "crashed"))
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
    world.before(_past(1, "crashed"))
    noted: list[bool] = []

    async def look() -> httpx.Response:
        noted.extend(entry.record.alone for entry in world.journal.left())
        return _answered(200, GOOD)

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


# Time


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
    world.before(theirs := _past(1, "answered", result={"bucket": "out", "key": "k"}))
    world.edge.metadata = {"attempt": theirs.attempt}
    world.clock.seconds = 10
    assert (await world.handle())[-3:] == ["write answered", f"announce {theirs.attempt}", "delete"]


def _due(seconds: float) -> str:
    return BODY[:-1] + f', "deadline": "{(SENT + timedelta(seconds=seconds)).isoformat()}"}}'


# Given back


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


async def test_the_record_names_the_model_that_answered(make: Callable[..., World]) -> None:
    """A server that was sick when the document came, and well when it was asked, has a digest by then."""
    world = make()
    world.digest = ""

    async def load() -> None:
        world.digest = "sha"

    world.edge.before["write"] = load
    await world.handle()
    assert (world.record.outcome, world.record.model_digest) == ("answered", "sha")


@pytest.mark.parametrize("step", ["fetch", "ask"])
async def test_a_worker_that_goes_hands_its_document_back(make: Callable[..., World], step: str) -> None:
    """Recorded as released, visible at once, and out of the journal; then it is cancelled."""
    world = make()
    hang = asyncio.Event()
    world.fetches, world.says = (hang.wait, None) if step == "fetch" else (None, hang.wait)
    working = world.start()
    await until(lambda: step in world.edge.done)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert world.edge.done[-2:] == ["write released", "hide 0"]
    assert list(world.journal.left()) == []


async def test_a_hand_that_is_cancelled_ends(make: Callable[..., World]) -> None:
    """What was handed back is no reason to go on."""
    world = make()
    world.says = asyncio.Event().wait
    working = asyncio.ensure_future(world.handle())
    await until(lambda: "ask" in world.edge.done)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
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
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


@pytest.mark.parametrize("step", ["write", "hide"])
async def test_a_worker_that_goes_while_a_failure_is_put_away_hands_its_document_back(
    make: Callable[..., World], step: str
) -> None:
    """The message is visible at once, not when its visibility ends."""
    world = make()
    world.says = _answered(503, {"error": "busy"})
    hanging = asyncio.Event()

    async def hang() -> None:
        if "ask" in world.edge.done:
            world.edge.before.clear()
            hanging.set()
            await asyncio.Event().wait()

    world.edge.before[step] = hang
    working = world.start()
    await hanging.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
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
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
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


# Messages


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{no json", "unreadable_message"),
        ('{"document": "s3://in/other/a.txt"}', "misplaced"),
        ('{"document": "s3://in/task"}', "misplaced"),
        ('{"document": "s3://in/task-2/a.txt"}', "misplaced"),
        ('{"document": "s3://other/task/a.txt"}', "misplaced"),
    ],
)
async def test_a_message_that_is_not_for_this_worker_is_put_away_before_anything_is_fetched(
    make: Callable[..., World], body: str, reason: str
) -> None:
    """It may read nothing else, nor name results after it."""
    assert await make(body=body).handle() == [f"dead_letter document {reason}"]


async def test_one_misplaced_document_among_several_puts_the_message_away(
    make: Callable[..., World],
) -> None:
    """Half of a message is not answered."""
    body = _notification("task/a.txt", "other/b.txt")
    assert await make(body=body).handle() == ["dead_letter document misplaced"]


async def test_several_documents_get_a_message_each(make: Callable[..., World]) -> None:
    """Each has its own attempts and its own end."""
    body = _notification("task/a.txt", "task/b.txt")
    assert await make(body=body).handle() == ["replace task/a.txt task/b.txt"]


@pytest.mark.parametrize("body", ['{"Service": "Amazon S3", "Event": "s3:TestEvent"}', '{"Records": [%s]}'])
async def test_a_message_that_asks_for_nothing_is_only_deleted(make: Callable[..., World], body: str) -> None:
    """S3 sends one when a notification is set up, and one for a removal."""
    removal = _notification("task/a.txt").replace("ObjectCreated:Put", "ObjectRemoved:Delete")
    assert await make(body=removal if "%s" in body else body).handle() == ["replace"]


@pytest.mark.parametrize("error", [AWS_DOWN, LostOwnershipError("gone")], ids=["down", "lost"])
@pytest.mark.parametrize("step", ["replace", "dead_letter"])
async def test_a_message_that_cannot_be_put_away_comes_back(
    make: Callable[..., World], step: str, error: Exception
) -> None:
    """Hidden for a pause that grows with its receives."""
    world = make(body="{" if step == "dead_letter" else _notification("task/a", "task/b"), receives=50)
    world.edge.failing[step] = [error]
    await world.handle()
    assert 30 <= world.released_after <= 60


async def test_a_version_of_the_message_and_one_of_s3_come_to_one_job(make: Callable[..., World]) -> None:
    """Whichever way a document came in, it is one job."""
    world = make(body=UNVERSIONED)
    await world.handle()
    assert world.record.job == JOB == keys.job_id("in", KEY, "v1", world.task.hash)


def _notification(*names: str) -> str:
    records = [
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "in"}, "object": {"key": name, "size": 4}},
        }
        for name in names
    ]
    return json.dumps({"Records": records})


def test_every_failure_has_a_class() -> None:
    """What decides over a message is its class: there is none without."""
    assert {kind.kind for kind in Failure.__subclasses__()} == {"document", "transient", "server"}
