"""How an attempt ends, step by step, over an edge that fails on demand."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal, cast

import pytest

from runtime.worker.answering import Answer
from runtime.worker.attempt import Attempt
from runtime.worker.aws import AwsFailure
from runtime.worker.ends import STORE_PAUSES_SECONDS, Ends, backoff_seconds
from runtime.worker.failures import DocumentFailure, LostOwnershipError, TransientFailure
from runtime.worker.holding import Hold
from runtime.worker.journal import Journal
from runtime.worker.messages import parse
from runtime.worker.queue import Message
from runtime.worker.records import Outcome, ResultFacts, Tokens
from tests.unit.clocks import Clock
from tests.unit.edge import AWS_DOWN, BODY, JOB, KEY, Edge
from tests.unit.records import SENT, record_at
from tests.unit.tasks import task

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.worker.queue import Queue
    from runtime.worker.records import Record
    from runtime.worker.results import Results

ANSWER = Answer(b"answer", (), 2, 7, 3, 0.1, 0.2, 0.3)


class Around:
    """Ends, and one attempt to end."""

    def __init__(self) -> None:
        self.edge, self.clock, self.told = Edge(), Clock(), list[str]()
        queue, asked = cast("Queue", self.edge), task()
        self.ends = Ends(
            task=asked,
            queue=queue,
            results=cast("Results", self.edge),
            ended=lambda record: self.told.append(record.outcome),
            clock=self.clock,
        )
        message = Message(body=BODY, receipt="r", receives=1, sent=SENT)
        (job,) = parse(BODY)
        self.attempt = Attempt(asked, job, message, self.clock)
        self.hold = Hold(queue, message, asked.visibility_seconds, clock=self.clock)

    @property
    def name(self) -> str:
        """The attempt's."""
        return self.attempt.record.attempt

    @property
    def written(self) -> Record:
        """The attempt's record as it is in the bucket."""
        return self.edge.records[self.name]


@pytest.fixture
def around() -> Around:
    """Ends with nothing before them."""
    return Around()


async def test_a_result_is_followed_by_its_record_its_event_and_the_end_of_its_message(
    around: Around,
) -> None:
    """In this order: whatever fails, what is left is done by whoever gets the message next."""
    around.clock.seconds = 5
    await around.ends.answered(around.attempt, ANSWER)
    assert around.edge.done == [
        "put answer",
        "write answered",
        f"announce {around.name}",
        "delete",
    ]
    assert around.edge.metadata == {"job": JOB, "attempt": around.name}
    assert around.told == ["answered"]
    written = around.written
    assert (written.tokens, written.requests, written.chunks) == (Tokens(prompt=7, answer=3), 2, ())
    assert written.result == ResultFacts(bucket="out", key=f"{KEY}/{JOB}.txt")
    assert written.ended == SENT + timedelta(seconds=5)
    assert {name: written.seconds[name] for name in ("load", "prompt", "answer")} == {
        "load": 0.1,
        "prompt": 0.2,
        "answer": 0.3,
    }


async def test_an_answer_is_kept_in_hand_for_a_minute(around: Around) -> None:
    """It has cost GPU time: nothing else is done before S3 has it."""
    around.edge.failing["put"] = [AWS_DOWN] * len(STORE_PAUSES_SECONDS)
    await around.ends.answered(around.attempt, ANSWER)
    assert around.edge.done[:8] == ["put answer"] * 7 + ["write answered"]
    assert around.clock.seconds == sum(STORE_PAUSES_SECONDS) == 60


async def test_an_answer_that_cannot_be_stored_ends_nothing(around: Around) -> None:
    """After that minute the attempt has failed, with no record, event or deletion that says otherwise."""
    around.edge.failing["put"] = [AWS_DOWN] * 99
    with pytest.raises(AwsFailure):
        await around.ends.answered(around.attempt, ANSWER)
    assert set(around.edge.done) == {"put answer"}
    assert not around.attempt.committed


async def test_a_result_of_our_own_whose_storing_was_not_answered_is_ours(around: Around) -> None:
    """S3 took it and the connection broke: the second put finds the first."""

    async def take_it() -> None:
        around.edge.before.pop("put")
        around.edge.metadata = {"attempt": around.name}

    around.edge.before["put"] = take_it
    around.edge.failing["put"] = [AWS_DOWN]
    await around.ends.answered(around.attempt, ANSWER)
    assert around.edge.done == [
        "put answer",
        "put answer",
        "write answered",
        f"announce {around.name}",
        "delete",
    ]
    assert around.told == ["answered"]


@pytest.mark.parametrize("was", [("running",), ("retried", "aws_error", "transient")], ids=lambda was: was[0])
async def test_who_comes_second_drops_its_answer_and_finishes_the_winners_steps(
    around: Around, was: tuple[str, ...]
) -> None:
    """The winner's record is what it was, but that it is answered; ours says that it was for nothing."""
    theirs = record_at(1, *was, job=JOB, document={"bucket": "in", "key": KEY, "version": "v1"})
    around.edge.records[theirs.attempt] = theirs
    around.edge.metadata = {"job": JOB, "attempt": theirs.attempt}
    await around.ends.answered(around.attempt, ANSWER)
    assert around.edge.done == [
        "put answer",
        "write lost",
        "write answered",
        f"announce {theirs.attempt}",
        "delete",
    ]
    assert around.edge.records[theirs.attempt] == theirs.model_copy(
        update={
            "outcome": "answered",
            "ended": around.clock.now(),
            "failure": None,
            "result": ResultFacts(bucket="out", key=f"{KEY}/{JOB}.txt"),
            "completed_by": around.name,
        }
    )
    assert (around.written.outcome, around.written.result) == ("lost", None)
    assert around.told == ["lost"]


async def test_a_winner_that_has_recorded_its_answer_is_left_as_it_is(around: Around) -> None:
    """Only the steps after it are done again; no token count gets lost."""
    theirs = record_at(1, "answered", tokens={"prompt": 1, "answer": 1}, result={"bucket": "b", "key": "k"})
    around.edge.records[theirs.attempt] = theirs
    await around.ends.finish(around.attempt, {"attempt": theirs.attempt})
    assert around.edge.records == {theirs.attempt: theirs}
    assert around.edge.done == ["write answered", f"announce {theirs.attempt}", "delete"]


async def test_a_winner_whose_record_is_gone_gets_one(around: Around) -> None:
    """All that can be known of it is what both attempts have in common."""
    await around.ends.finish(around.attempt, {"attempt": "theirs"})
    written = around.edge.records["theirs"]
    assert (written.outcome, written.completed_by, written.failure) == ("answered", around.name, None)
    assert around.edge.done == ["write answered", "announce theirs", "delete"]


async def test_a_result_that_went_away_again_is_neither_announced_nor_made_up(around: Around) -> None:
    """S3 refused the put and has no result a moment later: the message stays, no event tells of nothing."""

    async def refuse() -> None:
        around.edge.metadata = {}

    async def go() -> None:
        around.edge.metadata = None

    around.edge.before.update(put=refuse, find=go)
    with pytest.raises(TransientFailure, match="not any more"):
        await around.ends.answered(around.attempt, ANSWER)
    assert around.edge.done == ["put answer"]
    assert not around.attempt.committed
    assert around.told == []


@pytest.mark.parametrize("step", ["write", "announce", "delete"])
async def test_a_step_that_fails_is_left_with_all_that_follow(around: Around, step: str) -> None:
    """The message stays, and the attempt knows that its result is there."""
    around.edge.failing[step] = [AWS_DOWN]
    with pytest.raises(AwsFailure):
        await around.ends.answered(around.attempt, ANSWER)
    steps = ["put answer", "write answered", f"announce {around.name}", "delete"]
    reached = [each.partition(" ")[0] for each in steps].index(step)
    assert around.edge.done == steps[: reached + 1]
    assert around.attempt.committed


async def test_an_answered_document_is_counted_whatever_step_fails_after_it(around: Around) -> None:
    """Nobody who finishes it later counts it."""
    around.edge.failing["announce"] = [AWS_DOWN]
    with pytest.raises(AwsFailure):
        await around.ends.answered(around.attempt, ANSWER)
    assert around.told == ["answered"]


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("outcome", ["committed", "failed", "retried", "released"])
async def test_what_is_decided_is_only_shown_when_it_is_given_up(
    around: Around, outcome: Outcome | Literal["committed"], *, lost: bool
) -> None:
    """Its record stays as it is, and nobody counts it again; a message of somebody else's is left alone."""
    if outcome == "committed":
        around.attempt.committed = True
    else:
        around.attempt.failed(outcome, DocumentFailure("too_long", "d"))
    around.hold.lost = lost
    before = around.attempt.record
    await around.ends.given_back(around.hold, around.attempt, "going")
    assert around.edge.done == ([] if lost else ["hide 0"])
    assert around.attempt.record == before
    assert around.told == []


@pytest.mark.parametrize("answered", [True, False])
async def test_what_is_not_decided_is_recorded_when_it_is_given_up(around: Around, *, answered: bool) -> None:
    """Also with an answer in hand that S3 has not taken: a record without a result names none."""
    if answered:
        around.attempt.answered(ANSWER, ResultFacts(bucket="out", key="k"))
    await around.ends.given_back(around.hold, around.attempt, "going")
    assert around.edge.done == ["write released", "hide 0"]
    assert (around.written.outcome, around.written.result) == ("released", None)
    assert around.told == ["released"]


async def test_a_winner_that_does_not_say_who_it_is_gets_a_record(around: Around) -> None:
    """It is told of under this attempt's name: no result is without a record."""
    await around.ends.finish(around.attempt, {})
    assert around.edge.done == ["write answered", f"announce {around.name}", "delete"]
    assert around.written.completed_by == around.name


def test_back_off_doubles_and_is_at_most_a_minute() -> None:
    """With jitter down to half; however often it was tried."""
    for tried, longest in ((1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (50, 60)):
        waits = {backoff_seconds(tried) for _ in range(2000)}
        assert min(waits) >= longest // 2
        assert max(waits) <= longest
        assert len(waits) > 1


class Dead:
    """What a worker that died has left."""

    def __init__(self, folder: Path, around: Around, *, alone: bool = False) -> None:
        self.journal = Journal(folder)
        self.record = record_at(1, "running", job=JOB, alone=alone)
        self.journal.note("r", self.record)
        self.around = around

    async def end(self) -> None:
        """Has the next worker see to it."""
        await self.around.ends.of_predecessor(self.journal)
        assert list(self.journal.left()) == []

    @property
    def outcome(self) -> str:
        """The one record's."""
        (record,) = self.around.edge.records.values()
        return record.outcome


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("recorded", [True, False])
async def test_what_was_in_hand_when_a_worker_died_is_recorded_and_shown_at_once(
    tmp_path: Path, around: Around, *, recorded: bool, alone: bool
) -> None:
    """Whether its record had been written or not; alone stays alone."""
    dead = Dead(tmp_path, around, alone=alone)
    if recorded:
        around.edge.records[dead.record.attempt] = dead.record
    await dead.end()
    assert around.edge.done == ["write crashed", "hide 0"]
    assert around.edge.records == {
        dead.record.attempt: dead.record.model_copy(
            update={"outcome": "crashed", "ended": around.clock.now()}
        )
    }
    assert around.told == ["crashed"]


@pytest.mark.parametrize("outcome", ["answered", "failed", "retried", "released", "lost"])
async def test_an_attempt_that_had_ended_is_not_made_a_crash(
    tmp_path: Path, around: Around, outcome: str
) -> None:
    """Its worker died between its record and the end of its message: only that is shown."""
    dead = Dead(tmp_path, around)
    around.edge.records[dead.record.attempt] = ended = record_at(1, outcome, job=JOB)
    await dead.end()
    assert around.edge.done == ["hide 0"]
    assert list(around.edge.records.values()) == [ended]
    assert around.told == []


@pytest.mark.parametrize("step", ["read", "write", "hide"])
@pytest.mark.parametrize("error", [AWS_DOWN, LostOwnershipError("gone")], ids=["down", "lost"])
async def test_an_aws_that_fails_does_not_stop_a_worker_from_starting(
    tmp_path: Path, around: Around, step: str, error: Exception
) -> None:
    """The message comes back by itself; the next entry is seen to all the same."""
    dead = Dead(tmp_path, around)
    dead.journal.note("r", record_at(2, "running", job=JOB))
    around.edge.failing[step] = [error]
    await dead.end()
    assert around.edge.done[-2:] == ["write crashed", "hide 0"]


@pytest.mark.parametrize("step", ["read", "write", "hide"])
async def test_the_evidence_of_a_crash_outlasts_an_aws_that_fails_for_a_moment(
    tmp_path: Path, around: Around, step: str
) -> None:
    """It is tried again until it is on record, once: without it the document would be no suspect."""
    dead = Dead(tmp_path, around)
    around.edge.failing[step] = [AWS_DOWN, AWS_DOWN]
    await dead.end()
    assert around.edge.records[dead.record.attempt].outcome == "crashed"
    assert around.edge.done[-1] == "hide 0"
    assert around.told == ["crashed"]
