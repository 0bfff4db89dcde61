"""What `encryptionKey` may say, and the policy of a key that is made for a stack. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CREATE = "create"
"""What `encryptionKey` says for a key that the stack makes itself."""

KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+")


def _key(value: str) -> str:
    if value != CREATE and not KEY_ARN.fullmatch(value):
        raise ValueError(
            f"must be {CREATE}, or the ARN of a key, such as "
            "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab; "
            "IAM policies know no aliases"
        )
    return value


EncryptionKey = Annotated[str, AfterValidator(_key)]

WRITE_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")
"""To store something under a key; the second proves a new data key, and reads the parts of a large upload
(SQS developer guide, "Configure KMS permissions"; S3 user guide, "Uploading with multipart and SSE-KMS")."""

READ_ACTIONS = ("kms:Decrypt",)

WHOLE_USE_ACTIONS = (
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:DescribeKey",
)
"""What CloudWatch Logs and EC2 Auto Scaling ask for, their wildcards spelled out (CloudWatch Logs user guide,
"Encrypt log data"; EC2 Auto Scaling user guide, "Required key policy for use with encrypted volumes")."""

SERVICE_SUFFIX = "amazonaws.com"
"""Of most services' principals, in every partition; that of CloudWatch Logs has the partition's own."""

AUTO_SCALING_ROLE = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"


def key_policy(
    *, account: str, partition: str, region: str, dns_suffix: str, alerts: bool
) -> dict[str, object]:
    """Who may use a key that a stack makes: whom IAM allows it, and each service that writes by itself.

    S3, EFS, EBS and EKS are not among these: they act in the name of whoever calls them, or by grants that
    their callers make.

    Args:
        account: the AWS account's number.
        partition: such as `aws`.
        region: such as `eu-central-1`.
        dns_suffix: the partition's, such as `amazonaws.com`.
        alerts: whether alarms and a budget write to a topic.
    """
    in_account = f"arn:{partition}:iam::{account}"
    of_account = {"StringEquals": {"aws:SourceAccount": account}}
    senders = ("cloudwatch", "budgets") if alerts else ()
    scaling = {"ArnEquals": {"aws:PrincipalArn": f"{in_account}:{AUTO_SCALING_ROLE}"}}
    logs = f"arn:{partition}:logs:{region}:{account}:log-group:*"
    return {
        "Version": "2012-10-17",
        "Statement": [
            # Without it no IAM policy counts, and nobody could change the key any more.
            _admit("IamDecides", {"AWS": f"{in_account}:root"}, ["kms:*"]),
            # Into the queues: events of new objects, and those that could not be delivered.
            _admit("Events", {"Service": f"events.{SERVICE_SUFFIX}"}, WRITE_ACTIONS, of_account),
            *(
                _admit(
                    sender.capitalize(), {"Service": f"{sender}.{SERVICE_SUFFIX}"}, WRITE_ACTIONS, of_account
                )
                for sender in senders
            ),
            _admit(
                "Logs",
                {"Service": f"logs.{region}.{dns_suffix}"},
                WHOLE_USE_ACTIONS,
                {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
            ),
            # Disks of nodes. KMS refuses a principal that is not there, and the role comes with an account's
            # first Auto Scaling group: so it is a condition.
            _admit("Disks", {"AWS": "*"}, WHOLE_USE_ACTIONS, scaling),
            _admit(
                "DisksOfInstances",
                {"AWS": "*"},
                ["kms:CreateGrant"],
                {**scaling, "Bool": {"kms:GrantIsForAWSResource": "true"}},
            ),
        ],
    }


def _admit(
    sid: str,
    principal: Mapping[str, str],
    actions: Sequence[str],
    condition: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """One statement; a key's policy is about that key alone, which it calls `*`."""
    statement: dict[str, object] = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": principal,
        "Action": list(actions),
        "Resource": "*",
    }
    return {**statement, "Condition": condition} if condition else statement
