"""Which changes the real providers answer with a new object: no SDK says so.

Only for what the edits of the tests change. Of AWS it is `ForceNew` in the schemas of
github.com/hashicorp/terraform-provider-aws, which pulumi-aws is made of; of Kubernetes
`provider/pkg/provider/diff.go` of github.com/pulumi/pulumi-kubernetes.
"""

from __future__ import annotations

from typing import Any

REPLACED_BY: dict[str, tuple[str, ...]] = {
    # internal/service/autoscaling/group_tag.go
    "aws:autoscaling/tag:Tag": ("autoscalingGroupName", "tag.key"),
    # internal/service/events/target.go
    "aws:cloudwatch/eventTarget:EventTarget": ("eventBusName", "rule", "targetId"),
    # internal/service/ec2/vpc_subnet.go
    "aws:ec2/subnet:Subnet": ("availabilityZone", "cidrBlock", "vpcId"),
    # internal/service/eks/node_group.go
    "aws:eks/nodeGroup:NodeGroup": (
        "amiType",
        "capacityType",
        "clusterName",
        "instanceTypes",
        "launchTemplate.id",
        "nodeRoleArn",
        "subnetIds",
    ),
    # `forceNew`, and for a ConfigMap that is not declared mutable, `forceNewProperties`.
    "kubernetes:apps/v1:Deployment": ("spec.selector",),
    "kubernetes:batch/v1:Job": ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    "kubernetes:core/v1:ConfigMap": ("binaryData", "data"),
}

_EVERY_OBJECT = ("metadata.name", "metadata.namespace")
"""`metadataForceNewProperties` of the same file."""


def replaced_by(token: str) -> tuple[str, ...]:
    """Paths of the inputs whose change makes a new object."""
    of_kubernetes = _EVERY_OBJECT if token.startswith("kubernetes:") else ()
    return REPLACED_BY.get(token, ()) + of_kubernetes


def leaves(value: Any, path: str = "") -> dict[str, Any]:  # noqa: ANN401  whatever JSON holds
    """For each path, such as `spec.containers[0].image`, its value; what is empty is a leaf too."""
    if isinstance(value, dict) and value:
        items = [(f"{path}.{key}" if path else key, item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {path: value}
    return {at: leaf for here, item in items for at, leaf in leaves(item, here).items()}


def changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Paths at which two maps of inputs differ."""
    before, after = leaves(old), leaves(new)
    absent = object()
    return sorted(
        path for path in before.keys() | after.keys() if before.get(path, absent) != after.get(path, absent)
    )


def below(path: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a path is one of these, or lies below one."""
    return any(path == each or path.startswith((f"{each}.", f"{each}[")) for each in prefixes)
