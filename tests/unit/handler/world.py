"""A handler, all that is around it, and an edge that fails on demand."""

from __future__ import annotations

import asyncio
import tempfile
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from runtime.worker.documents import Documents, Fetched
from runtime.worker.ends import Ends
from runtime.worker.handler import Handler
from runtime.worker.holding import Hold
from runtime.worker.journal import Journal
from runtime.worker.queue import Message, Queue
from runtime.worker.turns import Turn, Turns
from tests.unit.clocks import HeldClock
from tests.unit.edge import BODY, JOB, KEY, Edge
from tests.unit.records import SENT, record_at
from tests.unit.tasks import task

if TYPE_CHECKING:
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
CRASH = httpx.ReadError("broke off")
"""What a server that dies under a request looks like: `server_gone`."""


def response(status: int, body: dict[str, object]) -> httpx.Response:
    """What the model server says to a request."""
    return httpx.Response(status, json=body)


def earlier(after_seconds: float, outcome: str, reason: str = "", kind: str = "", **more: object) -> Record:
    """The record of an earlier attempt at the document."""
    return record_at(after_seconds, outcome, reason, kind, job=JOB, **more)


async def cancel(working: asyncio.Future[Any]) -> None:
    """Cancels work, which ends by that and nothing else."""
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


class World:
    """A handler, all that is around it, and the message that it gets.

    Attributes:
        says: what the model server does to a request: a response, an error, or a call that gives one.
        fetches: what S3 does to a fetch, likewise; None for the document.
    """

    def __init__(self, folder: Path, *, receives: int = 1, body: str = BODY, **changes: object) -> None:
        self.edge, self.clock = Edge(), HeldClock()
        self.task = task(**changes)
        self.told: list[Record] = []
        self.says: Any = response(200, GOOD)
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
