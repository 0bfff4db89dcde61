"""A queue and a bucket that note what is done and fail on demand, and a message with its job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.worker import keys
from runtime.worker.aws import AwsFailure
from runtime.worker.messages import parse
from runtime.worker.records import ResultFacts
from tests.unit.tasks import task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from runtime.worker.failures import Failure
    from runtime.worker.queue import Message
    from runtime.worker.records import Record

AWS_DOWN = AwsFailure("any", "500", "down")
KEY = "task/a.txt"
BODY = '{"document": {"bucket": "in", "key": "task/a.txt", "version": "v1"}}'
JOB = keys.job_id("in", KEY, "v1", task().hash)


class Edge:
    """Queue and results in one: `done` has what was changed, in order, also where it failed.

    Attributes:
        done: a step and what distinguishes it, such as `write running`.
        failing: for each step the errors of its next calls.
        before: for each step what happens to it before anything else.
        metadata: that of the job's result, None while there is none.
        records: by attempt, in order of time.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failing: dict[str, list[Exception]] = {}
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        self.metadata: dict[str, str] | None = None
        self.records: dict[str, Record] = {}

    async def _step(self, name: str, *what: object) -> None:
        if name in self.before:
            await self.before[name]()
        if name not in {"find", "read", "attempts"}:
            self.done.append(" ".join([name, *map(str, what)]))
        if errors := self.failing.get(name):
            raise errors.pop(0)

    # The queue

    async def hide(self, receipt: str, seconds: int) -> None:
        """Hides or shows."""
        assert receipt == "r"
        await self._step("hide", seconds)

    async def delete(self, message: Message) -> None:
        """Deletes."""
        assert message.receipt == "r"
        await self._step("delete")

    async def replace(self, _message: Message, bodies: Sequence[str]) -> None:
        """Replaces, or deletes where there is nothing to put in."""
        await self._step("replace", *(job.key for body in bodies for job in parse(body)))

    async def dead_letter(self, _message: Message, failure: Failure) -> None:
        """Puts away."""
        await self._step("dead_letter", failure.kind, failure.reason)

    # The results

    def place(self, key: str, job: str) -> ResultFacts:
        """Where."""
        return ResultFacts(bucket="out", key=keys.result_key(key, job, ".txt"))

    async def find(self, _key: str, _job: str) -> Mapping[str, str] | None:
        """Looks."""
        await self._step("find")
        return self.metadata

    async def put(self, key: str, job: str, body: bytes, attempt: str) -> bool:
        """Stores."""
        assert (key, job) == (KEY, JOB)
        await self._step("put", body.decode())
        if self.metadata is not None:
            return False
        self.metadata = {"job": job, "attempt": attempt}
        return True

    async def write(self, record: Record) -> None:
        """Records."""
        await self._step("write", record.outcome)
        self.records[record.attempt] = record

    async def read(self, _key: str, _job: str, attempt: str) -> Record | None:
        """Reads."""
        await self._step("read")
        return self.records.get(attempt)

    async def attempts(self, _key: str, _job: str) -> list[Record]:
        """Lists."""
        await self._step("attempts")
        return list(self.records.values())

    async def announce(self, record: Record) -> None:
        """Tells."""
        assert record.result is not None
        await self._step("announce", record.attempt)
