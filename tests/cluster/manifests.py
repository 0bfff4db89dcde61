"""A graph's Kubernetes half as the objects that Pulumi sends, in an order that keeps every dependency."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.graph import Graph, Resource
    from tests.cluster.api import Object

MANAGER = "pulumi-kubernetes"
"""Pulumi adds random digits, which stay the same for as long as an object lives."""

RELEASE = "kubernetes:helm.sh/v3:Release"
"""Not an object but a whole chart, whose contents the graph does not know."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of the graph.

    Attributes:
        urn: of its resource.
        object: what is sent to create it.
        ignore_changes: paths such as `spec.replicas` that an update leaves alone.
        after: URNs of what has to be there, and ready, before it.
    """

    urn: str
    object: Object
    ignore_changes: tuple[str, ...]
    after: frozenset[str]

    def update_of(self, live: Object) -> Object:
        """What Pulumi sends to update the object that is there.

        It leaves out an ignored field that somebody else owns, and says any other as it is: a field that its
        owner leaves out is reset (pulumi-kubernetes 4.34, provider/pkg/await, handleSSAIgnoreFields).
        """
        wanted = copy.deepcopy(self.object)
        for path in self.ignore_changes:
            *parents, name = path.split(".")
            inner, there = wanted, live
            for parent in parents:
                inner, there = inner[parent], there.get(parent, {})
            owners = {each["manager"] for each in live["metadata"]["managedFields"] if _owns(each, path)}
            if owners and MANAGER not in owners:
                del inner[name]
            elif name in there:
                inner[name] = there[name]
        return wanted


def manifests(graph: Graph, places: Mapping[str, str]) -> list[Manifest]:
    """Every object, each after those that it depends on.

    Args:
        graph: the program's.
        places: for each queue URL of the graph the one that KEDA is to watch; nothing else is rewritten.
    """
    return [
        Manifest(
            urn=resource.urn,
            object=_rewritten(_object(resource), places),
            ignore_changes=resource.ignore_changes,
            after=resource.dependencies,
        )
        for level in in_levels(graph)
        for resource in level
        if is_object(resource)
    ]


def in_levels(graph: Graph) -> list[list[Resource]]:
    """All resources, in groups that can be made at once, each after all that its resources depend on."""
    sorter = TopologicalSorter(
        {
            resource.urn: {*resource.dependencies, resource.parent} & graph.resources.keys()
            for resource in graph.resources.values()
        }
    )
    sorter.prepare()
    levels: list[list[Resource]] = []
    while ready := sorter.get_ready():
        levels.append([graph.resources[urn] for urn in sorted(ready)])
        sorter.done(*ready)
    return levels


def is_object(resource: Resource) -> bool:
    """Whether it is an object of the Kubernetes API."""
    return resource.custom and resource.type.startswith("kubernetes:") and resource.type != RELEASE


def _object(resource: Resource) -> Object:
    found: Object = _with_integers(resource.inputs)
    metadata = found.setdefault("metadata", {})
    if "name" not in metadata:
        metadata["name"] = resource.outputs["metadata"]["name"]
        # So that the provider knows a name of its own making, which it may replace.
        metadata["annotations"] = {**metadata.get("annotations", {}), "pulumi.com/autonamed": "true"}
    return found


def _with_integers(value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    """The wire has no integers, and the API takes no other number where it wants one."""
    if isinstance(value, dict):
        return {key: _with_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _rewritten(found: Object, places: Mapping[str, str]) -> Object:
    if found["kind"] == "ScaledObject":
        for trigger in found["spec"]["triggers"]:
            metadata = trigger["metadata"]
            if "queueURL" in metadata:
                metadata["queueURL"] = places[metadata["queueURL"]]
    return found


def _owns(managed: Object, path: str) -> bool:
    fields: Any = managed["fieldsV1"]
    for part in path.split("."):
        fields = fields.get(f"f:{part}")
        if fields is None:
            return False
    return True
