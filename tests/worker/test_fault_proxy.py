"""What the fault proxy promises: each fault on demand, and whose each message is."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import BotoCoreError, ConnectionClosedError, ReadTimeoutError

from cli.computed import REGION
from tests.worker import fault_proxy
from tests.worker.clients import client, code_of, receive
from tests.worker.faults import (
    CONFLICT,
    COPY,
    DUPLICATE,
    ERROR,
    EXISTS,
    GHOST,
    LOST,
    RESET,
    RESET_AFTER,
    THROTTLE,
    Chaos,
    Fault,
    Request,
    on,
    slow,
    timeout,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.worker.clients import Client
    from tests.worker.fault_proxy import FaultProxy


@pytest.fixture
def proxy(moto: str) -> Generator[FaultProxy]:
    """A proxy before moto, without faults yet."""
    with fault_proxy.running(moto) as made:
        yield made


@pytest.fixture
def sqs(proxy: FaultProxy) -> Client:
    """SQS by the proxy."""
    return client("sqs", proxy.endpoint)


@pytest.fixture
def s3(proxy: FaultProxy, moto: str, name: str) -> Client:
    """S3 by the proxy, with a bucket that was made behind its back."""
    client("s3", moto).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return client("s3", proxy.endpoint)


@pytest.fixture
def queue(moto: str, name: str) -> str:
    """A queue that was made behind the proxy's back, by moto's own URL."""
    return client("sqs", moto).create_queue(QueueName=name)["QueueUrl"]


def left(moto: str, queue: str) -> int:
    """How many messages moto has, whoever holds them."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = client("sqs", moto).get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(counts[name]) for name in names)


def test_every_call_reaches_moto_and_is_known_by_its_operation(
    proxy: FaultProxy,
    s3: Client,
    sqs: Client,
    queue: str,
    name: str,
) -> None:
    """Without faults the proxy changes nothing, and the tally names each operation as AWS does."""
    put = s3.put_object(Bucket=name, Key="a/b c+ü", Body=b"text" * 100_000)
    assert s3.get_object(Bucket=name, Key="a/b c+ü")["Body"].read() == b"text" * 100_000
    assert s3.head_object(Bucket=name, Key="a/b c+ü")["ETag"] == put["ETag"]
    assert s3.head_object(Bucket=name, Key="a/b c+ü")["ContentLength"] == 400_000
    assert s3.list_objects_v2(Bucket=name, Prefix="a/")["KeyCount"] == 1
    s3.list_object_versions(Bucket=name)
    s3.get_bucket_versioning(Bucket=name)
    s3.delete_object(Bucket=name, Key="a/b c+ü")
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    message = receive(sqs, queue)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    client("events", proxy.endpoint).put_events(Entries=[{"Source": "s", "DetailType": "t", "Detail": "{}"}])
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == f"{proxy.endpoint}/123456789012/{name}"
    assert proxy.tally == Counter(
        {
            (operation, "passed"): 1
            for operation in (
                *("PutObject", "GetObject", "ListObjectsV2", "ListObjectVersions", "GET versioning"),
                *("DeleteObject", "SendMessage", "ReceiveMessage", "DeleteMessage", "PutEvents"),
                "GetQueueUrl",
            )
        }
        | {("HeadObject", "passed"): 2}
    )


@pytest.mark.parametrize(
    ("fault", "service", "code"),
    [
        (THROTTLE, "s3", "SlowDown"),
        (THROTTLE, "sqs", "RequestThrottled"),
        (THROTTLE, "events", "ThrottlingException"),
        (ERROR, "s3", "InternalError"),
        (ERROR, "sqs", "InternalFailure"),
        (ERROR, "events", "InternalFailure"),
    ],
)
def test_an_error_has_the_code_of_its_service(
    proxy: FaultProxy, fault: Fault, service: str, code: str
) -> None:
    """Throttling and internal errors arrive as the SDK knows them of each service."""
    proxy.rule = lambda _: fault
    aws = client(service, proxy.endpoint)
    call = {"s3": "list_buckets", "sqs": "list_queues", "events": "list_rules"}[service]
    assert code_of(getattr(aws, call)) == code
    assert {kind for _, kind in proxy.tally} == {fault.kind}


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (RESET, (ConnectionClosedError, 0)),
        (RESET_AFTER, (ConnectionClosedError, 1)),
        (timeout(), (ReadTimeoutError, 0)),
        (timeout(0.05), (ConnectionClosedError, 0)),
        (slow(0.05), (None, 1)),
    ],
)
def test_a_lost_answer_leaves_open_whether_the_call_took_effect(
    proxy: FaultProxy, s3: Client, name: str, fault: Fault, end: tuple[type[BotoCoreError] | None, int]
) -> None:
    """Resets before and after the effect look alike to the client; a time-out does nothing, slowness all."""
    failure, objects = end
    proxy.rule = on("PutObject", fault)
    with pytest.raises(failure) if failure else nullcontext():
        s3.put_object(Bucket=name, Key="k", Body=b"x")
    assert s3.list_objects_v2(Bucket=name)["KeyCount"] == objects
    assert proxy.tally["PutObject", fault.kind] == 1


def test_a_conditional_put_meets_what_only_it_can_meet(proxy: FaultProxy, s3: Client, name: str) -> None:
    """409 leaves nothing behind, 412 leaves the object, and a put without a condition meets neither."""
    put = {"Bucket": name, "Body": b"x"}
    proxy.rule = on("PutObject", CONFLICT)
    assert code_of(s3.put_object, Key="a", IfNoneMatch="*", **put) == "ConditionalRequestConflict"
    s3.put_object(Key="b", **put)
    proxy.rule = on("PutObject", EXISTS)
    assert code_of(s3.put_object, Key="c", IfNoneMatch="*", **put) == "PreconditionFailed"
    s3.put_object(Key="d", **put)
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=name)["Contents"]] == ["b", "c", "d"]


def test_a_fault_of_one_attempt_is_hidden_by_the_sdk_and_one_of_all_is_not(
    proxy: FaultProxy, queue: str
) -> None:
    """A rule may fault the first attempt only, or every attempt at a call."""
    sqs = client("sqs", proxy.endpoint, attempts=2)
    proxy.rule = on("SendMessage", ERROR, times=1)
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    assert proxy.tally == Counter({("SendMessage", "error"): 1, ("SendMessage", "passed"): 1})
    proxy.rule = on("SendMessage", ERROR)
    assert code_of(sqs.send_message, QueueUrl=queue, MessageBody="x") == "InternalFailure"
    assert proxy.tally["SendMessage", "error"] == 3


def test_the_dice_depend_on_seed_operation_and_number_only() -> None:
    """A seed gives each operation's calls the same fates in any order, and retries share a persistent one."""

    def request(operation: str, number: int, attempt: int = 1) -> Request:
        return Request("s3", operation, number, attempt, f"{operation}{number}", "GET", "/", {}, b"")

    odds = {"GetObject": {THROTTLE: 0.2, RESET: 0.2}, "PutObject": {ERROR: 1.0}}
    first, second = Chaos(7, odds, persistent=0.5), Chaos(7, odds, persistent=0.5)
    gets = [request("GetObject", number) for number in range(1000)]
    fates = [first(get) for get in gets]
    assert [second(get) for get in reversed(gets)] == fates[::-1]
    assert Counter(fates) == {None: pytest.approx(600, abs=60)} | dict.fromkeys(
        (THROTTLE, RESET), pytest.approx(200, abs=50)
    )
    assert first(request("PutObject", 1)) == ERROR
    assert first(request("DeleteObject", 1)) is None
    again = [first(request("GetObject", number, attempt=2)) for number in range(1000)]
    assert all(retried in (None, fate) for retried, fate in zip(again, fates, strict=True))
    assert sum(map(bool, again)) == pytest.approx(200, abs=50)


def test_a_receipt_that_is_not_the_newest_is_refused(
    proxy: FaultProxy, sqs: Client, moto: str, queue: str
) -> None:
    """Who lost a message to another can neither hide nor delete it; who has it can do both, twice even."""
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    old, new = receive(sqs, queue, visibility=0), receive(sqs, queue)
    stale = {"QueueUrl": queue, "ReceiptHandle": old["ReceiptHandle"]}
    assert old["MessageId"] == new["MessageId"]
    assert code_of(sqs.delete_message, **stale) == "ReceiptHandleIsInvalid"
    assert code_of(sqs.change_message_visibility, VisibilityTimeout=9, **stale) == "ReceiptHandleIsInvalid"
    proxy.stale_deletes = "ignored"
    sqs.delete_message(**stale)
    assert left(moto, queue) == 1
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=new["ReceiptHandle"], VisibilityTimeout=9)
    for _ in range(2):
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=new["ReceiptHandle"])
    assert left(moto, queue) == 0
    assert proxy.tally["DeleteMessage", "stale"] == 2


def test_a_receipt_whose_visibility_has_ended_is_refused(sqs: Client, moto: str, queue: str) -> None:
    """A message whose time is over cannot be deleted or hidden again, though nobody else has it yet."""
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    late = {"QueueUrl": queue, "ReceiptHandle": receive(sqs, queue)["ReceiptHandle"]}
    sqs.change_message_visibility(VisibilityTimeout=0, **late)
    assert code_of(sqs.delete_message, **late) == "ReceiptHandleIsInvalid"
    assert code_of(sqs.change_message_visibility, VisibilityTimeout=9, **late) == (
        "AWS.SimpleQueueService.MessageNotInflight"
    )
    assert left(moto, queue) == 1


def test_a_queues_own_visibility_counts_where_a_receive_names_none(sqs: Client, queue: str) -> None:
    """The time of a receipt comes from the queue unless the receive says another."""
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "0"})
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert code_of(sqs.delete_message, QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"]) == (
        "ReceiptHandleIsInvalid"
    )


def test_a_duplicate_is_the_same_message_with_a_receipt_that_works_too(
    proxy: FaultProxy,
    sqs: Client,
    moto: str,
    queue: str,
) -> None:
    """Two hold one message: both may hide it, its count has risen, and the first delete ends it."""
    proxy.rule = on("ReceiveMessage", DUPLICATE)
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    first, second = receive(sqs, queue), receive(sqs, queue)
    assert (first["MessageId"], first["Body"]) == (second["MessageId"], second["Body"])
    assert first["ReceiptHandle"] != second["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    for message in (first, second):
        sqs.change_message_visibility(
            QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=9
        )
    for message in (first, second):
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        assert left(moto, queue) == 0
    assert proxy.tally["ReceiveMessage", "duplicate"] == 1


def test_a_ghosts_receipt_is_refused(proxy: FaultProxy, sqs: Client, queue: str) -> None:
    """A ghost is the message again with a receipt that counts for nothing; the holder's own still does."""
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    real = receive(sqs, queue)
    proxy.rule = on("ReceiveMessage", GHOST)
    ghost = receive(sqs, queue)
    assert ghost == real | {"ReceiptHandle": ghost["ReceiptHandle"]}
    dead = {"QueueUrl": queue, "ReceiptHandle": ghost["ReceiptHandle"]}
    assert code_of(sqs.change_message_visibility, VisibilityTimeout=9, **dead) == "ReceiptHandleIsInvalid"
    assert code_of(sqs.delete_message, **dead) == "ReceiptHandleIsInvalid"
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=real["ReceiptHandle"])


def test_a_copy_is_another_message_with_the_same_body(
    proxy: FaultProxy,
    sqs: Client,
    moto: str,
    queue: str,
) -> None:
    """An event delivered twice is two messages that say the same."""
    proxy.rule = on("ReceiveMessage", COPY)
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    first, second = receive(sqs, queue), receive(sqs, queue)
    assert (first["Body"], second["Body"]) == ("x", "x")
    assert first["MessageId"] != second["MessageId"]
    assert left(moto, queue) == 2


@pytest.mark.parametrize("operation", ["DeleteMessage", "ChangeMessageVisibility"])
def test_a_lost_message_is_the_next_ones(proxy: FaultProxy, sqs: Client, queue: str, operation: str) -> None:
    """Whose delete or heartbeat is refused has lost the message: the next receive gets it."""
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    receipt = {"QueueUrl": queue, "ReceiptHandle": receive(sqs, queue)["ReceiptHandle"]}
    proxy.rule = on(operation, LOST)
    if operation == "DeleteMessage":
        assert code_of(sqs.delete_message, **receipt) == "ReceiptHandleIsInvalid"
    else:
        assert (
            code_of(sqs.change_message_visibility, VisibilityTimeout=9, **receipt) == "ReceiptHandleIsInvalid"
        )
    assert receive(sqs, queue)["Attributes"]["ApproximateReceiveCount"] == "2"
    assert proxy.tally[operation, "lost"] == 1
