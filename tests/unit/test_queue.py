"""The queue's calls as SQS gets them: what is asked, what is put beside it, and what its errors mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from runtime.worker.aws import Aws, AwsFailure
from runtime.worker.failures import DocumentFailure, LostOwnershipError, TransientFailure
from runtime.worker.queue import NOT_OURS, Message, Queue
from tests.unit.fake_client import FakeClient, client_error
from tests.unit.tasks import task

SENT = datetime(2026, 11, 22, 9, 0, 0, 250_000, tzinfo=UTC)
TRACE = {"traceparent": "00-a-b-01", "tracestate": "x=y", "AWSTraceHeader": "Root=1-2"}
MESSAGE = Message(body="{}", receipt="r", receives=1, sent=SENT, trace=TRACE)


def _queue(sqs: FakeClient) -> Queue:
    none: Any = None
    client: Any = sqs
    return Queue(Aws(s3=none, sqs=client, events=none), task(poll_seconds=3))


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


W3C_TRACE = {"traceparent": _text("00-a-b-01"), "tracestate": _text("x=y")}
X_RAY_TRACE = {"AWSTraceHeader": _text("Root=1-2")}


async def test_a_message_comes_with_all_that_is_asked_for() -> None:
    """One poll asks for one message, hidden at once, with its count, its age and its trace context."""
    received = {
        "Body": "b",
        "ReceiptHandle": "r",
        "Attributes": {
            "ApproximateReceiveCount": "4",
            "SentTimestamp": str(int(SENT.timestamp() * 1000)),
            "AWSTraceHeader": TRACE["AWSTraceHeader"],
        },
        "MessageAttributes": {name: _text(TRACE[name]) for name in ("tracestate", "traceparent")}
        | {"other": _text("no")},
    }
    sqs = FakeClient(receive_message=[{"Messages": [received]}])
    assert await _queue(sqs).receive() == Message(body="b", receipt="r", receives=4, sent=SENT, trace=TRACE)
    ((_, asked),) = sqs.calls
    assert asked == {
        "QueueUrl": "q",
        "MaxNumberOfMessages": 1,
        "WaitTimeSeconds": 3,
        "VisibilityTimeout": 300,
        "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp", "AWSTraceHeader"],
        "MessageAttributeNames": ["traceparent", "tracestate"],
    }


async def test_a_poll_of_an_empty_queue_gives_nothing() -> None:
    """SQS leaves the field out then."""
    assert await _queue(FakeClient()).receive() is None


async def test_only_messages_that_wait_are_counted() -> None:
    """Those in somebody's hand have their slot."""
    sqs = FakeClient(get_queue_attributes=[{"Attributes": {"ApproximateNumberOfMessages": "17"}}])
    assert await _queue(sqs).waiting() == 17
    assert sqs.calls == [
        ("get_queue_attributes", {"QueueUrl": "q", "AttributeNames": ["ApproximateNumberOfMessages"]})
    ]


@pytest.mark.parametrize("code", [*sorted(NOT_OURS), "InternalError"])
@pytest.mark.parametrize("method", ["change_message_visibility", "delete_message"])
async def test_a_receipt_that_holds_nothing_any_more_is_told_from_a_queue_that_fails(
    method: str, code: str
) -> None:
    """Only SQS's own words for it say that a message belongs to somebody else."""
    queue = _queue(FakeClient(**{method: [client_error(code)]}))
    with pytest.raises(LostOwnershipError if code in NOT_OURS else AwsFailure, match=code):
        await (queue.delete(MESSAGE) if method == "delete_message" else queue.hide("r", 0))


async def test_a_queue_that_cannot_be_reached_is_a_transient_failure() -> None:
    """No answer has no code."""
    queue = _queue(FakeClient(receive_message=[EndpointConnectionError(endpoint_url="http://q")]))
    with pytest.raises(AwsFailure) as caught:
        await queue.receive()
    assert (caught.value.code, caught.value.reason) == ("", "aws_error")


async def test_hiding_and_deleting_name_the_receipt() -> None:
    """They say which message, for how long."""
    sqs = FakeClient()
    await _queue(sqs).hide("r", 7)
    await _queue(sqs).delete(MESSAGE)
    assert sqs.calls == [
        ("change_message_visibility", {"QueueUrl": "q", "ReceiptHandle": "r", "VisibilityTimeout": 7}),
        ("delete_message", {"QueueUrl": "q", "ReceiptHandle": "r"}),
    ]


@pytest.mark.parametrize(
    ("detail", "given"),
    [
        ("a\x00b\x0bc\ud800d\ufffee\uffff", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffd"),
        (
            "tab\tline\nreturn\r\ud7ff\ue000\ufffd\U00010000",
            "tab\tline\nreturn\r\ud7ff\ue000\ufffd\U00010000",
        ),
        ("x" * 1025, "x" * 1024),
        ("\x00" * 1025, "\ufffd" * 1024),
    ],
)
async def test_a_dead_letter_says_why_in_characters_that_sqs_takes(detail: str, given: str) -> None:
    """The body goes as it came, the reason beside it, and only then the message is deleted."""
    sqs = FakeClient()
    await _queue(sqs).dead_letter(MESSAGE, DocumentFailure("too_long", detail))
    assert sqs.calls == [
        (
            "send_message",
            {
                "QueueUrl": "d",
                "MessageBody": "{}",
                "MessageAttributes": {
                    "reason": _text("too_long"),
                    "class": _text("document"),
                    "detail": _text(given),
                    **W3C_TRACE,
                },
                "MessageSystemAttributes": X_RAY_TRACE,
            },
        ),
        ("delete_message", {"QueueUrl": "q", "ReceiptHandle": "r"}),
    ]


async def test_a_dead_letter_without_detail_has_no_empty_attribute() -> None:
    """SQS refuses one."""
    sqs = FakeClient()
    await _queue(sqs).dead_letter(MESSAGE, TransientFailure("busy", ""))
    assert sqs.calls[0][1]["MessageAttributes"] == {
        "reason": _text("busy"),
        "class": _text("transient"),
        **W3C_TRACE,
    }


@pytest.mark.parametrize("names", [set[str](), {"traceparent"}, {"AWSTraceHeader"}, {*TRACE}])
@pytest.mark.parametrize("method", ["send_message", "send_message_batch"])
async def test_whatever_takes_a_messages_place_has_its_trace(method: str, names: set[str]) -> None:
    """W3C's as attributes, X-Ray's as the system attribute that SQS knows; what it has not is left out."""
    sqs = FakeClient()
    message = replace(MESSAGE, trace={name: TRACE[name] for name in names})
    if method == "send_message":
        await _queue(sqs).dead_letter(message, DocumentFailure("r", ""))
    else:
        await _queue(sqs).replace(message, ["a"])
    name, sent = sqs.calls[0]
    assert name == method
    (sent,) = sent.get("Entries", [sent])
    given = {key: value for key, value in sent["MessageAttributes"].items() if key not in {"reason", "class"}}
    assert given == {key: value for key, value in W3C_TRACE.items() if key in names}
    assert sent["MessageSystemAttributes"] == (X_RAY_TRACE if "AWSTraceHeader" in names else {})


async def test_a_message_that_could_not_be_put_away_is_not_deleted() -> None:
    """A dead letter that SQS refuses leaves the message where it is."""
    sqs = FakeClient(send_message=[client_error("Throttled")])
    with pytest.raises(AwsFailure):
        await _queue(sqs).dead_letter(MESSAGE, DocumentFailure("too_long", "d"))
    assert [name for name, _ in sqs.calls] == ["send_message"]


@pytest.mark.parametrize(
    ("count", "batches"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])]
)
async def test_a_message_is_replaced_by_one_for_each_document(count: int, batches: list[int]) -> None:
    """All are sent, ten at a time, with the trace context, before the message that asked for them goes."""
    sqs, bodies = FakeClient(), [f"body {number}" for number in range(count)]
    await _queue(sqs).replace(MESSAGE, bodies)
    assert [name for name, _ in sqs.calls] == ["send_message_batch"] * len(batches) + ["delete_message"]
    sent = [given for name, given in sqs.calls if name == "send_message_batch"]
    assert [len(given["Entries"]) for given in sent] == batches
    assert [entry["MessageBody"] for given in sent for entry in given["Entries"]] == bodies
    for given in sent:
        assert given["QueueUrl"] == "q"
        assert [entry["Id"] for entry in given["Entries"]] == [str(n) for n in range(len(given["Entries"]))]
        for entry in given["Entries"]:
            assert entry["MessageAttributes"] == W3C_TRACE
            assert entry["MessageSystemAttributes"] == X_RAY_TRACE


@pytest.mark.parametrize("bad", [{"Failed": [{"Id": "3", "Code": "InternalError"}]}, client_error("Busy")])
async def test_a_message_whose_documents_were_not_all_sent_is_not_deleted(bad: object) -> None:
    """It comes again, and then all of them are sent again: twice is harmless, never is not."""
    sqs = FakeClient(send_message_batch=[{"Successful": []}, bad])
    with pytest.raises(TransientFailure) as caught:
        await _queue(sqs).replace(MESSAGE, ["{}"] * 25)
    assert caught.value.reason == "aws_error"
    assert [name for name, _ in sqs.calls] == ["send_message_batch"] * 2
