"""What a VPC without a way to the internet reaches: AWS by endpoints, and models that lie near. Pure.

An interface endpoint bills by the hour and zone, so there is none without its reason.
"""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from components.suitability import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.model_section import Model
    from components.sections import Network


class Endpoint(NamedTuple):
    """One interface endpoint.

    Attributes:
        service: the end of its service's name, after `com.amazonaws.<region>.`.
        actions: the prefix of the service's actions in an IAM policy.
        reason: who calls it, and for what.
        guarded: whether it takes what a document says: then it is for this account's own identities alone.
    """

    service: str
    actions: str
    reason: str
    guarded: bool = False


ENDPOINTS = (
    Endpoint("autoscaling", "autoscaling", "the Cluster Autoscaler reads and resizes node groups"),
    Endpoint("ec2", "ec2", "nodes learn their own names; the VPC CNI gives pods their addresses"),
    Endpoint("ecr.api", "ecr", "kubelet gets the token with which it pulls images"),
    Endpoint("ecr.dkr", "ecr", "containerd pulls manifests, of the EKS add-ons too; layers come from S3"),
    Endpoint("eks", "eks", "nodes ask how to join; the Cluster Autoscaler reads labels of empty groups"),
    Endpoint("eks-auth", "eks-auth", "the Pod Identity agent gets every pod's credentials"),
    Endpoint("elasticfilesystem", "elasticfilesystem", "the EFS driver looks up what DNS does not name"),
    Endpoint("events", "events", "workers say that a document is done", guarded=True),
    Endpoint("monitoring", "cloudwatch", "workers publish their metrics", guarded=True),
    Endpoint("sqs", "sqs", "workers take documents, KEDA reads the length of queues", guarded=True),
    Endpoint("sts", "sts", "the EKS user guide asks for it beside the Cluster Autoscaler (private clusters)"),
)
"""Beside the gateway endpoint of S3, which every VPC has and which costs nothing."""

NOT_CALLED = {
    "kms": "S3 and SQS call it for whoever reads and writes there; pods never do",
}
"""Services that a pod's or a node's policy may name and that nothing in the VPC calls itself."""

PRIVATE_DOMAIN = ".internal"
"""Names that the public DNS will never know (ICANN, 2024); a VPC's own names end in it too."""

PRIVATE_RANGES = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""RFC 1918."""

PUBLIC_REGISTRY = "registry.ollama.ai"


def own_identities(account_id: str) -> str:
    """An endpoint's policy: whoever belongs to the account, as far as their own policies go, and nobody else.

    Without it somebody in a pod could carry text out by credentials of another account. The principal is a
    condition, because gateway endpoints take an account by name for its root user alone (PrivateLink guide).
    """
    return _policy(_own(account_id))


def s3_policy(account_id: str, partition: str, region: str) -> str:
    """The same for S3, and the bucket that ECR keeps layers in, which it reads by URLs of its own signing.

    Source: ECR user guide, "Minimum Amazon S3 bucket permissions for Amazon ECR".
    """
    return _policy(
        _own(account_id),
        {
            "Sid": "LayersOfImages",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:{partition}:s3:::prod-{region}-starport-layer-bucket/*",
        },
    )


def _own(account_id: str) -> dict[str, object]:
    return {
        "Sid": "OwnIdentities",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalAccount": account_id}},
    }


def _policy(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def problems(model: Model, network: Network | None) -> Iterator[Problem]:
    """Whether a model's registry lies where the network does not reach.

    Args:
        model: which is pulled from a registry, whole or its base, or made of files.
        network: None where its own config is wrong.
    """
    pulled = model.spec.source.pulled
    if network is None or network.egress != "endpoints" or pulled is None or pulled.pull_name is None:
        return
    host = _registry(pulled.pull_name)
    if _is_near(host):
        return
    key, given = ("from", model.from_) if model.from_ is not None else ("modelfile", model.modelfile)
    yield Problem(
        (key,),
        given,
        f"comes from {host}, which `egress: endpoints` does not reach; build it of files in S3 (s3://...), "
        f"or name a registry in the VPC by its private address or by a name that ends in {PRIVATE_DOMAIN}",
    )


def _registry(name: str) -> str:
    """The host of `[https://][host[:port]/][namespace/]model[:tag]`; without one, the public registry."""
    host, *rest = name.removeprefix("https://").split("/")
    return (urlsplit(f"//{host}").hostname or host) if len(rest) > 1 else PUBLIC_REGISTRY


def _is_near(host: str) -> bool:
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return host.endswith(PRIVATE_DOMAIN)
    return any(address in network for network in PRIVATE_RANGES)
