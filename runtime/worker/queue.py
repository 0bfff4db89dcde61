"""A model's queue as the worker sees it: take one, keep it, give it back, be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runtime.worker.aws import Aws, AwsFailure, call
from runtime.worker.failures import Failure, LostOwnershipError

if TYPE_CHECKING:
    from runtime.spec import TaskSpec

NOT_OURS = frozenset(
    {
        "ReceiptHandleIsInvalid",
        "InvalidParameterValue",
        "MessageNotInflight",
        "AWS.SimpleQueueService.MessageNotInflight",
    }
)
"""SQS's codes for a receipt that no longer holds its message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One received message.

    Attributes:
        body: as sent.
        receipt: what holds it.
        receives: how often SQS handed it out, this time included; scale-ins and restarts count too.
        sent: when it was put into the queue.
    """

    body: str
    receipt: str
    receives: int
    sent: datetime


class Queue:
    """The queue and its dead letters."""

    def __init__(self, aws: Aws, task: TaskSpec) -> None:
        self._sqs = aws.sqs
        self._task = task

    async def receive(self) -> Message | None:
        """Waits for one message, at most one poll long."""
        answer = await call(
            self._sqs.receive_message,
            QueueUrl=self._task.queue_url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=self._task.poll_seconds,
            VisibilityTimeout=self._task.visibility_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
        for message in answer.get("Messages", []):
            attributes = message.get("Attributes", {})
            return Message(
                body=message.get("Body", ""),
                receipt=message.get("ReceiptHandle", ""),
                receives=int(attributes.get("ApproximateReceiveCount", 1)),
                sent=datetime.fromtimestamp(int(attributes.get("SentTimestamp", 0)) / 1000, UTC),
            )
        return None

    async def hide(self, message: Message, seconds: int) -> None:
        """Keeps a message from everybody for so long from now; 0 gives it back at once.

        Raises:
            LostOwnershipError: it is not ours any more.
        """
        try:
            await call(
                self._sqs.change_message_visibility,
                QueueUrl=self._task.queue_url,
                ReceiptHandle=message.receipt,
                VisibilityTimeout=seconds,
            )
        except AwsFailure as error:
            if error.code in NOT_OURS:
                raise LostOwnershipError(str(error)) from error
            raise

    async def delete(self, message: Message) -> None:
        """Takes a message off the queue: all is done."""
        await call(self._sqs.delete_message, QueueUrl=self._task.queue_url, ReceiptHandle=message.receipt)

    async def dead_letter(self, message: Message, failure: Failure) -> None:
        """Puts a message among the dead letters, body untouched, the reason beside it; then deletes it."""
        await call(
            self._sqs.send_message,
            QueueUrl=self._task.dead_letter_url,
            MessageBody=message.body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in (
                    ("reason", failure.reason),
                    ("class", failure.kind),
                    ("detail", failure.detail),
                )
            },
        )
        await self.delete(message)
