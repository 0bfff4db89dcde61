"""The results bucket's calls as S3 and EventBridge get them, and what their answers mean."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from runtime.worker import keys
from runtime.worker.aws import Aws, AwsFailure
from runtime.worker.failures import TransientFailure
from runtime.worker.records import ResultFacts, Tokens
from runtime.worker.results import CONFLICT, CONFLICT_PAUSES_SECONDS, Results
from tests.unit.clocks import Clock
from tests.unit.fake_client import FakeClient, client_error
from tests.unit.records import record_at
from tests.unit.tasks import task

RECORD = record_at(1, "answered").model_copy(
    update={"result": ResultFacts(bucket="out", key="k/j.txt"), "tokens": Tokens(prompt=7, answer=3)}
)


def _results(
    *, s3: FakeClient | None = None, events: FakeClient | None = None, clock: Clock | None = None
) -> Results:
    clients: Any = (s3, events)
    none: Any = None
    return Results(Aws(s3=clients[0], sqs=none, events=clients[1]), task(), clock or Clock())


def _body(text: bytes) -> dict[str, object]:
    return {"Body": io.BytesIO(text)}


async def test_a_result_is_put_only_where_none_is() -> None:
    """The put is conditional, and names its job and its attempt."""
    s3 = FakeClient()
    assert await _results(s3=s3).put("task/a.txt", "j", b"answer", "a1")
    assert s3.calls == [
        (
            "put_object",
            {
                "Bucket": "out",
                "Key": "task/a.txt/j.txt",
                "Body": b"answer",
                "ContentType": "text/plain; charset=utf-8",
                "Metadata": {"job": "j", "attempt": "a1"},
                "IfNoneMatch": "*",
            },
        )
    ]


@pytest.mark.parametrize("code", ["PreconditionFailed", "412"])
@pytest.mark.parametrize("conflicts", [0, 4])
async def test_another_attempts_result_is_never_written_over(code: str, conflicts: int) -> None:
    """Whoever comes second is told so, also after another's put was in the way."""
    s3 = FakeClient(put_object=[client_error(CONFLICT)] * conflicts + [client_error(code)])
    assert not await _results(s3=s3).put("k", "j", b"", "a")
    assert len(s3.calls) == conflicts + 1


async def test_a_put_in_the_way_of_another_is_tried_again() -> None:
    """S3 answers 409 while two conditional puts race; which one wins shows a moment later."""
    s3, clock = FakeClient(put_object=[client_error(CONFLICT)] * 4), Clock()
    assert await _results(s3=s3, clock=clock).put("k", "j", b"", "a")
    assert len(s3.calls) == 5
    assert clock.seconds == sum(CONFLICT_PAUSES_SECONDS[:4])


async def test_puts_that_keep_getting_in_each_others_way_are_a_transient_failure() -> None:
    """It is not for ever."""
    s3 = FakeClient(put_object=[client_error(CONFLICT)] * 99)
    with pytest.raises(TransientFailure, match="keep getting in the way"):
        await _results(s3=s3).put("k", "j", b"", "a")
    assert len(s3.calls) == len(CONFLICT_PAUSES_SECONDS)


async def test_another_error_of_a_put_is_not_swallowed() -> None:
    """Whoever stores decides how long it is tried."""
    s3 = FakeClient(put_object=[client_error("SlowDown")])
    with pytest.raises(AwsFailure, match="SlowDown"):
        await _results(s3=s3).put("k", "j", b"", "a")


@pytest.mark.parametrize("code", ["404", "NoSuchKey", "403"])
async def test_only_a_result_that_is_not_there_is_none(code: str) -> None:
    """An S3 that does not say is not taken for one without a result."""
    results = _results(s3=FakeClient(head_object=[client_error(code)], get_object=[client_error(code)]))
    if code == "403":
        with pytest.raises(AwsFailure):
            await results.find("k", "j")
        with pytest.raises(AwsFailure):
            await results.read("k", "j", "a")
    else:
        assert await results.find("k", "j") is None
        assert await results.read("k", "j", "a") is None


async def test_a_result_is_found_with_its_metadata() -> None:
    """They tell whose it is."""
    s3 = FakeClient(head_object=[{"Metadata": {"attempt": "a"}}])
    assert await _results(s3=s3).find("k", "j") == {"attempt": "a"}
    assert s3.calls == [("head_object", {"Bucket": "out", "Key": "k/j.txt"})]


async def test_a_record_comes_back_as_it_was_written() -> None:
    """Under a key of its own, and whatever fields a newer worker has put into it."""
    s3 = FakeClient()
    await _results(s3=s3).write(RECORD)
    ((_, put),) = s3.calls
    assert put.keys() == {"Bucket", "Key", "Body", "ContentType"}
    assert (put["Bucket"], put["Key"]) == ("out", f"records/k/j/{RECORD.attempt}.json")
    newer = b'{"new": 1,' + put["Body"][1:]
    s3 = FakeClient(get_object=[_body(newer)])
    assert await _results(s3=s3).read("k", "j", RECORD.attempt) == RECORD
    assert s3.calls == [("get_object", {"Bucket": "out", "Key": put["Key"]})]


@pytest.mark.parametrize("body", [b"{}", b"", b"\xff", b"[]", b'{"outcome": "a newer one"}'])
async def test_what_is_no_record_is_none_and_named_in_the_log(body: bytes) -> None:
    """It must not keep its document from ever being answered, nor go unseen."""
    with capture_logs() as logs:
        assert await _results(s3=FakeClient(get_object=[_body(body)])).read("k", "j", "a") is None
    assert [(entry["event"], entry["log_level"], entry["place"]) for entry in logs] == [
        ("record not readable", "warning", "s3://out/records/k/j/a.json")
    ]


async def test_one_record_that_cannot_be_read_hides_no_other() -> None:
    """The history of a job is what can be read of it."""
    listed = {"Contents": [{"Key": f"{keys.records_prefix('k', 'j')}{name}.json"} for name in "ab"]}
    bodies = [_body(b"{}"), _body(RECORD.model_dump_json().encode())]
    s3 = FakeClient(list_objects_v2=[listed], get_object=bodies)
    assert await _results(s3=s3).attempts("k", "j") == [RECORD]


async def test_attempts_come_in_order_of_time() -> None:
    """By name, whatever order S3 has, less what went away meanwhile."""
    first, second = record_at(1, "retried"), record_at(2, "released")
    prefix = keys.records_prefix("k", "j")
    listed = {"Contents": [{"Key": f"{prefix}{name}.json"} for name in ("b", "a", "c")]}
    bodies = [_body(record.model_dump_json().encode()) for record in (first, second)]
    s3 = FakeClient(list_objects_v2=[listed], get_object=[*bodies, client_error("NoSuchKey")])
    assert await _results(s3=s3).attempts("k", "j") == [first, second]
    assert [given.get("Key", given.get("Prefix")) for _, given in s3.calls] == [
        prefix,
        *(f"{prefix}{name}.json" for name in "abc"),
    ]


async def test_a_job_without_attempts_has_none() -> None:
    """S3 leaves the field out then."""
    assert await _results(s3=FakeClient(list_objects_v2=[{}])).attempts("k", "j") == []


@pytest.mark.parametrize("trace", [{}, {"AWSTraceHeader": "Root=1-2", "traceparent": "00-a"}])
async def test_an_event_tells_of_a_result_all_that_its_consumers_need(trace: dict[str, str]) -> None:
    """Job, document, result, tokens and trace; X-Ray's header goes where EventBridge looks for it."""
    events = FakeClient(put_events=[{"FailedEntryCount": 0, "Entries": []}])
    await _results(events=events).announce(RECORD.model_copy(update={"trace": trace}))
    ((_, put),) = events.calls
    (entry,) = put["Entries"]
    assert json.loads(entry.pop("Detail")) == {
        "job": "j",
        "attempt": RECORD.attempt,
        "task": "task",
        "document": RECORD.document.model_dump(),
        "result": {"bucket": "out", "key": "k/j.txt"},
        "tokens": {"prompt": 7, "answer": 3},
        "trace": trace,
    }
    header = {"TraceHeader": "Root=1-2"} if trace else {}
    assert entry == {"Source": "ollama-eks", "DetailType": "Document Answered", **header}


async def test_an_event_that_was_not_taken_is_a_transient_failure() -> None:
    """EventBridge says so with HTTP 200."""
    answer = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
    with pytest.raises(TransientFailure, match="ThrottlingException"):
        await _results(events=FakeClient(put_events=[answer])).announce(RECORD)
