"""The EKS cluster's control plane, and the one Kubernetes provider that everything inside it uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_eks as eks
import pulumi_kubernetes as kubernetes

if TYPE_CHECKING:
    from components.network import Network
    from components.stack import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterArgs:
    """The stack says version and access, the network is where the control plane meets its nodes."""

    stack: Stack
    network: Network


class Cluster(pulumi.ComponentResource):
    """A control plane with access entries only, and nothing on it that another component owns."""

    name: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    provider: kubernetes.Provider

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Cluster", name, None, opts)

        settings = args.stack.settings
        cluster = eks.Cluster(
            name,
            name=args.stack.cluster_name,
            version=settings.kubernetes_version,
            vpc_id=args.network.vpc_id,
            private_subnet_ids=args.network.private_subnet_ids,
            endpoint_private_access=True,
            endpoint_public_access=bool(settings.api.public_cidrs),
            public_access_cidrs=list(settings.api.public_cidrs) or None,
            authentication_mode=eks.AuthenticationMode.API,
            enabled_cluster_log_types=["api", "audit", "authenticator"],
            # Extended support costs several times as much, and begins by itself.
            upgrade_policy={"support_type": "STANDARD"},
            # Nodes, add-ons and their groups are other components; mocks see no children of this one.
            skip_default_node_group=True,
            skip_default_security_groups=True,
            create_instance_role=False,
            create_oidc_provider=False,
            bootstrap_self_managed_addons=False,
            use_default_vpc_cni=True,
            coredns_addon_options={"enabled": False},
            kube_proxy_addon_options={"enabled": False},
            opts=pulumi.ResourceOptions(parent=self),
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
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"name": self.name, "securityGroupId": self.security_group_id})
