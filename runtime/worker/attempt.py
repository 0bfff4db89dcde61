"""One attempt at one job: its record as it grows, and what was learnt on the way."""

from __future__ import annotations

import socket
from importlib.metadata import version
from typing import TYPE_CHECKING

from runtime.worker import keys
from runtime.worker.history import History
from runtime.worker.records import (
    ChunkFacts,
    DocumentFacts,
    FailureFacts,
    Outcome,
    Record,
    ResultFacts,
    Tokens,
    attempt_id,
)

if TYPE_CHECKING:
    from runtime.spec import TaskSpec
    from runtime.worker.answering import Answer
    from runtime.worker.clock import Clock
    from runtime.worker.documents import Content, Fetched
    from runtime.worker.failures import Failure
    from runtime.worker.messages import Job
    from runtime.worker.queue import Message

WORKER_VERSION = version("ollama-eks")
POD = socket.gethostname()
"""Kubernetes gives a pod's containers its name as their host name."""


class Attempt:
    """What is known of an attempt so far.

    Attributes:
        job: what is asked for.
        message: by which message.
        record: what would be recorded now.
        history: what earlier attempts mean; None until they were looked for.
        committed: whether it is decided what becomes of the job: from then on nothing can fail it.
    """

    def __init__(self, task: TaskSpec, job: Job, message: Message, clock: Clock) -> None:
        self.job = job
        self.message = message
        self.history: History | None = None if message.receives > 1 else History()
        self.committed = False
        self._task = task
        self._clock = clock
        started = clock.now()
        # What the message says of the version; S3's own answer is to be believed once it is there.
        known = job.version or job.etag
        self.record = Record(
            job=keys.job_id(job.bucket, job.key, known, task.hash, job.variation),
            attempt=attempt_id(started),
            task=task.name,
            outcome="running",
            document=DocumentFacts(bucket=job.bucket, key=job.key, version=known),
            model=task.model.reference,
            model_hash=task.model.hash,
            prompt_hash=task.prompt_hash,
            variation=job.variation,
            options={**task.options.wire(), **job.sampling.model_dump(mode="json", exclude_none=True)},
            worker=POD,
            worker_version=WORKER_VERSION,
            receives=message.receives,
            trace=dict(message.trace),
            deadline=job.deadline,
            started=started,
            seconds={"waited": round(max(0.0, (started - message.sent).total_seconds()), 3)},
        )
        self._phase_began = clock.monotonic()

    @property
    def key(self) -> str:
        """The document's key."""
        return self.job.key

    def phase_ended(self, name: str) -> None:
        """Takes note of how long a phase took that began when the last one ended."""
        now = self._clock.monotonic()
        self._update(seconds={**self.record.seconds, name: round(now - self._phase_began, 3)})
        self._phase_began = now

    def fetched(self, document: Fetched) -> bool:
        """Takes note of the version that S3 gave: it, and nothing that a message says, makes the job.

        Returns:
            Whether the job is another one than the message said.
        """
        job, facts, said = self.job, self.record.document, self.record.job
        self._update(
            job=keys.job_id(job.bucket, job.key, document.version, self._task.hash, job.variation),
            document=facts.model_copy(
                update={
                    "version": document.version,
                    "declared": document.declared,
                    "bytes": document.size,
                }
            ),
        )
        return self.record.job != said

    def decided(self, content: Content) -> None:
        """Takes note of what the document was found to be."""
        found = {name: getattr(content, name) for name in ("type", "decided_by", "charset", "pages")}
        self._update(document=self.record.document.model_copy(update=found))

    def asked(self, model_digest: str, *, alone: bool) -> None:
        """Takes note of which model it is put to, and whether with nobody beside it."""
        self._update(model_digest=model_digest, alone=alone)

    def answered(self, answer: Answer, place: ResultFacts) -> None:
        """Takes note of the answer."""
        self.ended(
            "answered",
            seconds={
                **self.record.seconds,
                "load": round(answer.load_seconds, 3),
                "prompt": round(answer.prompt_seconds, 3),
                "answer": round(answer.answer_seconds, 3),
            },
            tokens=Tokens(prompt=answer.prompt_tokens, answer=answer.answer_tokens),
            requests=answer.requests,
            chunks=tuple(
                ChunkFacts(
                    start=chunk.start,
                    end=chunk.end,
                    prompt=chunk.prompt_tokens,
                    answer=chunk.answer_tokens,
                )
                for chunk in answer.chunks
            ),
            result=place,
        )

    def failed(self, outcome: Outcome, failure: Failure) -> None:
        """Takes note of why there is no answer."""
        facts = FailureFacts(kind=failure.kind, reason=failure.reason, detail=failure.detail)
        self.ended(outcome, failure=facts)

    def ended(self, outcome: Outcome, **facts: object) -> None:
        """Takes note of how it ended."""
        self._update(**{"result": None, **facts}, outcome=outcome, ended=self._clock.now())

    def _update(self, **facts: object) -> None:
        self.record = self.record.model_copy(update=facts)
