"""What lies in the stack's own AWS account, by its full name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

if TYPE_CHECKING:
    from components.stack import Stack


def arn(service: str, region: str, resource: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The ARN of something in this account, or of all that a pattern such as `nodegroup/dev/*` matches."""
    invoke = pulumi.InvokeOutputOptions(parent=opts.parent)
    return pulumi.Output.format(
        "arn:{0}:{1}:{2}:{3}:{4}",
        aws.get_partition_output(opts=invoke).partition,
        service,
        region,
        aws.get_caller_identity_output(opts=invoke).account_id,
        resource,
    )


def registry(upstream: str, stack: Stack, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
    """Where images of an upstream registry are pulled from: there, or from their copies in this account.

    Copies keep the upstream repository's path and tag; docs/mirror.md lists them.
    """
    if not stack.settings.mirror:
        return upstream
    invoke = pulumi.InvokeOutputOptions(parent=opts.parent)
    return pulumi.Output.format(
        "{0}.dkr.ecr.{1}.{2}",
        aws.get_caller_identity_output(opts=invoke).account_id,
        stack.region,
        aws.get_partition_output(opts=invoke).dns_suffix,
    )
