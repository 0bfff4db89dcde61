"""What earlier attempts mean: read from records, without any worker."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runtime.worker.history import CLOCK_SKEW, MAX_CRASHES, History, read
from runtime.worker.records import FailureFacts
from tests.unit.records import SENT, record_at


def test_a_message_without_attempts_has_no_history() -> None:
    """Nothing is known, and nobody is under suspicion."""
    assert read([], SENT) == History()


def test_only_transient_errors_count() -> None:
    """What was given back, lost, or went down with its node costs a document nothing."""
    records = [
        record_at(1, "retried", "server_error", "transient"),
        record_at(2, "released"),
        record_at(3, "lost"),
        record_at(4, "running"),
        record_at(5, "released", "model_gone", "server"),
        record_at(6, "retried", "aws_error", "transient"),
    ]
    assert read(records, SENT) == History(tried=2, server_failed=1, first=SENT + timedelta(seconds=1))
    assert read(records[1:], SENT) == History(tried=1, server_failed=1, first=SENT + timedelta(seconds=6))
    assert read(records[1:5], SENT) == History(server_failed=1)


@pytest.mark.parametrize("reason", ["server_gone", "runner_crashed"])
def test_whoever_was_in_hand_when_the_server_died_is_under_suspicion(reason: str) -> None:
    """It may have been the document, or its neighbour: that is found out with it alone."""
    found = read([record_at(1, "released", reason, "server")], SENT)
    assert (found.suspect, found.tried) == (True, 0)


@pytest.mark.parametrize("alone", [True, False])
def test_a_dead_worker_condemns_only_who_was_alone(*, alone: bool) -> None:
    """In hand with others is a suspicion, alone is the proof."""
    found = read([record_at(1, "crashed", alone=alone)], SENT)
    assert (found.suspect, found.condemned) == (True, alone)


@pytest.mark.parametrize("crashes", range(5))
def test_three_dead_workers_condemn_whoever_was_in_hand_each_time(crashes: int) -> None:
    """What is fatal to read never gets to be alone at the server; a healthy neighbour is not there thrice."""
    records = [record_at(number, "crashed") for number in range(crashes)]
    found = read(records, SENT)
    assert (found.suspect, found.condemned) == (crashes > 0, crashes >= 3)
    assert MAX_CRASHES == 3


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [
        ("released", ("server_gone", "server")),
        ("running", ()),
        ("lost", ()),
        ("retried", ("busy", "transient")),
    ],
)
def test_only_dead_workers_are_counted_to_three(outcome: str, failure: tuple[str, ...]) -> None:
    """A server that died is not a worker that died, alone or not."""
    records = [record_at(number, outcome, *failure, alone=True) for number in range(9)]
    crashes = [record_at(10 + number, "crashed") for number in range(2)]
    assert not read([*records, *crashes], SENT).condemned


def test_an_answer_that_the_server_gave_up_on_is_remembered() -> None:
    """The second time it is the document's doing."""
    assert read([record_at(1, "retried", "not_done", "transient")], SENT).gave_up
    assert not read([record_at(1, "retried", "server_error", "transient")], SENT).gave_up


def test_a_failure_whose_message_came_again_is_known() -> None:
    """All that is left is to put the message away, with the reason that is on record."""
    found = read([record_at(1, "failed", "too_long", "document")], SENT)
    assert found.failed == FailureFacts(kind="document", reason="too_long", detail="d")


def test_a_message_moved_back_from_the_dead_letters_starts_anew() -> None:
    """Attempts from before it was sent are another life's, but for the difference of two clocks."""
    before = -CLOCK_SKEW.total_seconds()
    assert read([record_at(before - 1, "failed", "too_long", "document")], SENT) == History()
    assert read([record_at(before, "retried", "aws_error", "transient")], SENT).tried == 1
