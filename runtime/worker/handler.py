"""One message, from its body to its end: answered, dead-lettered, or given back to be tried again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from runtime.worker import answering, documents, messages
from runtime.worker.attempt import Attempt
from runtime.worker.clock import SYSTEM, Clock
from runtime.worker.ends import backoff_seconds
from runtime.worker.failures import (
    DocumentFailure,
    Failure,
    LostOwnershipError,
    TransientFailure,
    failure_of,
)
from runtime.worker.history import DEATHS
from runtime.worker.turns import NoTurnError

if TYPE_CHECKING:
    from runtime.ollama.client import Ollama
    from runtime.spec import TaskSpec
    from runtime.worker.answering import Answer, Question
    from runtime.worker.documents import Documents
    from runtime.worker.ends import Ends
    from runtime.worker.holding import Hold
    from runtime.worker.journal import Journal
    from runtime.worker.queue import Queue
    from runtime.worker.results import Results
    from runtime.worker.server import Server
    from runtime.worker.turns import Turn

log = structlog.get_logger()

SERVER_REASONS = DEATHS | {
    "server_unreachable",
    "runner_down",
    "model_gone",
    "server_error",
    "time_limit",
}
"""Failures after which the server has to show its model anew, whoever is to blame."""


READERS = 2
"""Documents read at once: the child process that reads a large page or picture takes half a gigabyte."""


class Handler:
    """Takes messages to their end. Every step is safe to repeat: SQS delivers at least once."""

    def __init__(  # noqa: PLR0913  the parts that it joins, each made once in main
        self,
        *,
        task: TaskSpec,
        queue: Queue,
        documents: Documents,
        results: Results,
        server: Server,
        ollama: Ollama,
        journal: Journal,
        ends: Ends,
        clock: Clock = SYSTEM,
    ) -> None:
        self._task = task
        self._queue = queue
        self._documents = documents
        self._results = results
        self._server = server
        self._ollama = ollama
        self._journal = journal
        self._ends = ends
        self._clock = clock
        self._reading = asyncio.Semaphore(READERS)

    async def handle(self, hold: Hold, turn: Turn) -> None:
        """Handles the message in hand. What fails is recorded; nothing expected is raised."""
        message = hold.message
        try:
            try:
                jobs = messages.parse(message.body)
                self._check_places(jobs)
            except DocumentFailure as failure:
                log.error("message not understood", reason=failure.reason, detail=failure.detail)
                await self._queue.dead_letter(message, failure)
                return
            if len(jobs) == 1:
                await self._attempt(hold, turn, jobs[0])
            else:
                # Each document has its own attempts and its own end, so each gets a message of its own.
                await self._queue.replace(message, [job.body() for job in jobs])
        except (TransientFailure, LostOwnershipError) as error:
            # Not even the failure could be recorded.
            log.error("message left to come back", problem=str(error))
            with contextlib.suppress(TransientFailure, LostOwnershipError):
                await hold.release(backoff_seconds(message.receives))

    def _check_places(self, jobs: tuple[messages.Job, ...]) -> None:
        """Says so before anything is fetched: this worker may read, and name results after, nothing else."""
        source = self._task.source
        if any(not f"s3://{job.bucket}/{job.key}".startswith(source) for job in jobs):
            raise DocumentFailure("misplaced", f"the document does not lie under {source}")

    async def _attempt(self, hold: Hold, turn: Turn, job: messages.Job) -> None:
        attempt = Attempt(self._task, job, hold.message, self._clock)
        self._journal.note(hold.message.receipt, attempt.record)
        try:
            await self._carry(hold, attempt, turn)
        except asyncio.CancelledError:
            await self._ends.given_back(hold, attempt, "lost" if hold.lost else "the worker is going")
            self._journal.forget(attempt.record.attempt)
            raise
        except (TransientFailure, LostOwnershipError):
            self._journal.forget(attempt.record.attempt)
            raise
        # Not after an error that nobody expected: the worker dies of it, with this document in hand.
        self._journal.forget(attempt.record.attempt)

    async def _carry(self, hold: Hold, attempt: Attempt, turn: Turn) -> None:
        """Takes an attempt to its end."""
        try:
            with contextlib.ExitStack() as files:
                question = await self._prepare(attempt, files)
                if question is not None:
                    answer = await self._ask(attempt, question, turn)
                    await self._ends.answered(attempt, answer)
        except NoTurnError as error:
            await self._ends.given_back(hold, attempt, str(error))
        except Failure as failure:
            if attempt.committed:
                # Decided is decided: whoever gets the message next does what is left.
                log.warning("last steps are left", job=attempt.record.job, detail=failure.detail)
                await hold.release(backoff_seconds(attempt.message.receives))
            else:
                await self._ends.failed(hold, attempt, failure)

    async def _prepare(self, attempt: Attempt, files: contextlib.ExitStack) -> Question | None:
        """All that can be done before there is a slot; None where nothing has to be asked any more."""
        try:
            self._seconds_left(attempt)
            fetched = await self._documents.fetch(attempt.job)
        except DocumentFailure:
            # What was deleted, or became too late, after its answer is answered all the same.
            if await self._is_answered(attempt):
                return None
            raise
        files.callback(fetched.close)
        if attempt.fetched(fetched):
            self._journal.note(attempt.message.receipt, attempt.record)
        if await self._is_answered(attempt) or await self._is_over(attempt):
            return None
        async with self._reading:
            content = await documents.read(fetched, attempt.key, self._task, vision=self._server.vision)
        files.callback(content.close)
        attempt.decided(content)
        question = answering.prepare(
            self._task,
            text=content.text,
            images=content.images,
            inputs=attempt.job.inputs,
            sampling=attempt.job.sampling,
        )
        attempt.phase_ended("fetch")
        await self._results.write(attempt.record)
        return question

    async def _is_answered(self, attempt: Attempt) -> bool:
        """Whether the job has its result already; then nothing is left to do."""
        winner = await self._results.find(attempt.key, attempt.record.job)
        if winner is None:
            return False
        attempt.committed = True
        await self._ends.finish(attempt, winner)
        return True

    async def _is_over(self, attempt: Attempt) -> bool:
        """Whether the job has failed for good already; then its message is put away.

        Raises:
            DocumentFailure: `kills_worker`.
        """
        past = await self._ends.look_back(attempt)
        if past.failed is not None:
            attempt.committed = True
            await self._queue.dead_letter(attempt.message, failure_of(**past.failed.model_dump()))
            return True
        if past.condemned:
            raise DocumentFailure("kills_worker", "worker after worker died with this document in hand")
        return False

    async def _ask(self, attempt: Attempt, question: Question, turn: Turn) -> Answer:
        suspect = attempt.history is not None and attempt.history.suspect
        async with turn.at_server(alone=suspect):
            attempt.phase_ended("turn")
            if not self._server.ready:
                raise NoTurnError("the model server is sick")
            attempt.asked(self._server.digest, alone=suspect)
            if suspect and turn.by_itself:
                # Only of whoever is alone in the whole worker is a crash the proof.
                self._journal.note(attempt.message.receipt, attempt.record)
            try:
                async with asyncio.timeout(self._seconds_left(attempt)):
                    answer = await answering.answer(self._ollama, self._task, question)
            except TimeoutError:
                # It may be the deadline that has passed.
                self._seconds_left(attempt)
                self._server.mark_sick()
                detail = f"no answer within {self._task.time_limit_seconds} seconds"
                raise TransientFailure("time_limit", detail) from None
            except Failure as failure:
                if failure.reason in SERVER_REASONS:
                    # The next document waits until the model answers: a lost GPU must not eat the queue.
                    self._server.mark_sick(died=failure.reason in DEATHS)
                raise
            finally:
                attempt.phase_ended("server")
                if suspect:
                    # What kills the worker from here on is somebody else.
                    past = attempt.record.model_copy(update={"alone": False})
                    self._journal.note(attempt.message.receipt, past)
            self._server.mark_well()
            return answer

    def _seconds_left(self, attempt: Attempt) -> float:
        """How long the document may take from now on.

        Raises:
            DocumentFailure: `too_late`.
        """
        limit, deadline = float(self._task.time_limit_seconds), attempt.job.deadline
        if deadline is None:
            return limit
        left = (deadline - self._clock.now()).total_seconds()
        if left <= 0:
            raise DocumentFailure("too_late", f"the deadline was {deadline.isoformat()}")
        return min(limit, left)
