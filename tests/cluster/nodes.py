"""A graph's node groups as simulated nodes, with the labels, taints and amounts that theirs would have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.instances import INSTANCES, Instance
from components.names import POOL_LABEL

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


def groups(graph: Graph) -> list[Group]:
    """Every node group of a graph."""
    found: list[Group] = []
    for resource in graph.of_type(NODE_GROUP):
        (instance_type,) = resource.inputs["instanceTypes"]
        taints = resource.inputs.get("taints") or ()
        found.append(
            Group(
                pool=resource.inputs["labels"][POOL_LABEL],
                most=int(resource.inputs["scalingConfig"]["maxSize"]),
                labels=resource.inputs["labels"],
                taints=tuple({**taint, "effect": EFFECTS[taint["effect"]]} for taint in taints),
                instance=(INSTANCES | SYSTEM_INSTANCES)[instance_type],
            )
        )
    return found
