"""Who may reach what: network policies as pure values, one for each need. `docs/network.md` has the table.

Policies add up. A pod that `DEFAULT_DENY` selects reaches what any other policy allows it, and is reached by
its own node alone: no pod of this system is asked anything by another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_kubernetes.meta import v1 as meta
from pulumi_kubernetes.networking import v1 as networking

if TYPE_CHECKING:
    from collections.abc import Mapping

HTTPS_PORT = 443

LINK_LOCAL = "169.254.0.0/16"
"""What the node itself offers, its metadata service among it, is no pod's business, but for one address."""

POD_IDENTITY_AGENT = "169.254.170.23/32"
"""Gives a pod its AWS credentials, by port 80 (EKS user guide, "Pod Identity agent")."""

API_SERVER = ("10.100.0.1/32", "172.20.0.1/32")
"""The Service `kubernetes`: the first address of its range, which is one of two where EKS is given none (EKS
API reference, KubernetesNetworkConfigRequest). The VPC CNI sees a packet before kube-proxy sends it on to an
address of the API server itself."""

DEFAULT_DENY = networking.NetworkPolicySpecArgs(
    pod_selector=meta.LabelSelectorArgs(), policy_types=["Ingress", "Egress"]
)


def egress(
    pods: Mapping[str, str], *rules: networking.NetworkPolicyEgressRuleArgs
) -> networking.NetworkPolicySpecArgs:
    """Lets the pods with these labels, or all of the namespace for none, reach what the rules say."""
    return networking.NetworkPolicySpecArgs(
        pod_selector=meta.LabelSelectorArgs(match_labels=dict(pods) or None),
        policy_types=["Egress"],
        egress=list(rules),
    )


def to_anywhere(port: int) -> networking.NetworkPolicyEgressRuleArgs:
    """TCP to one port of every address but the node's own services.

    AWS and registries have public addresses that change, and a policy knows no names.
    """
    everywhere = networking.IPBlockArgs(cidr="0.0.0.0/0", except_=[LINK_LOCAL])
    return networking.NetworkPolicyEgressRuleArgs(
        to=[networking.NetworkPolicyPeerArgs(ip_block=everywhere)], ports=[_port(port)]
    )


def _port(port: int, protocol: str = "TCP") -> networking.NetworkPolicyPortArgs:
    return networking.NetworkPolicyPortArgs(protocol=protocol, port=port)


def _to(port: int, *cidrs: str) -> networking.NetworkPolicyEgressRuleArgs:
    blocks = [networking.IPBlockArgs(cidr=cidr) for cidr in cidrs]
    return networking.NetworkPolicyEgressRuleArgs(
        to=[networking.NetworkPolicyPeerArgs(ip_block=block) for block in blocks], ports=[_port(port)]
    )


TO_DNS = networking.NetworkPolicyEgressRuleArgs(
    to=[
        networking.NetworkPolicyPeerArgs(
            # Kubernetes itself labels every namespace like this.
            namespace_selector=meta.LabelSelectorArgs(
                match_labels={"kubernetes.io/metadata.name": "kube-system"}
            ),
            pod_selector=meta.LabelSelectorArgs(match_labels={"k8s-app": "kube-dns"}),
        )
    ],
    ports=[_port(53, "UDP"), _port(53)],
)

TO_POD_IDENTITY = _to(80, POD_IDENTITY_AGENT)
TO_API_SERVER = _to(HTTPS_PORT, *API_SERVER)
TO_HTTPS = to_anywhere(HTTPS_PORT)
"""AWS, registries, and, since it has this port too, the API server."""
