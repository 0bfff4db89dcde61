"""A model's queue as the worker sees it: take one, keep it, give it back, be done with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from runtime.worker.aws import Aws, AwsFailure, call
from runtime.worker.failures import Failure, LostOwnershipError, TransientFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from types_boto3_sqs.type_defs import (
        MessageAttributeValueTypeDef,
        MessageSystemAttributeValueTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

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

XRAY: Literal["AWSTraceHeader"] = "AWSTraceHeader"
W3C = ("traceparent", "tracestate")

BATCH = 10
"""Messages in one call (SQS developer guide, quotas)."""

_NOT_IN_SQS = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that a message may not hold (SQS API reference, SendMessage)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One received message.

    Attributes:
        body: as sent.
        receipt: what holds it.
        receives: how often SQS handed it out, this time included; scale-ins and restarts count too.
        sent: when it was put into the queue.
        trace: its trace context: X-Ray's header and W3C's, by their names.
    """

    body: str
    receipt: str
    receives: int
    sent: datetime
    trace: Mapping[str, str] = field(default_factory=dict[str, str])


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
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp", XRAY],
            MessageAttributeNames=list(W3C),
        )
        for message in answer.get("Messages", []):
            attributes = message.get("Attributes", {})
            given = message.get("MessageAttributes", {})
            trace = {name: given[name].get("StringValue", "") for name in W3C if name in given}
            if header := attributes.get(XRAY):
                trace[XRAY] = header
            return Message(
                body=message.get("Body", ""),
                receipt=message.get("ReceiptHandle", ""),
                receives=int(attributes.get("ApproximateReceiveCount", 1)),
                sent=datetime.fromtimestamp(int(attributes.get("SentTimestamp", 0)) / 1000, UTC),
                trace=trace,
            )
        return None

    async def waiting(self) -> int:
        """How many messages wait, roughly: those in somebody's hand are not among them."""
        name = "ApproximateNumberOfMessages"
        answer = await call(
            self._sqs.get_queue_attributes, QueueUrl=self._task.queue_url, AttributeNames=[name]
        )
        return int(answer["Attributes"][name])

    async def hide(self, receipt: str, seconds: int) -> None:
        """Keeps a message from everybody for so long from now; 0 gives it back at once.

        Raises:
            LostOwnershipError: it is not ours any more.
        """
        try:
            await call(
                self._sqs.change_message_visibility,
                QueueUrl=self._task.queue_url,
                ReceiptHandle=receipt,
                VisibilityTimeout=seconds,
            )
        except AwsFailure as error:
            if error.code in NOT_OURS:
                raise LostOwnershipError(str(error)) from error
            raise

    async def delete(self, message: Message) -> None:
        """Takes a message off the queue: all is done, whoever has it by now."""
        try:
            await call(self._sqs.delete_message, QueueUrl=self._task.queue_url, ReceiptHandle=message.receipt)
        except AwsFailure as error:
            if error.code in NOT_OURS:
                raise LostOwnershipError(str(error)) from error
            raise

    async def replace(self, message: Message, bodies: Sequence[str]) -> None:
        """Puts other messages into the queue in a message's place."""
        for first in range(0, len(bodies), BATCH):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {
                    "Id": str(number),
                    "MessageBody": body,
                    "MessageAttributes": _attributes(_w3c(message)),
                    "MessageSystemAttributes": _x_ray(message),
                }
                for number, body in enumerate(bodies[first : first + BATCH])
            ]
            answer = await call(self._sqs.send_message_batch, QueueUrl=self._task.queue_url, Entries=entries)
            if answer.get("Failed"):
                raise TransientFailure("aws_error", f"send_message_batch: {answer['Failed']}")
        await self.delete(message)

    async def dead_letter(self, message: Message, failure: Failure) -> None:
        """Puts a message among the dead letters, body untouched, the reason beside it; then deletes it."""
        await call(
            self._sqs.send_message,
            QueueUrl=self._task.dead_letter_url,
            MessageBody=message.body,
            MessageAttributes=_attributes(
                {
                    "reason": failure.reason,
                    "class": failure.kind,
                    "detail": failure.detail[:MAX_DETAIL],
                    **_w3c(message),
                }
            ),
            MessageSystemAttributes=_x_ray(message),
        )
        await self.delete(message)


MAX_DETAIL = 1024
"""Characters of a detail: attributes and body together have the size limit of a message."""


def _w3c(message: Message) -> dict[str, str]:
    return {name: value for name, value in message.trace.items() if name in W3C}


def _x_ray(message: Message) -> dict[Literal["AWSTraceHeader"], MessageSystemAttributeValueTypeDef]:
    header = message.trace.get(XRAY)
    return {XRAY: {"DataType": "String", "StringValue": header}} if header else {}


def _attributes(values: Mapping[str, str]) -> Mapping[str, MessageAttributeValueTypeDef]:
    return {
        name: {"DataType": "String", "StringValue": _NOT_IN_SQS.sub("\ufffd", value)}
        for name, value in values.items()
        if value
    }
