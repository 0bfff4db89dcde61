"""Pools of model nodes: one for each instance type that a stack's models run on. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.fit import pods_per_node
from components.instances import ACCELERATOR_LABEL, INSTANCES, Instance
from components.names import POOL_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from components.fit import Place


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes of one type; its name is also the value of their label and taint.

    Attributes:
        instance_type: EC2 type.
        max_nodes: what the pool's models can fill at once; at least 1, which is the least that EKS takes.
    """

    instance_type: str
    max_nodes: int

    @property
    def key(self) -> str:
        """The pool's part of a resource's name: the same whatever other pools there are."""
        return self.instance_type.replace(".", "-")

    @property
    def labels(self) -> dict[str, str]:
        """Of the pool's nodes: which they are, and that their GPUs may still be on the way."""
        accelerator = self.instance.accelerator
        return {POOL_LABEL: self.instance_type} | ({ACCELERATOR_LABEL: accelerator} if accelerator else {})

    @property
    def instance(self) -> Instance:
        """What the type offers."""
        return INSTANCES[self.instance_type]


def pools(models: Iterable[tuple[Place, int]]) -> tuple[Pool, ...]:
    """The pools of some models, in the order in which the models first name them.

    Args:
        models: of each model where its pods run, and how many there can be.
    """
    shapes: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for place, instances in models:
        shapes[place.instance_type][pods_per_node(place.instance, place.gpus)] += instances
    return tuple(Pool(instance_type, _nodes(pods)) for instance_type, pods in shapes.items())


def _nodes(pods: dict[int, int]) -> int:
    """Nodes for pods by how many of their kind share one.

    Pods of one size fill one node after the other. Where sizes differ, a node with a small pod on it may
    have no room for a big one, so in the end each pod can need a node of its own.
    """
    share = next(iter(pods)) if len(pods) == 1 else 1
    return max(1, -(-sum(pods.values()) // share))
