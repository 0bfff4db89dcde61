"""The Cluster Autoscaler: a node for every pod that waits for one, and none for long without a pod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components import account
from components.autoscaler_tags import UNNEEDED_TIME
from components.names import POOL_LABEL, SYSTEM_POOL
from components.nodes import MOST_SYSTEM_NODES
from components.pod_identity import Allow, PodIdentity, PodIdentityArgs
from components.versions import (
    CLUSTER_AUTOSCALER,
    CLUSTER_AUTOSCALER_CHART,
    CLUSTER_AUTOSCALER_REPOSITORY,
)

if TYPE_CHECKING:
    from components.nodes import Nodes
    from components.stack import Stack

NAMESPACE = "kube-system"
SERVICE_ACCOUNT = "cluster-autoscaler"

LONGEST_GRACE_SECONDS = 13 * 3600
"""More than any pod's grace period: `timeLimit` stays under 12 hours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterAutoscalerArgs:
    """The stack, for whose cluster it is, the cluster's name once it can be used, and its nodes."""

    stack: Stack
    cluster_name: pulumi.Input[str]
    nodes: Nodes


class ClusterAutoscaler(pulumi.ComponentResource):
    """The autoscaler, on the system nodes; it may resize this cluster's node groups and no others."""

    def __init__(
        self, name: str, args: ClusterAutoscalerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("ollama-eks:index:ClusterAutoscaler", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        rights = PodIdentity(
            name,
            PodIdentityArgs(
                cluster_name=args.cluster_name,
                namespace=NAMESPACE,
                service_account=SERVICE_ACCOUNT,
                allow=_rights(args.stack, child),
            ),
            child,
        )
        kubernetes.helm.v3.Release(
            name,
            name="cluster-autoscaler",
            chart="cluster-autoscaler",
            version=CLUSTER_AUTOSCALER_CHART,
            namespace=NAMESPACE,
            repository_opts={"repo": CLUSTER_AUTOSCALER_REPOSITORY},
            values=_values(args.stack, account.registry("registry.k8s.io", args.stack, child)),
            # Created after its rights: pods get credentials when they are admitted, never later. And after
            # the nodes that its pod needs; deleted before them.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights, args.nodes]),
        )
        self.register_outputs({})


def _values(stack: Stack, registry: pulumi.Input[str]) -> dict[str, pulumi.Input[object]]:
    """What differs from the chart's own values: its priority, pull policy and discovery tags are right.

    Neither is there an expander: a pod's node selector leaves one group for it. Nor the built-in list of
    instance types, which lacks some; it is what the autoscaler falls back on when EC2 cannot be asked.
    """
    return {
        # The name of the service account too.
        "fullnameOverride": SERVICE_ACCOUNT,
        "image": {
            "repository": pulumi.Output.concat(registry, "/autoscaling/cluster-autoscaler"),
            "tag": CLUSTER_AUTOSCALER[stack.settings.kubernetes_version],
        },
        "awsRegion": stack.region,
        "autoDiscovery": {"clusterName": stack.cluster_name},
        "nodeSelector": {POOL_LABEL: SYSTEM_POOL},
        # As upstream's own manifest for AWS has them; it holds every pod and node of the cluster in memory.
        "resources": {
            "requests": {"cpu": "100m", "memory": "600Mi"},
            "limits": {"memory": "600Mi"},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containerSecurityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "extraArgs": {
            # Until it is over no node goes, of whatever pool: with ten minutes, as it is by default, every
            # new node would keep all idle ones. For how long a node has to be idle is a tag of its group.
            "scale-down-delay-after-add": UNNEEDED_TIME,
            # What all models can fill at once; their groups have no ceiling of their own.
            "max-nodes-total": str(MOST_SYSTEM_NODES + sum(pool.max_nodes for pool in stack.settings.pools)),
            # Several times what a GPU node takes; then its group rests, and the pod's events say so.
            "max-node-provision-time": "10m",
            # By default it cuts the grace period of a pod that it evicts to ten minutes.
            "max-graceful-termination-sec": str(LONGEST_GRACE_SECONDS),
            # No emptyDir here holds what would be missed; one alone would keep its node for ever.
            "skip-nodes-with-local-storage": "false",
        },
    }


def _rights(stack: Stack, opts: pulumi.ResourceOptions) -> tuple[Allow, ...]:
    """What it calls at these versions on groups with launch templates: less than its manual asks for.

    Not `DescribeLaunchConfigurations`, `DescribeImages` and `GetInstanceTypesFromInstanceRequirements`, for
    groups that EKS does not make, nor `DescribeAutoScalingInstances`, which it does not call.
    """
    return (
        Allow(
            actions=(
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeScalingActivities",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplateVersions",
            ),
            # The actions know no resources (service authorization reference, EC2 and EC2 Auto Scaling).
            resources=("*",),
        ),
        Allow(
            # Labels and taints of a group that has no node to show them.
            actions=("eks:DescribeNodegroup",),
            resources=(account.arn("eks", stack.region, f"nodegroup/{stack.cluster_name}/*", opts),),
        ),
        Allow(
            actions=("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"),
            # Names of groups are EKS's own; it puts the tag on each of them.
            resources=(
                account.arn("autoscaling", stack.region, "autoScalingGroup:*:autoScalingGroupName/*", opts),
            ),
            only_if={f"aws:ResourceTag/k8s.io/cluster-autoscaler/{stack.cluster_name}": "owned"},
        ),
    )
