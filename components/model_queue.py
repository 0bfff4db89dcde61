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

MAX_EVENT_AGE_SECONDS = 24 * 3600
MAX_EVENT_ATTEMPTS = 185
"""The most that EventBridge tries (EventBridge user guide, "Event retry policy"): then it is undelivered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelQueueArgs:
    """The model, and the buckets: one is watched for its documents, or the other for results of another."""

    model: model_section.Model
    documents: Documents


class ModelQueue(pulumi.ComponentResource):
    """A queue that gets one message for each of the model's documents, and loses none.

    What the worker or SQS gives up becomes a dead letter, and what EventBridge cannot deliver is undelivered.
    """

    url: pulumi.Output[str]
    arn: pulumi.Output[str]
    dead_letter_url: pulumi.Output[str]
    dead_letter_arn: pulumi.Output[str]
    undelivered_arn: pulumi.Output[str]

    def __init__(self, name: str, args: ModelQueueArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:ModelQueue", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        key_arn = args.documents.key_arn
        # Two ways to encrypt that exclude each other; `alias/aws/sqs` is neither: EventBridge may not use it.
        sqs_key = True if key_arn is None else None

        dead_letter = aws.sqs.Queue(
            f"{name}-dead-letter",
            message_retention_seconds=RETENTION_SECONDS,
            max_message_size=MAX_DEAD_LETTER_BYTES,
            kms_master_key_id=key_arn,
            sqs_managed_sse_enabled=sqs_key,
            opts=child,
        )
        queue = aws.sqs.Queue(
            name,
            visibility_timeout_seconds=VISIBILITY_SECONDS,
            max_message_size=MAX_MESSAGE_BYTES,
            message_retention_seconds=RETENTION_SECONDS,
            kms_master_key_id=key_arn,
            sqs_managed_sse_enabled=sqs_key,
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
        undelivered = aws.sqs.Queue(
            f"{name}-undelivered",
            message_retention_seconds=RETENTION_SECONDS,
            kms_master_key_id=key_arn,
            sqs_managed_sse_enabled=sqs_key,
            opts=child,
        )
        rule = self._rule(name, args)
        self._policy(f"{name}-dead-letter", dead_letter)
        admitted = [
            self._policy(name, queue, filled_by=rule),
            self._policy(f"{name}-undelivered", undelivered, filled_by=rule),
        ]
        aws.cloudwatch.EventTarget(
            name,
            rule=rule.name,
            arn=queue.arn,
            dead_letter_config={"arn": undelivered.arn},
            retry_policy={
                "maximum_event_age_in_seconds": MAX_EVENT_AGE_SECONDS,
                "maximum_retry_attempts": MAX_EVENT_ATTEMPTS,
            },
            # Created after: an event that neither queue admits yet is lost.
            opts=pulumi.ResourceOptions(parent=self, depends_on=admitted),
        )
        self.url = queue.url
        self.arn = queue.arn
        self.dead_letter_url = dead_letter.url
        self.dead_letter_arn = dead_letter.arn
        self.undelivered_arn = undelivered.arn
        self.register_outputs({"url": self.url, "deadLetterUrl": self.dead_letter_url})

    def _rule(self, name: str, args: ModelQueueArgs) -> aws.cloudwatch.EventRule:
        """The edge to the model: from documents put for it, or from results of the model before it."""
        model = args.model
        if model.after is None:
            bucket, prefix, what = args.documents.documents.bucket, f"{model.name}/", "Documents"
        else:
            bucket, prefix, what = (
                args.documents.results.bucket,
                f"{model.after}/",
                f"Results of {model.after}",
            )
        return aws.cloudwatch.EventRule(
            name,
            description=f"{what} for the model {model.name}",
            event_pattern=bucket.apply(lambda bucket: object_created(bucket, prefix)),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _policy(
        self, name: str, queue: aws.sqs.Queue, filled_by: aws.cloudwatch.EventRule | None = None
    ) -> aws.sqs.QueuePolicy:
        """Nothing without TLS, and into a queue that a rule fills, what this rule sends."""
        statements: list[dict[str, object]] = [
            {
                "Sid": "OnlyOverTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": queue.arn,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        ]
        if filled_by is not None:
            statements.append(
                {
                    "Sid": "FilledByItsRule",
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": queue.arn,
                    "Condition": {"ArnEquals": {"aws:SourceArn": filled_by.arn}},
                }
            )
        return aws.sqs.QueuePolicy(
            name,
            queue_url=queue.url,
            policy=pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": statements}),
            opts=pulumi.ResourceOptions(parent=self),
        )


def object_created(bucket: str, prefix: str) -> str:
    """The EventBridge pattern for new objects of a bucket under a prefix."""
    return json.dumps(
        {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": prefix}]}},
        }
    )
