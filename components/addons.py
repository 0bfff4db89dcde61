"""What every model needs of the cluster: DNS, the EFS driver and the autoscaler of its nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.autoscaler import ClusterAutoscaler, ClusterAutoscalerArgs
from components.pod_identity import PodIdentity, PodIdentityArgs

if TYPE_CHECKING:
    from components.cluster import Cluster
    from components.nodes import Nodes
    from components.stack import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class AddonsArgs:
    """The stack, the cluster that gets the add-ons, and the nodes that they run on."""

    stack: Stack
    cluster: Cluster
    nodes: Nodes


class Addons(pulumi.ComponentResource):
    """CoreDNS, the EFS CSI driver and the Cluster Autoscaler, each with no more AWS rights than it needs.

    All of them are needed until the last pod has left its node: to be found, to unmount, and to let idle
    nodes go while another pod still drains.

    Neither CoreDNS nor the driver's controller tolerates the taint of model nodes, so both are on system
    nodes. The driver's DaemonSet tolerates every taint (aws-efs-csi-driver 3.4.1, chart values).
    """

    def __init__(self, name: str, args: AddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Addons", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        efs_rights = PodIdentity(
            f"{name}-efs-csi",
            PodIdentityArgs(
                cluster_name=args.cluster.name,
                namespace="kube-system",
                service_account="efs-csi-controller-sa",
                managed_policy="service-role/AmazonEFSCSIDriverPolicy",
            ),
            child,
        )
        for addon, needs in (("coredns", []), ("aws-efs-csi-driver", [efs_rights])):
            aws.eks.Addon(
                f"{name}-{addon}",
                cluster_name=args.cluster.name,
                addon_name=addon,
                resolve_conflicts_on_create="OVERWRITE",
                resolve_conflicts_on_update="OVERWRITE",
                # Created after the nodes that it needs, and deleted before them.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[*needs, args.nodes]),
            )
        ClusterAutoscaler(
            f"{name}-autoscaler",
            ClusterAutoscalerArgs(stack=args.stack, cluster_name=args.cluster.name, nodes=args.nodes),
            child,
        )
        self.register_outputs({})
