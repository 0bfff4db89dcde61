"""What runs on the nodes once they are there: DNS, the EFS driver and KEDA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.names import POOL_LABEL, SYSTEM_POOL
from components.pod_identity import Allow, PodIdentity, PodIdentityArgs
from components.versions import KEDA_CHART, KEDA_REPOSITORY

if TYPE_CHECKING:
    from components.cluster import Cluster
    from components.model_queue import ModelQueue

KEDA_NAMESPACE = "keda"
KEDA_SERVICE_ACCOUNT = "keda-operator"
"""Both are the chart's own names."""

TRIGGER_AUTHENTICATION = "aws-pod-identity"
"""How ScaledObjects refer to KEDA's own rights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AddonsArgs:
    """The cluster that gets the add-ons, and the queues whose length KEDA may read."""

    cluster: Cluster
    queues: tuple[ModelQueue, ...]


class Addons(pulumi.ComponentResource):
    """CoreDNS, the EFS CSI driver and KEDA, each with no more AWS rights than it needs."""

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
                opts=pulumi.ResourceOptions(parent=self, depends_on=needs),
            )
        keda_rights = PodIdentity(
            f"{name}-keda",
            PodIdentityArgs(
                cluster_name=args.cluster.name,
                namespace=KEDA_NAMESPACE,
                service_account=KEDA_SERVICE_ACCOUNT,
                allow=(
                    Allow(
                        actions=("sqs:GetQueueAttributes",),
                        resources=tuple(queue.arn for queue in args.queues),
                    ),
                ),
            ),
            child,
        )
        keda = kubernetes.helm.v3.Release(
            f"{name}-keda",
            name="keda",
            chart="keda",
            version=KEDA_CHART,
            namespace=KEDA_NAMESPACE,
            create_namespace=True,
            repository_opts={"repo": KEDA_REPOSITORY},
            values={"nodeSelector": {POOL_LABEL: SYSTEM_POOL}},
            # Created after its rights: pods get credentials when they are admitted, never later.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[keda_rights]),
        )
        kubernetes.apiextensions.CustomResource(
            f"{name}-keda",
            api_version="keda.sh/v1alpha1",
            kind="ClusterTriggerAuthentication",
            metadata={"name": TRIGGER_AUTHENTICATION},
            spec={"podIdentity": {"provider": "aws"}},
            # Deleted before KEDA: its finaliser needs the operator.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[keda]),
        )
        self.register_outputs({})
