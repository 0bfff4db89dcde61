"""Rules of who can reach what: nothing is public, nothing is spoken in the clear, no pod is its node."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from tests.graph.rules.policies import label, statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.graph import Graph, Resource

BLOCKED = {
    "blockPublicAcls": True,
    "blockPublicPolicy": True,
    "ignorePublicAcls": True,
    "restrictPublicBuckets": True,
}


def settings_of(bucket: Resource, graph: Graph, kind: str) -> list[Resource]:
    """A bucket's settings of a kind such as `BucketVersioning`."""
    token = f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind}"
    return [each for each in graph.of_type(token) if each.inputs["bucket"] == bucket.outputs["bucket"]]


def buckets_are_private(graph: Graph) -> Iterator[str]:
    """Each blocks public access in all four ways, and knows no access control lists."""
    for bucket in graph.of_type("aws:s3/bucket:Bucket"):
        blocks = settings_of(bucket, graph, "BucketPublicAccessBlock")
        owners = settings_of(bucket, graph, "BucketOwnershipControls")
        if not any(BLOCKED.items() <= each.inputs.items() for each in blocks):
            yield f"{label(bucket)}: does not block public access"
        if [each.inputs["rule"] for each in owners] != [{"objectOwnership": "BucketOwnerEnforced"}]:
            yield f"{label(bucket)}: has access control lists"


def networks_let_in_private_addresses_alone(graph: Graph) -> Iterator[str]:
    """No security group and no API server is open to the internet, and no instance has an address there."""
    for resource in graph.resources.values():
        for place, cidr in _ways_in(resource):
            network = ip_network(cidr)
            if network.prefixlen == 0 or (place != "publicAccessCidrs" and not network.is_private):
                yield f"{label(resource)}: {place} lets in {cidr}"
    for cluster in graph.of_type("eks:index:Cluster"):
        if cluster.inputs["endpointPublicAccess"] and not cluster.inputs.get("publicAccessCidrs"):
            yield f"{label(cluster)}: everybody reaches its API"
    for subnet in graph.of_type("aws:ec2/subnet:Subnet"):
        if subnet.inputs.get("mapPublicIpOnLaunch"):
            yield f"{label(subnet)}: gives instances public addresses"


def _ways_in(resource: Resource) -> Iterator[tuple[str, str]]:
    """Each network that a resource lets in, and the input that says so."""
    inputs = resource.inputs
    yield from (("publicAccessCidrs", cidr) for cidr in inputs.get("publicAccessCidrs", []))
    if "SecurityGroup" not in resource.type or "Egress" in resource.type:
        return
    rules: list[dict[str, Any]] = [inputs, *inputs.get("ingress", [])]
    for rule in rules:
        yield from ((key, rule[key]) for key in ("cidrIpv4", "cidrIpv6") if key in rule)
        for key in ("cidrBlocks", "ipv6CidrBlocks"):
            yield from ((key, cidr) for cidr in rule.get(key, []))


def nothing_is_published_by_kubernetes(graph: Graph) -> Iterator[str]:
    """There is no load balancer, no node port and no ingress."""
    for service in graph.of_type("kubernetes:core/v1:Service"):
        if service.inputs["spec"].get("type", "ClusterIP") != "ClusterIP":
            yield f"{label(service)}: is a {service.inputs['spec']['type']}"
    for ingress in graph.of_type("kubernetes:networking.k8s.io/v1:Ingress"):
        yield f"{label(ingress)}: is an ingress"


def nothing_is_spoken_in_the_clear(graph: Graph) -> Iterator[str]:
    """Buckets, queues and file systems refuse everybody who comes without TLS."""
    guarded = {
        arn
        for statement in statements(graph, "BucketPolicy", "QueuePolicy", "FileSystemPolicy")
        if not statement.allow
        and statement.principals == ("AWS:*",)
        and statement.condition == {"Bool": {"aws:SecureTransport": "false"}}
        and _all_of_it(statement.actions)
        for arn in statement.resources
    }
    for token in ("aws:s3/bucket:Bucket", "aws:sqs/queue:Queue", "aws:efs/fileSystem:FileSystem"):
        for resource in graph.of_type(token):
            arn = resource.outputs["arn"]
            if {arn, f"{arn}/*"} - guarded if token.endswith("Bucket") else arn not in guarded:
                yield f"{label(resource)}: can be used without TLS"


def _all_of_it(actions: tuple[str, ...]) -> bool:
    clients = {f"elasticfilesystem:Client{name}" for name in ("Mount", "Write", "RootAccess")}
    return actions in {("s3:*",), ("sqs:*",)} or {*actions} == clients


def pods_are_not_their_nodes(graph: Graph) -> Iterator[str]:
    """Every node has a launch template, and each of these wants IMDSv2 with one hop: out of pods' reach."""
    for template in graph.of_type("aws:ec2/launchTemplate:LaunchTemplate"):
        metadata = template.inputs.get("metadataOptions", {})
        if (metadata.get("httpTokens"), metadata.get("httpPutResponseHopLimit")) != ("required", 1):
            yield f"{label(template)}: pods reach the metadata service"
    for group in graph.of_type("aws:eks/nodeGroup:NodeGroup"):
        if "launchTemplate" not in group.inputs:
            yield f"{label(group)}: has no launch template"


RULES = (
    buckets_are_private,
    networks_let_in_private_addresses_alone,
    nothing_is_published_by_kubernetes,
    nothing_is_spoken_in_the_clear,
    pods_are_not_their_nodes,
)
