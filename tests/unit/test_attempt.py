"""One attempt at a document: what its record says, and when it is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runtime.worker import keys
from runtime.worker.attempt import POD, Attempt
from runtime.worker.messages import parse
from runtime.worker.queue import Message
from tests.unit.clocks import Clock
from tests.unit.edge import BODY, JOB, KEY
from tests.unit.records import SENT, record_at
from tests.unit.tasks import task

TASK = task()


def _attempt(clock: Clock, receives: int = 1) -> Attempt:
    (job,) = parse(BODY)
    return Attempt(TASK, job, Message(body=BODY, receipt="r", receives=receives, sent=SENT), clock)


def test_an_attempt_says_all_that_is_known_at_its_start() -> None:
    """Which document, which model and question, by which message, and how long that waited."""
    clock = Clock()
    clock.seconds = 1.5
    trace = {"traceparent": "00-a"}
    message = Message(body=BODY, receipt="r", receives=3, sent=SENT, trace=trace)
    (job,) = parse(BODY.replace("}}", '}, "sampling": {"seed": 7}}'))
    record = Attempt(TASK, job, message, clock).record
    assert record == record_at(
        1.5,
        "running",
        job=keys.job_id("in", KEY, "v1", TASK.hash, job.variation),
        attempt=record.attempt,
        document={"bucket": "in", "key": KEY, "version": "v1"},
        model="tiny",
        model_hash=TASK.model.hash,
        prompt_hash=TASK.prompt_hash,
        variation=job.variation,
        options={**TASK.options.wire(), "seed": 7},
        worker=POD,
        worker_version=record.worker_version,
        receives=3,
        trace=trace,
        seconds={"waited": 1.5},
    )
    assert record.attempt.startswith("20261122T090001.500000-")


def test_an_attempt_knows_its_model_and_its_company_only_once_it_is_asked() -> None:
    """Until then the server may load another one, and a suspect is not alone yet."""
    attempt = _attempt(Clock())
    assert (attempt.record.model_digest, attempt.record.alone) == ("", False)
    before = attempt.record
    attempt.asked("sha", alone=True)
    assert attempt.record == before.model_copy(update={"model_digest": "sha", "alone": True})


@pytest.mark.parametrize(("receives", "known"), [(1, True), (2, False)])
def test_earlier_attempts_are_looked_for_only_where_there_may_be_some(receives: int, *, known: bool) -> None:
    """A message that comes for the first time has none."""
    assert (_attempt(Clock(), receives).history is not None) is known


def test_phases_follow_each_other_without_gaps() -> None:
    """Each takes from the end of the one before it."""
    clock = Clock()
    attempt = _attempt(clock)
    for name, seconds in (("fetch", 1.0), ("turn", 2.5), ("server", 4.0)):
        clock.seconds += seconds
        attempt.phase_ended(name)
    assert attempt.record.seconds == {"waited": 0.0, "fetch": 1.0, "turn": 2.5, "server": 4.0}


def test_the_version_that_s3_gave_makes_the_job() -> None:
    """A message that names none comes to the same job as one that does, and what was noted is told apart."""
    (job,) = parse('{"document": "s3://in/task/a.txt"}')
    attempt = Attempt(TASK, job, Message(BODY, "r", 1, SENT), Clock())
    assert attempt.record.job != JOB
    fetched: Any = SimpleNamespace(version="v1", declared="text/plain", size=4)
    assert attempt.fetched(fetched)
    assert not attempt.fetched(fetched)
    assert attempt.record.job == JOB
    assert attempt.record.document.model_dump(include={"version", "declared", "bytes"}) == {
        "version": "v1",
        "declared": "text/plain",
        "bytes": 4,
    }
