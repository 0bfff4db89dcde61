"""What a node needs before it can be ready: network, service routing and pod credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.pod_identity import PodIdentity, PodIdentityArgs

if TYPE_CHECKING:
    from components.cluster import Cluster


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeAddonsArgs:
    """The cluster whose nodes are made ready."""

    cluster: Cluster


class NodeAddons(pulumi.ComponentResource):
    """EKS add-ons that run on every node; nodes depend on them, since without a CNI none becomes ready.

    Model nodes too, without a word about their taint: these DaemonSets tolerate every one (charts aws-vpc-cni
    1.23.0 and eks-pod-identity-agent 0.1.37; kube-proxy as Kubernetes has it, and EKS has no key for it:
    aws/containers-roadmap#2604).
    """

    def __init__(self, name: str, args: NodeAddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:NodeAddons", name, None, opts)

        cni_rights = PodIdentity(
            f"{name}-vpc-cni",
            PodIdentityArgs(
                cluster_name=args.cluster.name,
                namespace="kube-system",
                service_account="aws-node",
                managed_policy="AmazonEKS_CNI_Policy",
            ),
            pulumi.ResourceOptions(parent=self),
        )
        for addon, needs in (
            ("eks-pod-identity-agent", []),
            ("kube-proxy", []),
            ("vpc-cni", [cni_rights]),
        ):
            aws.eks.Addon(
                f"{name}-{addon}",
                cluster_name=args.cluster.name,
                addon_name=addon,
                configuration_values='{"enableNetworkPolicy":"true"}' if addon == "vpc-cni" else None,
                resolve_conflicts_on_create="OVERWRITE",
                resolve_conflicts_on_update="OVERWRITE",
                opts=pulumi.ResourceOptions(parent=self, depends_on=needs),
            )
        self.register_outputs({})
