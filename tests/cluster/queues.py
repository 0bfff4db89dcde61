"""A stack's queues in moto, and what clients and workers do with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import boto3

from cli.computed import REGION
from cli.local.emulator import CREDENTIALS

if TYPE_CHECKING:
    from cli.graph import Graph

QUEUE = "aws:sqs/queue:Queue"
HIDDEN_SECONDS = 600
"""Beyond any test: what somebody has in hand stays there until it is finished."""


def operator_environment(endpoint: str) -> dict[str, str]:
    """What makes KEDA's operator ask moto, by nothing that a manifest says."""
    return {"AWS_ENDPOINT_URL_SQS": endpoint, "AWS_REGION": REGION, **CREDENTIALS}


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue.

    Attributes:
        url: in moto.
    """

    url: str
    _sqs: Any

    def send(self, count: int = 1) -> None:
        """Puts messages into it."""
        for number in range(count):
            self._sqs.send_message(QueueUrl=self.url, MessageBody=f"document {number}")

    def take(self, count: int = 1) -> list[str]:
        """Takes messages in hand, as a worker does, and gives their receipts."""
        return [
            self._sqs.receive_message(QueueUrl=self.url)["Messages"][0]["ReceiptHandle"] for _ in range(count)
        ]

    def finish(self, receipts: list[str]) -> None:
        """Deletes what is in hand."""
        for receipt in receipts:
            self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=receipt)

    def empty(self) -> None:
        """Takes and deletes all that waits; like AWS, moto allows a purge once a minute only."""
        while got := self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            self.finish([message["ReceiptHandle"] for message in got])


class Queues:
    """The queues of every stack that is brought up, made when they are first asked for."""

    def __init__(self, endpoint: str) -> None:
        self._made: dict[str, Queue] = {}
        self._sqs: Any = cast("Any", boto3).client(
            "sqs",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def places(self, graph: Graph) -> dict[str, str]:
        """For each queue URL of the graph the one in moto."""
        return {each.outputs["url"]: self._queue(each.outputs["name"]).url for each in graph.of_type(QUEUE)}

    def of(self, graph: Graph, model: str) -> Queue:
        """A model's queue."""
        return self._queue(graph.one(QUEUE, model).outputs["name"])

    def _queue(self, name: str) -> Queue:
        if name not in self._made:
            attributes = {"VisibilityTimeout": str(HIDDEN_SECONDS)}
            made = self._sqs.create_queue(QueueName=name, Attributes=attributes)
            self._made[name] = Queue(made["QueueUrl"], self._sqs)
        return self._made[name]
