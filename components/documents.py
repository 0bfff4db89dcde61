"""The two buckets that people see: documents go into one, results and records come out of the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

if TYPE_CHECKING:
    from components.stack import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentsArgs:
    """The stack says whether the buckets, and what is in them, survive `pulumi destroy`."""

    stack: Stack


class Documents(pulumi.ComponentResource):
    """Private, versioned, TLS-only buckets whose every new object becomes an event."""

    documents: aws.s3.Bucket
    results: aws.s3.Bucket

    def __init__(self, name: str, args: DocumentsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Documents", name, None, opts)
        protect = args.stack.settings.protect
        self.documents = self._bucket("documents", protect=protect)
        self.results = self._bucket("results", protect=protect)
        self.register_outputs({"documents": self.documents.bucket, "results": self.results.bucket})

    def _bucket(self, name: str, *, protect: bool) -> aws.s3.Bucket:
        child = pulumi.ResourceOptions(parent=self)
        bucket = aws.s3.Bucket(
            name,
            # Without protection `pulumi destroy` means it: a bucket that holds something cannot be deleted.
            force_destroy=not protect,
            opts=pulumi.ResourceOptions(parent=self, protect=protect, retain_on_delete=protect),
        )
        aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        aws.s3.BucketVersioning(
            name, bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=child
        )
        aws.s3.BucketPolicy(
            name,
            bucket=bucket.id,
            policy=pulumi.Output.json_dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "OnlyOverTls",
                            "Effect": "Deny",
                            "Principal": "*",
                            "Action": "s3:*",
                            "Resource": [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")],
                            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                        }
                    ],
                }
            ),
            opts=child,
        )
        # EventBridge, not S3's own notifications: any number of rules may watch one prefix, and a new model
        # touches no setting of the bucket.
        aws.s3.BucketNotification(name, bucket=bucket.id, eventbridge=True, opts=child)
        return bucket
