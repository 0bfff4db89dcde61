"""The two buckets that people see: documents go into one, results and records come out of the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

if TYPE_CHECKING:
    from components.settings import Settings
    from components.stack import Stack

ABANDONED_UPLOAD_DAYS = 7
"""Parts of an upload that was never completed are billed, and shown to nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentsArgs:
    """What the buckets are like.

    Attributes:
        stack: says whether they, and what is in them, survive `pulumi destroy`, and what expires when.
        key_arn: key that objects are encrypted with; S3's own for None.
    """

    stack: Stack
    key_arn: pulumi.Output[str] | None = None


class Documents(pulumi.ComponentResource):
    """Private, encrypted, versioned, TLS-only buckets whose every new object becomes an event.

    What makes a bucket so outlives the program with it: one that stays is as private as before.
    """

    documents: aws.s3.Bucket
    results: aws.s3.Bucket
    key_arn: pulumi.Output[str] | None

    def __init__(self, name: str, args: DocumentsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Documents", name, None, opts)
        self.documents = self._bucket("documents", args)
        self.results = self._bucket("results", args)
        self.key_arn = args.key_arn
        self.register_outputs({"documents": self.documents.bucket, "results": self.results.bucket})

    def _bucket(self, name: str, args: DocumentsArgs) -> aws.s3.Bucket:
        settings = args.stack.settings
        protect = settings.protect
        kept = pulumi.ResourceOptions(parent=self, retain_on_delete=protect)
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
            opts=kept,
        )
        # No access control lists: policies alone say who may what, and all objects are this account's.
        aws.s3.BucketOwnershipControls(
            name, bucket=bucket.id, rule={"object_ownership": "BucketOwnerEnforced"}, opts=kept
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            name, bucket=bucket.id, rules=[_encryption(args.key_arn)], opts=kept
        )
        versioning = aws.s3.BucketVersioning(
            name, bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=kept
        )
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=bucket.id,
            rules=_lifecycle(settings),
            # Created after: rules for old versions want a bucket that has versions.
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=protect, depends_on=[versioning]),
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
            opts=kept,
        )
        # EventBridge, not S3's own notifications: any number of rules may watch one prefix, and a new model
        # touches no setting of the bucket.
        aws.s3.BucketNotification(name, bucket=bucket.id, eventbridge=True, opts=kept)
        return bucket


def _encryption(
    key_arn: pulumi.Output[str] | None,
) -> aws.s3.BucketServerSideEncryptionConfigurationRuleArgs:
    by = aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs
    if key_arn is None:
        return aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=by(sse_algorithm="AES256")
        )
    return aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
        apply_server_side_encryption_by_default=by(sse_algorithm="aws:kms", kms_master_key_id=key_arn),
        # One request to KMS for many objects, instead of one for each.
        bucket_key_enabled=True,
    )


def _lifecycle(settings: Settings) -> list[aws.s3.BucketLifecycleConfigurationRuleArgs]:
    """What S3 deletes by itself: nothing that is current, unless the stack asks for it."""
    rule, expire = (
        aws.s3.BucketLifecycleConfigurationRuleArgs,
        aws.s3.BucketLifecycleConfigurationRuleExpirationArgs,
    )
    everything = aws.s3.BucketLifecycleConfigurationRuleFilterArgs()
    rules = [
        rule(
            id="abandoned-uploads",
            status="Enabled",
            filter=everything,
            abort_incomplete_multipart_upload=(
                aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                    days_after_initiation=ABANDONED_UPLOAD_DAYS
                )
            ),
        ),
        rule(
            id="old-versions",
            status="Enabled",
            filter=everything,
            noncurrent_version_expiration=(
                aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                    noncurrent_days=settings.log_retention_days
                )
            ),
            # What is left of a deleted object once its versions are gone.
            expiration=expire(expired_object_delete_marker=True),
        ),
    ]
    if settings.expire_days is not None:
        rules.append(
            rule(
                id="expired",
                status="Enabled",
                filter=everything,
                expiration=expire(days=settings.expire_days),
            )
        )
    return rules
