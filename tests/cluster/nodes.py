"""A graph's node groups as simulated nodes, with the labels, taints and amounts that theirs would have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.instances import INSTANCES, Instance
from components.names import POOL_LABEL, SYSTEM_POOL
from components.nodes import MOST_SYSTEM_NODES

if TYPE_CHECKING:
    from cli.graph import Graph
    from tests.cluster.api import Object
    from tests.cluster.cluster import Cluster

NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
"""EKS's spelling and Kubernetes' own."""

SYSTEM_INSTANCES = {"t3.large": Instance(vcpus=2, memory_mib=8192)}
"""Of types that no model runs on (EC2 DescribeInstanceTypes)."""

RESERVED_MIB = 1024
"""What a node keeps of its memory for the kubelet and the system: about what EKS's own formula says,
255 MiB and 11 MiB for each of 58 pods, and 100 MiB below which pods are evicted."""


@dataclass(frozen=True, slots=True)
class Group:
    """One node group.

    Attributes:
        pool: the value of its nodes' pool label.
        most: nodes that it may have.
    """

    pool: str
    most: int
    labels: dict[str, str]
    taints: tuple[Object, ...]
    instance: Instance

    def add_nodes(self, cluster: Cluster, count: int) -> None:
        """Adds nodes until there are so many, as the autoscaler would."""
        there = cluster.api.list("v1", "Node", labels=f"{POOL_LABEL}={self.pool}")
        for number in range(len(there), count):
            cluster.add_node(
                f"{self.pool}-{number}",
                labels=self.labels,
                taints=self.taints,
                gpus=self.instance.gpus,
                cpu=str(self.instance.vcpus),
                memory=f"{self.instance.memory_mib - RESERVED_MIB}Mi",
            )


def _most(graph: Graph, pool: str) -> int:
    """A node for each pod that there can be, and the system's own."""
    if pool == SYSTEM_POOL:
        return MOST_SYSTEM_NODES
    ceilings = {
        each.name: int(each.inputs["spec"]["maxReplicaCount"])
        for each in graph.of_type("kubernetes:keda.sh/v1alpha1:ScaledObject")
    }
    return sum(
        ceilings[each.name]
        for each in graph.of_type("kubernetes:apps/v1:Deployment")
        if each.inputs["spec"]["template"]["spec"]["nodeSelector"][POOL_LABEL] == pool
    )


def groups(graph: Graph) -> list[Group]:
    """Every node group of a graph."""
    found: list[Group] = []
    for resource in graph.of_type(NODE_GROUP):
        (instance_type,) = resource.inputs["instanceTypes"]
        taints = resource.inputs.get("taints") or ()
        found.append(
            Group(
                pool=resource.inputs["labels"][POOL_LABEL],
                most=_most(graph, resource.inputs["labels"][POOL_LABEL]),
                labels=resource.inputs["labels"],
                taints=tuple({**taint, "effect": EFFECTS[taint["effect"]]} for taint in taints),
                instance=(INSTANCES | SYSTEM_INSTANCES)[instance_type],
            )
        )
    return found
