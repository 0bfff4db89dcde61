"""What the faster moto promises: a queue that is as it was, and loses nothing between threads."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.worker import moto_server
from tests.worker.clients import client, code_of, receive
from tests.worker.rig import eventually

if TYPE_CHECKING:
    from collections.abc import Generator


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
