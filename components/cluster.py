"""The EKS cluster's control plane, and the one Kubernetes provider that everything inside it uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks
import pulumi_kubernetes as kubernetes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from components.network import Network
    from components.stack import Stack

LOG_TYPES = ("api", "audit", "authenticator")
"""Who did what, who was let in, and why the API refused it. CloudWatch bills logs by the byte, and what the
scheduler and the controller manager would say is in the events of pods and nodes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterArgs:
    """The stack says version and access, the network is where the control plane meets its nodes.

    Attributes:
        key_arn: key that Kubernetes' objects and the logs are encrypted with; AWS's own for None.
    """

    stack: Stack
    network: Network
    key_arn: pulumi.Output[str] | None = None


class Cluster(pulumi.ComponentResource):
    """A control plane with access entries only, and nothing on it that another component owns."""

    name: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    provider: kubernetes.Provider

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Cluster", name, None, opts)

        settings = args.stack.settings
        logs = aws.cloudwatch.LogGroup(
            name,
            # The one name that EKS writes to.
            name=f"/aws/eks/{args.stack.cluster_name}/cluster",
            retention_in_days=settings.log_retention_days,
            kms_key_id=args.key_arn,
            opts=pulumi.ResourceOptions(parent=self),
        )
        cluster = eks.Cluster(
            name,
            name=args.stack.cluster_name,
            version=settings.kubernetes_version,
            # Extended support costs several times as much, and begins by itself.
            upgrade_policy={"support_type": "STANDARD"},
            # It cannot be taken back. Without one, EKS encrypts all objects with a key of AWS.
            encryption_config_key_arn=args.key_arn,
            enabled_cluster_log_types=list(LOG_TYPES),
            vpc_id=args.network.vpc_id,
            private_subnet_ids=args.network.control_plane_subnet_ids,
            endpoint_private_access=True,
            endpoint_public_access=bool(settings.api.public_cidrs),
            public_access_cidrs=list(settings.api.public_cidrs) or None,
            # The deployer is an administrator by creating the cluster; pulumi-eks leaves no choice in that.
            authentication_mode=eks.AuthenticationMode.API,
            access_entries=admin_entries(settings.admins),
            # Nodes, add-ons and their groups are other components; mocks see no children of this one.
            skip_default_node_group=True,
            skip_default_security_groups=True,
            create_instance_role=False,
            create_oidc_provider=False,
            bootstrap_self_managed_addons=False,
            use_default_vpc_cni=True,
            coredns_addon_options={"enabled": False},
            kube_proxy_addon_options={"enabled": False},
            # Created after: EKS makes a log group that it misses, one that keeps everything for ever.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs]),
        )
        self.name = cluster.eks_cluster.apply(lambda made: made.name)
        # The group that EKS makes for the control plane and puts on every managed node.
        self.security_group_id = cluster.eks_cluster.apply(
            lambda made: made.vpc_config.apply(lambda config: str(config.cluster_security_group_id))
        )
        self.provider = kubernetes.Provider(
            name,
            # Not `kubeconfig`: its JSON has no stable key order, and every preview would show a change.
            kubeconfig=cluster.kubeconfig_json,
            # A new provider replaces all that it made: only another cluster is a reason for one.
            cluster_identifier=cluster.eks_cluster.apply(lambda made: made.endpoint),
            enable_server_side_apply=True,
            # `delete_unreachable` stays off: what cannot be reached would be forgotten, and go on running.
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"name": self.name, "securityGroupId": self.security_group_id})


def admin_entries(principals: Iterable[str]) -> dict[str, eks.AccessEntryArgs]:
    """An entry for each IAM principal that administers the whole cluster, by a key of its own."""
    return {
        _key(arn): eks.AccessEntryArgs(
            principal_arn=arn,
            access_policies={
                "admin": eks.AccessPolicyAssociationArgs(
                    policy_arn=f"arn:{_partition(arn)}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
                    access_scope=aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
                )
            },
        )
        for arn in principals
    }


def _partition(arn: str) -> str:
    return arn.split(":")[1]


def _key(arn: str) -> str:
    """`123456789012-role-Operators`: part of a resource's name, and the same in whatever order they stand."""
    account, resource = arn.split(":")[4:]
    return f"{account}-{resource.replace('/', '-')}"
