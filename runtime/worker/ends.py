"""How attempts end: with a result, with a failure, or given back. Every step is safe to repeat."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from runtime.worker import history
from runtime.worker.clock import SYSTEM, Clock
from runtime.worker.failures import (
    DocumentFailure,
    Failure,
    LostOwnershipError,
    ServerFailure,
    TransientFailure,
)
from runtime.worker.history import DEATHS, History

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runtime.spec import TaskSpec
    from runtime.worker.answering import Answer
    from runtime.worker.attempt import Attempt
    from runtime.worker.holding import Hold
    from runtime.worker.journal import Entry, Journal
    from runtime.worker.queue import Queue
    from runtime.worker.records import Outcome, Record
    from runtime.worker.results import Results

log = structlog.get_logger()

MAX_BACKOFF_SECONDS = 60
"""A message that waits hidden keeps its pod, and so a GPU, alive."""

RECORDED = frozenset({"failed", "retried", "released"})
"""Outcomes that an attempt which is given up may have already."""

MAX_SERVER_FAILURES = 10
"""Servers fail documents for no fault of theirs, but not one document for ever: long before SQS would give it
up, without a word, it is given up with the reason."""

STORE_PAUSES_SECONDS = (1, 2, 4, 8, 15, 30)
"""An answer has cost GPU time: it is kept in hand for a minute, should S3 not take it at once."""


class Ends:
    """Puts away what an attempt has come to: result, record, event, message, in the order that loses none."""

    def __init__(
        self,
        *,
        task: TaskSpec,
        queue: Queue,
        results: Results,
        ended: Callable[[Record], None] = lambda _: None,
        clock: Clock = SYSTEM,
    ) -> None:
        """`ended` hears of each attempt that ended here."""
        self._task = task
        self._queue = queue
        self._results = results
        self._ended = ended
        self._clock = clock

    async def answered(self, attempt: Attempt, answer: Answer) -> None:
        """Stores the answer, the commit point, and does what follows, for whichever attempt was first."""
        key, job = attempt.key, attempt.record.job
        attempt.answered(answer, self._results.place(key, job))
        stored = await self._store(attempt, answer.body)
        attempt.committed = True
        attempt.phase_ended("store")
        if not stored:
            winner = await self._results.find(key, job)
            if winner is None:
                attempt.committed = False
                raise TransientFailure("aws_error", "put_object: a result was there, and is not any more")
            # It may be our own, of a call whose answer never came.
            if winner.get("attempt") != attempt.record.attempt:
                log.info("another attempt was first", job=job)
                attempt.ended("lost", result=None)
                await self._results.write(attempt.record)
                self._ended(attempt.record)
                await self.finish(attempt, winner)
                return
        self._ended(attempt.record)
        await self._end(attempt, attempt.record)

    async def _store(self, attempt: Attempt, body: bytes) -> bool:
        for pause_seconds in STORE_PAUSES_SECONDS:
            try:
                return await self._results.put(attempt.key, attempt.record.job, body, attempt.record.attempt)
            except TransientFailure as failure:
                log.warning("result not stored yet", job=attempt.record.job, problem=failure.detail)
                await self._clock.sleep(pause_seconds)
        return await self._results.put(attempt.key, attempt.record.job, body, attempt.record.attempt)

    async def _end(self, attempt: Attempt, record: Record) -> None:
        """What follows a result that is there: its record, its event, and the end of the message."""
        await self._results.write(record)
        await self._results.announce(record)
        await self._queue.delete(attempt.message)
        log.info(
            "document answered",
            job=record.job,
            key=record.document.key,
            seconds=record.seconds,
            tokens=record.tokens.model_dump() if record.tokens else None,
        )

    async def finish(self, attempt: Attempt, winner: Mapping[str, str]) -> None:
        """Does what the attempt whose result is there, with this metadata, may have left undone."""
        ours = attempt.record
        name = winner.get("attempt", ours.attempt)
        theirs = await self._results.read(attempt.key, ours.job, name)
        if theirs is None or theirs.outcome != "answered":
            theirs = (theirs or ours).model_copy(
                update={
                    "attempt": name,
                    "outcome": "answered",
                    "ended": self._clock.now(),
                    "failure": None,
                    "result": self._results.place(attempt.key, ours.job),
                    "completed_by": ours.attempt,
                }
            )
        await self._end(attempt, theirs)

    async def failed(self, hold: Hold, attempt: Attempt, failure: Failure) -> None:
        """Records a failure and does with the message what its class asks for."""
        past = await self.look_back(attempt)
        failure = self._judge(failure, attempt, past)
        tried = past.tried + 1
        outcome: Outcome = "failed"
        if isinstance(failure, ServerFailure) and past.server_failed < MAX_SERVER_FAILURES - 1:
            outcome = "released"
        elif isinstance(failure, TransientFailure) and self._may_retry(past, tried):
            outcome = "retried"
        attempt.failed(outcome, failure)
        log.warning(
            "document not answered",
            outcome=outcome,
            job=attempt.record.job,
            key=attempt.key,
            kind=failure.kind,
            reason=failure.reason,
            detail=failure.detail,
        )
        await self._results.write(attempt.record)
        self._ended(attempt.record)
        if outcome == "failed":
            await self._queue.dead_letter(attempt.message, failure)
        elif outcome == "retried":
            await hold.release(backoff_seconds(tried))
        else:
            # At first at once: another pod's server may be well.
            await hold.release(backoff_seconds(past.server_failed) if past.server_failed else 0)

    def _judge(self, failure: Failure, attempt: Attempt, past: History) -> Failure:
        """The failure, unless what went before says that it is the document's doing."""
        if failure.reason == "not_done" and past.gave_up:
            return DocumentFailure(failure.reason, f"{failure.detail}; it did so twice")
        if failure.reason in DEATHS and attempt.record.alone:
            return DocumentFailure(
                "kills_server",
                f"the model server died with it in hand, and again with it alone: {failure.detail}",
            )
        return failure

    def _may_retry(self, past: History, tried: int) -> bool:
        spent = self._clock.now() - (past.first or self._clock.now())
        return tried < self._task.attempts and spent < timedelta(seconds=self._task.retry_seconds)

    async def of_predecessor(self, journal: Journal) -> None:
        """Ends what a worker before this one, in the same pod, had in hand when it died.

        Its documents are under suspicion then, and their messages need not wait for their visibility to end.
        """
        for entry in journal.left():
            job, key = entry.record.job, entry.record.document.key
            log.warning("the worker before died", job=job, key=key)
            for pause_seconds in (*STORE_PAUSES_SECONDS, None):
                try:
                    await self._crashed(entry)
                except (TransientFailure, LostOwnershipError) as error:
                    log.warning("message left to come back", problem=str(error))
                    if pause_seconds is None or isinstance(error, LostOwnershipError):
                        break
                    # The only evidence there is: it is worth a wait.
                    await self._clock.sleep(pause_seconds)
                else:
                    break
            journal.forget(entry.record.attempt)

    async def _crashed(self, entry: Entry) -> None:
        """Records that an attempt ended with its worker, unless it had ended before; shows its message."""
        record = entry.record
        known = await self._results.read(record.document.key, record.job, record.attempt)
        if known is None or known.outcome == "running":
            crashed = record.model_copy(update={"outcome": "crashed", "ended": self._clock.now()})
            await self._results.write(crashed)
            self._ended(crashed)
        await self._queue.hide(entry.receipt, 0)

    async def look_back(self, attempt: Attempt) -> History:
        """What earlier attempts mean; they are looked for only where there may be some."""
        if attempt.history is None:
            records = await self._results.attempts(attempt.key, attempt.record.job)
            attempt.history = history.read(records, attempt.message.sent)
        return attempt.history

    async def given_back(self, hold: Hold, attempt: Attempt, why: str) -> None:
        """Ends an attempt that has no turn, no time or no message any more, for no fault of its document."""
        outcome: Outcome = "lost" if hold.lost else "released"
        log.info("document given up", outcome=outcome, job=attempt.record.job, key=attempt.key, why=why)
        try:
            if attempt.committed or attempt.record.outcome in RECORDED:
                # It is on record: whoever gets the message next does what is left.
                if not hold.lost:
                    await hold.release(0)
                return
            if hold.lost and await self._results.find(attempt.key, attempt.record.job) is not None:
                # Whoever has the message now may have completed our record: it is not ours to write.
                return
            attempt.ended(outcome)
            await self._results.write(attempt.record)
            self._ended(attempt.record)
            if not hold.lost:
                await hold.release(0)
        except (TransientFailure, LostOwnershipError) as error:
            log.warning("message left to come back", problem=str(error))


def backoff_seconds(tried: int) -> int:
    """Doubling from 2 seconds, at most a minute, with jitter so that a burst does not return as one."""
    return round(random.uniform(0.5, 1.0) * min(MAX_BACKOFF_SECONDS, 2**tried))  # noqa: S311  no secret
