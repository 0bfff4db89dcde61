"""Flow logs of a VPC: who talked to whom, and whether it was let through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components import account

if TYPE_CHECKING:
    from components.stack import Stack

WRITES = (
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "logs:DescribeLogGroups",
    "logs:DescribeLogStreams",
)
"""What AWS asks for (VPC user guide, "IAM role for publishing flow logs to CloudWatch Logs"), but for
`CreateLogGroup`: records come late, and would make the group again that `pulumi destroy` has just deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowLogsArgs:
    """What is recorded, and how it is kept.

    Attributes:
        stack: says for how many days.
        vpc_id: whose connections they are.
        key_arn: key that they are encrypted with; CloudWatch's own for None.
    """

    stack: Stack
    vpc_id: pulumi.Input[str]
    key_arn: pulumi.Output[str] | None = None


class FlowLogs(pulumi.ComponentResource):
    """Every connection of the VPC in a log group of its own, written by a role that can do nothing else."""

    def __init__(self, name: str, args: FlowLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:FlowLogs", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        group = aws.cloudwatch.LogGroup(
            name,
            retention_in_days=args.stack.settings.log_retention_days,
            kms_key_id=args.key_arn,
            opts=child,
        )
        own = aws.get_caller_identity_output(opts=pulumi.InvokeOutputOptions(parent=self))
        role = aws.iam.Role(
            name,
            assume_role_policy=pulumi.Output.json_dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                            # The service works for every account: only for this one may it take the role.
                            "Condition": {
                                "StringEquals": {"aws:SourceAccount": own.account_id},
                                "ArnLike": {
                                    "aws:SourceArn": account.arn(
                                        "ec2", args.stack.region, "vpc-flow-log/*", child
                                    )
                                },
                            },
                        }
                    ],
                }
            ),
            opts=child,
        )
        rights = aws.iam.RolePolicy(
            name,
            role=role.id,
            policy=pulumi.Output.json_dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": list(WRITES),
                            "Resource": pulumi.Output.concat(group.arn, ":*"),
                        }
                    ],
                }
            ),
            opts=child,
        )
        aws.ec2.FlowLog(
            name,
            vpc_id=args.vpc_id,
            traffic_type="ALL",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            # Created after its role's rights: without them the first delivery fails.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
        )
        self.register_outputs({})
