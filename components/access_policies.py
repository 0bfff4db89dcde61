"""What people and programs outside need: a policy to put documents, and one to get what comes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.encryption import key_use
from components.encryption_key import READ_ACTIONS, WRITE_ACTIONS
from components.pod_identity import Allow, policy_document

if TYPE_CHECKING:
    from components.documents import Documents
    from components.model_queue import ModelQueue
    from components.stack import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessPoliciesArgs:
    """The stack's models, the buckets, and the queues whose dead letters may be read."""

    stack: Stack
    documents: Documents
    queues: tuple[ModelQueue, ...]


class AccessPolicies(pulumi.ComponentResource):
    """Two managed policies that are attached to nobody here: `uploaders` and `readers`, by ARN.

    Neither deletes anything, and neither sees a document again.
    """

    uploaders: pulumi.Output[str]
    readers: pulumi.Output[str]

    def __init__(
        self, name: str, args: AccessPoliciesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("ollama-eks:index:AccessPolicies", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        uploaders = aws.iam.Policy(
            "uploaders",
            description=f"Put documents for the models of {args.stack.cluster_name}",
            policy=policy_document(_put_documents(args)),
            opts=child,
        )
        readers = aws.iam.Policy(
            "readers",
            description=f"Get results, records and dead letters of {args.stack.cluster_name}",
            policy=policy_document(_get_results(args)),
            opts=child,
        )
        self.uploaders = uploaders.arn
        self.readers = readers.arn
        self.register_outputs({"uploaders": self.uploaders, "readers": self.readers})


def _put_documents(args: AccessPoliciesArgs) -> tuple[Allow, ...]:
    """For the models that take documents; the others take results, which their workers alone put."""
    bucket = args.documents.documents.arn
    return (
        Allow(
            actions=("s3:PutObject",),
            resources=tuple(
                pulumi.Output.concat(bucket, f"/{model.name}/*")
                for model in args.stack.settings.models
                if model.after is None
            ),
        ),
        *key_use(args.documents.key_arn, WRITE_ACTIONS, ("s3",), args.stack.region),
    )


def _get_results(args: AccessPoliciesArgs) -> tuple[Allow, ...]:
    """Of all models: whoever puts a document for one finds what comes of it under the same name."""
    bucket = args.documents.results.arn
    return (
        Allow(
            actions=("s3:GetObject", "s3:GetObjectVersion"), resources=(pulumi.Output.concat(bucket, "/*"),)
        ),
        Allow(actions=("s3:ListBucket",), resources=(bucket,)),
        # A message that is received is hidden for a while, and then there again.
        Allow(
            actions=("sqs:ReceiveMessage", "sqs:GetQueueAttributes"),
            resources=tuple(queue.dead_letter_arn for queue in args.queues),
        ),
        *key_use(args.documents.key_arn, READ_ACTIONS, ("s3", "sqs"), args.stack.region),
    )
