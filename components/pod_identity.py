"""An AWS role for one service account, by EKS Pod Identity."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "pods.eks.amazonaws.com"},
                "Action": ["sts:AssumeRole", "sts:TagSession"],
            }
        ],
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Allow:
    """One statement of a role's own policy.

    Attributes:
        actions: IAM actions, each spelled out.
        resources: ARNs that they are allowed on.
        only_if: what else has to hold, as IAM's StringEquals takes it.
        only_with: condition keys that a request has to have at all, whatever they hold.
    """

    actions: tuple[str, ...]
    resources: tuple[pulumi.Input[str], ...]
    only_if: Mapping[str, pulumi.Input[str] | Sequence[pulumi.Input[str]]] | None = None
    only_with: tuple[str, ...] = ()

    @property
    def statement(self) -> dict[str, object]:
        """The statement as IAM writes it."""
        conditions = {
            "StringEquals": dict(self.only_if or {}),
            "Null": dict.fromkeys(self.only_with, "false"),
        }
        condition = {operator: keys for operator, keys in conditions.items() if keys}
        return {
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": list(self.resources),
            **({"Condition": condition} if condition else {}),
        }


def policy_document(allow: Iterable[Allow]) -> pulumi.Output[str]:
    """The statements as one policy, in JSON."""
    return pulumi.Output.json_dumps(
        {"Version": "2012-10-17", "Statement": [each.statement for each in allow]}
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class PodIdentityArgs:
    """Who gets which rights.

    Attributes:
        cluster_name: the EKS cluster.
        namespace: namespace of the service account.
        service_account: its name.
        allow: statements of the role's own policy.
        managed_policy: name of one AWS managed policy, such as `AmazonEKS_CNI_Policy`.
    """

    cluster_name: pulumi.Input[str]
    namespace: pulumi.Input[str]
    service_account: str
    allow: tuple[Allow, ...] = ()
    managed_policy: str | None = None


class PodIdentity(pulumi.ComponentResource):
    """A role that the pods of one service account have; usable from the moment that it is published.

    Pods get their credentials when they are admitted, never later: whatever runs under the account has to
    depend on this component.
    """

    role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: PodIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:PodIdentity", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        role = aws.iam.Role(name, assume_role_policy=TRUST, opts=child)
        rights: list[pulumi.Resource] = []
        if args.allow:
            rights.append(
                aws.iam.RolePolicy(name, role=role.id, policy=policy_document(args.allow), opts=child)
            )
        if args.managed_policy:
            rights.append(
                aws.iam.RolePolicyAttachment(
                    name,
                    role=role.id,
                    policy_arn=managed_policy_arn(args.managed_policy, child),
                    opts=child,
                )
            )
        association = aws.eks.PodIdentityAssociation(
            name,
            cluster_name=args.cluster_name,
            namespace=args.namespace,
            service_account=args.service_account,
            role_arn=role.arn,
            # Created after: a pod that starts between the two would have a role without rights.
            opts=pulumi.ResourceOptions(parent=self, depends_on=rights),
        )
        self.role_arn = association.role_arn
        self.register_outputs({"roleArn": self.role_arn})


def managed_policy_arn(policy: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The ARN of an AWS managed policy in whatever partition the stack lies."""
    partition = aws.get_partition_output(opts=pulumi.InvokeOutputOptions(parent=opts.parent)).partition
    return pulumi.Output.format("arn:{0}:iam::aws:policy/{1}", partition, policy)
