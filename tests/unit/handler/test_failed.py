"""A document that fails: what is tried again, how often, and what is put away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from runtime.worker.ends import MAX_SERVER_FAILURES
from runtime.worker.failures import DocumentFailure, Failure, LostOwnershipError
from tests.unit.edge import AWS_DOWN, JOB
from tests.unit.handler.world import CRASH, GOOD, earlier, response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.handler.world import World


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (response(200, {**GOOD, "done_reason": "length"}), "document", "answer_cut"),
        (response(200, {**GOOD, "response": " \n"}), "document", "empty_answer"),
        (response(400, {"error": "bad"}), "document", "refused"),
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
    world.before(theirs := earlier(1, "answered", result={"bucket": "out", "key": "k"}))
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


async def test_a_transient_failure_is_tried_again(make: Callable[..., World]) -> None:
    """After a pause of at most a minute, recorded first; the server is as well as it was."""
    world = make()
    world.says = response(503, {"error": "busy"})
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
    world.before(*[earlier(number, "retried", "busy", "transient") for number in range(retried)])
    world.says = response(503, {"error": "busy"})
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
    world.before(*[earlier(number, each) for number, each in enumerate(past)])
    world.says = response(503, {"error": "busy"})
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
    world.before(earlier(-3, "released"), earlier(0, "retried"), earlier(3000, "retried"))
    world.clock.seconds = seconds
    world.says = response(503, {"error": "busy"})
    await world.handle()
    assert world.record.outcome == outcome


@pytest.mark.parametrize(
    ("says", "reason", "mark"),
    [
        (CRASH, "server_gone", "dead"),
        (httpx.ConnectError("refused"), "server_unreachable", "sick"),
        (response(500, {"error": "llama runner process has terminated"}), "runner_down", "sick"),
        (response(500, {"error": "CUDA error: device lost"}), "runner_crashed", "dead"),
        (response(404, {"error": "model 'tiny' not found"}), "model_gone", "sick"),
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
        *[earlier(number, "released", "model_gone", "server") for number in range(failed)],
        *[earlier(100 + number, "released") for number in range(20)],
    )
    world.says = response(404, {"error": "model 'tiny' not found"})
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
    world.says = response(500, {"error": "out of memory"})
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
    world.before(*[earlier(1, "retried", reason, "transient") for reason in past])
    world.says = response(200, {"response": "ha ha", "done": False})
    await world.handle()
    assert (world.failure.kind, world.failure.reason) == (kind, "not_done")
    assert (world.edge.done[-1] == "dead_letter document not_done") is (kind == "document")


async def test_a_failure_whose_message_came_again_is_only_put_away_again(
    make: Callable[..., World],
) -> None:
    """It is on record: nothing is asked, nothing is recorded, the dead letter has the same reason."""
    world = make(receives=2)
    world.before(earlier(1, "failed", "too_long", "document"))
    assert await world.handle() == ["fetch", "dead_letter document too_long"]
    assert len(world.edge.records) == 1
    assert world.told == []


@pytest.mark.parametrize("error", [AWS_DOWN, LostOwnershipError("gone")], ids=["down", "lost"])
async def test_a_failure_that_cannot_be_put_away_again_stays_the_failure_that_it_is(
    make: Callable[..., World], error: Exception
) -> None:
    """The message comes back after a pause; no other record is made of it."""
    world = make(receives=2, attempts=9)
    world.before(earlier(1, "failed", "too_long", "document"))
    world.edge.failing["dead_letter"] = [error]
    await world.handle()
    assert 2 <= world.released_after <= 4
    assert [record.outcome for record in world.edge.records.values()] == ["failed"]
    assert world.told == []


def test_every_failure_has_a_class() -> None:
    """What decides over a message is its class: there is none without."""
    assert {kind.kind for kind in Failure.__subclasses__()} == {"document", "transient", "server"}
