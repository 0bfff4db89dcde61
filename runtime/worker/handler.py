"""One message, from its body to its end: answered, dead-lettered, or given back to be tried again."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from runtime.worker import documents, keys, messages
from runtime.worker.answers import Answer, ask
from runtime.worker.aws import AwsFailure
from runtime.worker.failures import (
    DocumentFailure,
    Failure,
    LostOwnershipError,
    ServerFailure,
    TransientFailure,
)
from runtime.worker.records import (
    DocumentFacts,
    FailureFacts,
    Outcome,
    Record,
    ResultFacts,
    Tokens,
    attempt_id,
    now,
)
from runtime.worker.results import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.ollama.client import Ollama
    from runtime.spec import TaskSpec
    from runtime.worker.aws import Aws
    from runtime.worker.holding import Hold
    from runtime.worker.messages import DocumentReference
    from runtime.worker.queue import Message, Queue
    from runtime.worker.results import Results
    from runtime.worker.server import Server

log = structlog.get_logger()

MAX_BACKOFF_SECONDS = 60
"""A message that waits hidden keeps its pod, and so a GPU, alive."""


SERVER_REASONS = frozenset({"server_gone", "model_gone", "server_error", "time_limit"})
"""Failures after which the server has to show its model anew, whoever is to blame."""


class Handler:
    """Takes messages to their end. Every step is safe to repeat: SQS delivers at least once."""

    def __init__(  # noqa: PLR0913  the parts that it joins, each made once in main
        self, *, task: TaskSpec, aws: Aws, queue: Queue, results: Results, server: Server, ollama: Ollama
    ) -> None:
        self._task = task
        self._aws = aws
        self._queue = queue
        self._results = results
        self._server = server
        self._ollama = ollama

    async def handle(self, hold: Hold) -> None:
        """Handles the message in hand. What fails is recorded; nothing expected is raised."""
        message = hold.message
        try:
            try:
                reference = messages.parse(message.body)
            except DocumentFailure as failure:
                log.error("message not understood", reason=failure.reason, detail=failure.detail)
                await self._queue.dead_letter(message, failure)
                return
            await self._attempt(hold, reference)
        except (AwsFailure, LostOwnershipError) as error:
            # Not even the failure could be recorded. The message comes back when its visibility ends.
            log.error("message left to come back", problem=str(error))

    async def _attempt(self, hold: Hold, reference: DocumentReference) -> None:
        message = hold.message
        record = self._begin(message, reference)
        committed = False
        try:
            document = await documents.fetch(self._aws.s3, reference, self._task.max_document_bytes)
            record = self._fetched(record, document)
            key, job = reference.key, record.job
            winner = await self._results.find(key, job)
            if winner is not None:
                committed = True
                await self._finish(message, record, winner)
                return
            text = documents.read(document, key, self._task.accepts)
            await self._results.write(record)
            answer = await self._ask(text)
            record = _answered(record, answer, self._task.results_bucket)
            stored = await self._results.put(key, job, answer.text, record.attempt)
            # Ours or another attempt's: from here on the document has its one result.
            committed = True
            if stored:
                await self._end(message, record)
            else:
                log.info("another attempt was first", job=job)
                found = await self._results.find(key, job)
                await self._results.write(_ended(record, "lost", result=None))
                await self._finish(message, record, found or {})
        except Failure as failure:
            if committed:
                # Answered is answered: whoever gets the message next does what is left.
                log.warning("steps after the result are left", job=record.job, detail=failure.detail)
                await self._queue.hide(message, _backoff_seconds(message.receives))
                return
            await self._fail(message, record, failure)
        except asyncio.CancelledError:
            await self._give_back(hold, record)
            raise

    def _begin(self, message: Message, reference: DocumentReference) -> Record:
        """The record as it stands before anything was read; the version is what the message says."""
        started = now()
        version = reference.version or reference.etag
        return Record(
            job=keys.job_id(reference.bucket, reference.key, version, self._task.hash),
            attempt=attempt_id(started),
            task=self._task.name,
            outcome="running",
            document=DocumentFacts(bucket=reference.bucket, key=reference.key, version=version),
            model=self._task.model.reference,
            model_hash=self._task.model.hash,
            model_digest=self._server.digest,
            prompt_hash=self._task.prompt_hash,
            options=self._task.options.wire(),
            receives=message.receives,
            started=started,
            seconds={"waited": round(max(0.0, (started - message.sent).total_seconds()), 3)},
        )

    def _fetched(self, record: Record, document: documents.Document) -> Record:
        """The record once the document is there; S3's own answer says which version it is."""
        known = record.document
        return record.model_copy(
            update={
                "job": keys.job_id(known.bucket, known.key, document.version, self._task.hash),
                "document": known.model_copy(
                    update={
                        "version": document.version,
                        "type": documents.type_of(known.key, document.content_type),
                        "bytes": len(document.content),
                    }
                ),
                "seconds": {**record.seconds, "fetch": round((now() - record.started).total_seconds(), 3)},
            }
        )

    async def _ask(self, text: str) -> Answer:
        limit = self._task.time_limit_seconds
        try:
            async with asyncio.timeout(limit):
                return await ask(self._ollama, self._task, text)
        except TimeoutError:
            raise TransientFailure("time_limit", f"no answer within {limit} seconds") from None

    async def _end(self, message: Message, record: Record) -> None:
        """What follows a result that is there: its record, its event, and the end of the message."""
        await self._results.write(record)
        await self._results.announce(record)
        await self._queue.delete(message)
        log.info(
            "document answered",
            job=record.job,
            key=record.document.key,
            seconds=record.seconds,
            tokens=record.tokens.model_dump() if record.tokens else None,
        )

    async def _finish(self, message: Message, ours: Record, winner: Mapping[str, str]) -> None:
        """Does what the attempt whose result is there, with this metadata, may have left undone."""
        key, job, attempt = ours.document.key, ours.job, winner.get("attempt", "")
        try:
            theirs = await self._results.read(key, job, attempt)
        except AwsFailure as error:
            if error.code not in MISSING:
                raise
            theirs = ours.model_copy(update={"attempt": attempt})
        if theirs.outcome != "answered":
            place = ResultFacts(bucket=self._task.results_bucket, key=keys.result_key(key, job))
            theirs = _ended(theirs, "answered", result=place, completed_by=ours.attempt)
        await self._end(message, theirs)

    async def _fail(self, message: Message, record: Record, failure: Failure) -> None:
        """Records a failure and does with the message what its class asks for."""
        earlier: list[Record] = []
        if message.receives > 1:
            earlier = await self._results.attempts(record.document.key, record.job)
        if failure.reason in SERVER_REASONS:
            # The next document waits until the model is seen loaded again: a lost GPU must not eat the queue.
            self._server.mark_sick()
        if isinstance(failure, TransientFailure):
            failure = self._last_straw(failure, earlier)
        facts = FailureFacts(kind=failure.kind, reason=failure.reason, detail=failure.detail)
        tried = sum(past.outcome == "retried" for past in earlier) + 1
        if isinstance(failure, ServerFailure):
            outcome: Outcome = "released"
        elif isinstance(failure, TransientFailure) and tried < self._task.attempts:
            outcome = "retried"
        else:
            outcome = "failed"
        log.warning(
            "document not answered",
            outcome=outcome,
            job=record.job,
            key=record.document.key,
            kind=failure.kind,
            reason=failure.reason,
            detail=failure.detail,
        )
        await self._results.write(_ended(record, outcome, failure=facts))
        if outcome == "failed":
            await self._queue.dead_letter(message, failure)
        else:
            await self._queue.hide(message, _backoff_seconds(tried) if outcome == "retried" else 0)

    def _last_straw(self, failure: TransientFailure, earlier: list[Record]) -> Failure:
        """An answer that the server gives up on twice is the document's doing."""
        again = any(past.failure and past.failure.reason == "not_done" for past in earlier)
        if failure.reason == "not_done" and again:
            return DocumentFailure(failure.reason, f"{failure.detail}; it did so twice")
        return failure

    async def _give_back(self, hold: Hold, record: Record) -> None:
        """What a pod that goes away, or that lost its message, still says."""
        outcome: Outcome = "lost" if hold.lost else "released"
        log.info("document given up", outcome=outcome, job=record.job, key=record.document.key)
        try:
            if hold.lost and await self._results.find(record.document.key, record.job) is not None:
                # Whoever has the message now may have completed our record: it is not ours to write.
                return
            await self._results.write(_ended(record, outcome))
            if not hold.lost:
                await self._queue.hide(hold.message, 0)
        except (AwsFailure, LostOwnershipError) as error:
            log.warning("message left to come back", problem=str(error))


def _answered(record: Record, answer: Answer, bucket: str) -> Record:
    return _ended(
        record,
        "answered",
        seconds={
            **record.seconds,
            "load": round(answer.load_seconds, 3),
            "prompt": round(answer.prompt_seconds, 3),
            "answer": round(answer.answer_seconds, 3),
        },
        tokens=Tokens(prompt=answer.prompt_tokens, answer=answer.answer_tokens),
        result=ResultFacts(bucket=bucket, key=keys.result_key(record.document.key, record.job)),
    )


def _ended(record: Record, outcome: Outcome, **facts: object) -> Record:
    return record.model_copy(update={"outcome": outcome, "ended": now(), **facts})


def _backoff_seconds(tried: int) -> int:
    """Doubling from 2 seconds, at most a minute, with jitter so that a burst does not return as one."""
    return round(random.uniform(0.5, 1.0) * min(MAX_BACKOFF_SECONDS, 2**tried))  # noqa: S311  no secret
