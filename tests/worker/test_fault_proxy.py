"""What the worker tier's stand-ins promise: the fault proxy, the faster moto, and the scripted Ollama."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, ReadTimeoutError

from cli.computed import REGION
from tests.worker import fault_proxy, moto_server
from tests.worker.fault_proxy import (
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
    FaultProxy,
    Request,
    on,
    slow,
    timeout,
)
from tests.worker.rig import eventually
from tests.worker.scripted_ollama import (
    Reply,
    answer,
    cut,
    delay,
    embedding,
    error,
    error_line,
    fingerprint,
    hang,
    length,
    not_done,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.worker.scripted_ollama import ScriptedOllama

Client = Any
"""A client of boto3, one of 400 types."""


def client(service: str, endpoint: str, attempts: int = 1) -> Client:
    """A client that tries so often, and waits half a second for an answer."""
    retries: Any = {"mode": "standard", "total_max_attempts": attempts}
    return cast("Any", boto3).client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="a",
        aws_secret_access_key="b",  # noqa: S106  moto checks none
        config=Config(read_timeout=0.5, retries=retries),
    )


def code_of(call: Callable[..., object], **given: object) -> str:
    """The error code that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**given)
    return caught.value.response.get("Error", {}).get("Code", "")


@pytest.fixture
def proxy(moto: str) -> Generator[FaultProxy]:
    """A proxy before moto, without faults yet."""
    with fault_proxy.running(moto) as made:
        yield made


@pytest.fixture
def name() -> str:
    """A name of the test's own for queue and bucket."""
    return f"faults-{secrets.token_hex(4)}"


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


def receive(sqs: Client, queue: str, visibility: int = 30) -> dict[str, Any]:
    """Takes the one message that there is."""
    (message,) = sqs.receive_message(
        QueueUrl=queue, VisibilityTimeout=visibility, MessageSystemAttributeNames=["All"]
    )["Messages"]
    return message


def left(moto: str, queue: str) -> int:
    """How many messages moto has, whoever holds them."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = client("sqs", moto).get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(counts[name]) for name in names)


# The proxy


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


# The faster moto


@pytest.fixture(scope="module")
def fast() -> Generator[moto_server.Process]:
    """The overridden moto in a process of its own."""
    with moto_server.process() as made:
        yield made


@pytest.fixture(params=["as it comes", "overridden"])
def either(request: pytest.FixtureRequest) -> str:
    """An endpoint of moto as it comes, then of moto with the override."""
    if request.param == "overridden":
        return request.getfixturevalue("fast").endpoint
    return request.getfixturevalue("moto")


def test_the_override_keeps_what_a_queue_promises(either: str, name: str) -> None:
    """Counts, visibility, delays, receive counts, redrive and attributes are the same with the override."""
    sqs = client("sqs", either)
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    queue = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1", "RedrivePolicy": redrive})[
        "QueueUrl"
    ]

    def counts(url: str = queue) -> list[str]:
        names = ("", "NotVisible", "Delayed")
        wanted = [f"ApproximateNumberOfMessages{name}" for name in names]
        some = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
        every = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert some == {name: every[name] for name in wanted}
        assert len(every) == 13 - (url == dead)  # the dead letters have no redrive policy
        return [some[name] for name in wanted]

    sent = time.time()
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=900)
    assert counts() == ["1", "0", "1"]
    first = receive(sqs, queue, visibility=1)
    received = time.monotonic()
    assert float(first["Attributes"]["SentTimestamp"]) / 1000 == pytest.approx(sent, abs=0.5)
    assert counts() == ["0", "1", "1"]
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    again: dict[str, Any] = eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))[0]
    assert time.monotonic() - received == pytest.approx(1, abs=0.3)
    assert again["ReceiptHandle"] != first["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=again["ReceiptHandle"], VisibilityTimeout=0)
    assert counts() == ["1", "0", "1"]
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    assert counts() == ["0", "0", "1"]
    assert receive(sqs, dead)["Body"] == "x"
    assert counts(dead) == ["0", "1", "0"]
    assert code_of(sqs.delete_message, QueueUrl=queue, ReceiptHandle="none") == "ReceiptHandleIsInvalid"
    assert code_of(sqs.get_queue_attributes, QueueUrl=queue, AttributeNames=["Nothing"]) == (
        "InvalidAttributeName"
    )


def test_the_overridden_queue_wakes_a_long_poll(fast: moto_server.Process, name: str) -> None:
    """A receive that waits does not hold up a send, and gets its message at once."""
    sqs = client("sqs", fast.endpoint)
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    patient = client("sqs", fast.endpoint)
    patient.meta.config.read_timeout = 20
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(patient.receive_message, QueueUrl=queue, WaitTimeSeconds=10)
        before = time.monotonic()
        sqs.send_message(QueueUrl=queue, MessageBody="x")
        assert waiting.result(timeout=5)["Messages"][0]["Body"] == "x"
        assert time.monotonic() - before < 2


HAMMER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from moto.sqs.models import sqs_backends
from tests.worker import moto_server

moto_server.override()
sys.setswitchinterval(1e-6)  # threads change places as often as they can
sqs = sqs_backends["123456789012"]["eu-west-1"]
sqs.create_queue("q")
taken = []

def send(start):
    for number in range(start, 300, 3):
        sqs.send_message("q", str(number))

def take():
    while len(taken) < 300:
        for message in sqs.receive_message("q", 1, 0, 30, []):
            taken.append(message.body)
            sqs.delete_message("q", message.receipt_handle)

with ThreadPoolExecutor(6) as pool:
    tasks = [pool.submit(take) for _ in range(3)] + [pool.submit(send, start) for start in range(3)]
    for task in tasks:
        task.result()
print(len(taken), len(set(taken)), len(sqs.queues["q"]._messages))
"""


def test_the_overridden_queue_loses_and_doubles_nothing() -> None:
    """While some threads send and others receive and delete, each message is handed out exactly once."""
    command = [sys.executable, "-W", "ignore", "-c", HAMMER]
    assert subprocess.check_output(command, text=True, timeout=60).split() == ["300", "300", "0"]


def test_the_servers_processor_time_can_be_asked_for(fast: moto_server.Process, name: str) -> None:
    """A bench can tell how much of a processor moto took for a call."""
    before = fast.cpu_seconds()
    client("sqs", fast.endpoint).create_queue(QueueName=name)
    assert before < fast.cpu_seconds() < before + 5


# The scripted Ollama


def ask(ollama: ScriptedOllama, path: str = "/api/generate", **body: object) -> httpx.Response:
    """Asks the server, as a client that has no connection yet."""
    given = (
        {"model": "tiny", "stream": False, "prompt": "p"} if path == "/api/generate" else {"model": "tiny"}
    )
    return httpx.post(f"http://{ollama.host}{path}", json=given | body, trust_env=False)


@pytest.mark.parametrize(
    ("reply", "status", "said"),
    [
        (answer("a", thinking="hm"), 200, {"response": "a", "thinking": "hm", "done_reason": "stop"}),
        (length("a"), 200, {"response": "a", "done": True, "done_reason": "length"}),
        (not_done("a"), 200, {"response": "a", "done": False}),
        (error_line("no"), 200, {"error": "no"}),
        (error(400, "no"), 400, {"error": "no"}),
        (error(404, "no"), 404, {"error": "no"}),
        (error(500, "no"), 500, {"error": "no"}),
        (error(503, "no"), 503, {"error": "no"}),
        (delay(0.05, answer("late")), 200, {"response": "late"}),
    ],
)
def test_each_reply_arrives_as_ollama_writes_it(
    ollama: ScriptedOllama, reply: Reply, status: int, said: dict[str, Any]
) -> None:
    """Every kind of answer and error has its status and its fields; ended ones have all counts and times."""
    ollama.script = lambda _: reply
    got = ask(ollama)
    assert (got.status_code, said.items() <= got.json().items()) == (status, True)
    counts = {"total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count"}
    assert (counts <= got.json().keys()) == ("done_reason" in got.json())


@pytest.mark.parametrize("reply", [None, cut(), hang(0.05)])
def test_an_answer_that_never_arrives_whole_is_a_protocol_error(
    ollama: ScriptedOllama, reply: Reply | None
) -> None:
    """A dropped, a cut and a hanging request end without an answer."""
    ollama.script = lambda _: reply
    with pytest.raises(httpx.RemoteProtocolError):
        ask(ollama)


def test_a_client_that_leaves_is_noticed_at_once(ollama: ScriptedOllama) -> None:
    """A request that its client gives up is listed, however long its reply would have taken."""
    ollama.script = lambda body: hang() if body["prompt"] == "for ever" else hang(threading.Event())
    for prompt in ("for ever", "for an event"):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"http://{ollama.host}/api/generate", json={"prompt": prompt}, trust_env=False, timeout=0.1
            )
    eventually(lambda: ollama.abandoned == ["for ever", "for an event"])


def test_images_may_come_in_chunks_and_are_kept_as_digests(ollama: ScriptedOllama) -> None:
    """A body of any length without Content-Length is read whole; of an image only hash and size are kept."""
    image = secrets.token_bytes(1_000_000)
    body = json.dumps({"model": "v", "prompt": "p", "images": [base64.b64encode(image).decode()]}).encode()
    pieces = (body[start : start + 100_000] for start in range(0, len(body), 100_000))
    got = httpx.post(f"http://{ollama.host}/api/generate", content=pieces, trust_env=False)
    assert got.json()["response"] == "about p"
    digest = {"sha256": hashlib.sha256(image).hexdigest(), "bytes": 1_000_000}
    assert ollama.requests == [{"model": "v", "prompt": "p", "images": [digest]}]


def test_the_other_pages_say_what_a_test_sets(ollama: ScriptedOllama) -> None:
    """A model is listed once it is loaded and until it is unloaded; the rest is as configured."""

    def page(path: str) -> dict[str, Any]:
        return httpx.get(f"http://{ollama.host}{path}", trust_env=False).json()

    assert page("/api/ps") == {"models": []}
    assert ask(ollama, prompt="").json()["done_reason"] == "load"
    ollama.resident["size_vram"] = 500_000
    (model,) = page("/api/ps")["models"]
    assert (model["size"], model["size_vram"], model["context_length"]) == (1_000_000, 500_000, 4096)
    assert ask(ollama, prompt="", keep_alive=0).json()["done_reason"] == "unload"
    assert page("/api/ps") == {"models": []}
    ollama.load = lambda: error(500, "no GPU")
    assert ask(ollama, prompt="").status_code == 500
    assert page("/api/ps") == {"models": []}
    ollama.version, ollama.shown["capabilities"] = "0.9.9", ["completion", "vision"]
    assert page("/api/version") == {"version": "0.9.9"}
    assert ask(ollama, "/api/show").json()["capabilities"] == ["completion", "vision"]
    vectors = ask(ollama, "/api/embed", input=["one", "two"]).json()
    assert (vectors["embeddings"], vectors["prompt_eval_count"]) == ([embedding("one"), embedding("two")], 6)
    assert ollama.asked == ["one", "two"]
    assert len(ollama.loads) == 3


def test_a_crash_ends_every_connection_and_the_model(ollama: ScriptedOllama) -> None:
    """A given document kills the server for all who wait, until it is restarted without a model."""
    ask(ollama, prompt="")
    ollama.script = lambda _: hang()
    ollama.crash_on = {"poison"}
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, ollama, prompt="harmless")
        eventually(lambda: ollama.asked)
        with pytest.raises(httpx.TransportError):
            ask(ollama, prompt="has poison in it")
        assert isinstance(waiting.exception(timeout=4), httpx.RemoteProtocolError | httpx.ReadError)
    with pytest.raises(httpx.TransportError):
        ask(ollama, "/api/show")
    ollama.restart()
    assert httpx.get(f"http://{ollama.host}/api/ps", trust_env=False).json() == {"models": []}
    ollama.down_seconds = 0.05
    with pytest.raises(httpx.TransportError):
        ask(ollama, prompt="poison")
    eventually(lambda: ollama.up)


def test_the_timed_server_answers_in_order_and_tells_how_busy_its_slots_were() -> None:
    """Two slots take six prompts in three turns; stats and the last line say when each was in a slot."""
    command = [
        sys.executable,
        "-m",
        "tests.worker.scripted_ollama",
        "--service-seconds",
        "0.1",
        "--slots",
        "2",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, ThreadPoolExecutor() as pool:
        assert server.stdout
        host = server.stdout.readline().strip()

        def post(number: int) -> str:
            body = {"prompt": f"prompt {number}"}
            return httpx.post(f"http://{host}/api/generate", json=body, trust_env=False).json()["response"]

        answers = list(pool.map(post, range(6)))
        stats = httpx.get(f"http://{host}/stats", trust_env=False).json()
        server.terminate()
        assert json.loads(server.stdout.read())["answers"] == stats["answers"]
    assert answers == [fingerprint({"prompt": f"prompt {number}"}) for number in range(6)]
    assert answers[0] == hashlib.sha256(b"prompt 0").hexdigest()[:16]
    times = stats["answers"]
    assert [each["end"] - each["start"] for each in times] == pytest.approx([0.1] * 6)
    assert [each["arrived"] for each in times] == sorted(each["arrived"] for each in times)
    for earlier, later in zip(times, times[2:], strict=False):
        assert later["start"] >= earlier["end"]
    assert stats["cpu_seconds"] > 0
