"""One model's queue of documents, its dead letters, and the rule that fills it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

if TYPE_CHECKING:
    from components import model_section
    from components.documents import Documents

VISIBILITY_SECONDS = 300
"""How long a received document stays hidden; the worker extends it every third of that while it works."""

RETENTION_SECONDS = 14 * 24 * 3600
"""The most that SQS keeps a message (SQS developer guide, quotas)."""

MAX_MESSAGE_BYTES = 262_144
MAX_DEAD_LETTER_BYTES = 1_048_576
"""SQS's own limit (SQS developer guide, quotas): beside any body there is room for the reason."""

MAX_RECEIVES = 50
"""A distant backstop: SQS counts every receive, a scale-in too, so the worker counts real attempts itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelQueueArgs:
    """The model, whose documents lie under `<model>/`, and the bucket that is watched for them."""

    model: model_section.Model
    documents: Documents


class ModelQueue(pulumi.ComponentResource):
    """A queue that gets one message for each document put under the model's prefix, and loses none."""

    url: pulumi.Output[str]
    arn: pulumi.Output[str]
    dead_letter_url: pulumi.Output[str]
    dead_letter_arn: pulumi.Output[str]

    def __init__(self, name: str, args: ModelQueueArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:ModelQueue", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        dead_letter = aws.sqs.Queue(
            f"{name}-dead-letter",
            message_retention_seconds=RETENTION_SECONDS,
            max_message_size=MAX_DEAD_LETTER_BYTES,
            sqs_managed_sse_enabled=True,
            opts=child,
        )
        queue = aws.sqs.Queue(
            name,
            visibility_timeout_seconds=VISIBILITY_SECONDS,
            max_message_size=MAX_MESSAGE_BYTES,
            message_retention_seconds=RETENTION_SECONDS,
            sqs_managed_sse_enabled=True,
            redrive_policy=pulumi.Output.json_dumps(
                {"deadLetterTargetArn": dead_letter.arn, "maxReceiveCount": MAX_RECEIVES}
            ),
            opts=child,
        )
        aws.sqs.RedriveAllowPolicy(
            name,
            queue_url=dead_letter.url,
            redrive_allow_policy=pulumi.Output.json_dumps(
                {"redrivePermission": "byQueue", "sourceQueueArns": [queue.arn]}
            ),
            opts=child,
        )
        rule = aws.cloudwatch.EventRule(
            name,
            description=f"Documents for the model {args.model.name}",
            event_pattern=args.documents.documents.bucket.apply(
                lambda bucket: object_created(bucket, f"{args.model.name}/")
            ),
            opts=child,
        )
        policy = aws.sqs.QueuePolicy(
            name,
            queue_url=queue.url,
            policy=pulumi.Output.json_dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "FilledByItsRule",
                            "Effect": "Allow",
                            "Principal": {"Service": "events.amazonaws.com"},
                            "Action": "sqs:SendMessage",
                            "Resource": queue.arn,
                            "Condition": {"ArnEquals": {"aws:SourceArn": rule.arn}},
                        },
                        {
                            "Sid": "OnlyOverTls",
                            "Effect": "Deny",
                            "Principal": "*",
                            "Action": "sqs:*",
                            "Resource": queue.arn,
                            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                        },
                    ],
                }
            ),
            opts=child,
        )
        aws.cloudwatch.EventTarget(
            name,
            rule=rule.name,
            arn=queue.arn,
            # Created after: an event that the queue does not admit yet is lost.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        self.url = queue.url
        self.arn = queue.arn
        self.dead_letter_url = dead_letter.url
        self.dead_letter_arn = dead_letter.arn
        self.register_outputs({"url": self.url, "deadLetterUrl": self.dead_letter_url})


def object_created(bucket: str, prefix: str) -> str:
    """The EventBridge pattern for new objects of a bucket under a prefix."""
    return json.dumps(
        {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": prefix}]}},
        }
    )
