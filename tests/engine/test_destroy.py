"""What `pulumi destroy` deletes, in which order, and what it refuses to touch."""

from __future__ import annotations

import functools
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.cloud import label

if TYPE_CHECKING:
    from cli.graph import Graph
    from tests.engine.conftest import Made
    from tests.engine.engine import Stack

KEDA = "Release keda"
CNI = "Addon node-addons-vpc-cni"
NODES = ("NodeGroup nodes-system", "NodeGroup nodes-g6-2xlarge")
WORKLOADS = (
    "Deployment summarize",
    "Deployment extract",
    "Job summarize-model",
    "Job extract-model",
    KEDA,
    "Addon addons-coredns",
    "Addon addons-aws-efs-csi-driver",
)
DELETED_BEFORE: dict[str, tuple[str, ...]] = {
    # Its finaliser needs the operator, and its target.
    "ScaledObject summarize": ("Deployment summarize", KEDA),
    "ScaledObject extract": ("Deployment extract", KEDA),
    "ClusterTriggerAuthentication keda": (KEDA,),
    # Pods leave in peace, with a node and a network under them.
    **dict.fromkeys(WORKLOADS, NODES),
    **dict.fromkeys(NODES, (CNI,)),
    # A security group in use cannot be deleted.
    "MountTarget models-a": ("SecurityGroup models",),
    "MountTarget models-b": ("SecurityGroup models",),
    # A rule without its queue loses events.
    "EventTarget summarize": ("Queue summarize", "EventRule summarize"),
    "EventTarget extract": ("Queue extract", "EventRule extract"),
}
_LUCK_SECONDS = 0.3


@pytest.fixture(scope="module")
def protected(graph: Graph) -> set[str]:
    """What is not deleted: what people's documents and the models are in, among it."""
    found = {label(each.urn) for each in graph.resources.values() if each.protect}
    assert found >= {"FileSystem models", "Bucket documents", "Bucket results"}
    return found


@pytest.fixture(scope="module")
def retained(graph: Graph) -> set[str]:
    """What stays in AWS when it leaves the state: the protected, and what makes them safe to keep."""
    return {label(each.urn) for each in graph.resources.values() if each.custom and each.retain_on_delete}


def test_a_protected_stack_is_not_destroyed_in_part(stack: Stack, protected: set[str]) -> None:
    """The refusal comes before the first deletion, and names what is protected."""
    run = stack.run("destroy", "--yes", fails=True)
    assert stack.cloud.log == []
    refused = re.findall(r'resource "([^"]+)" cannot be deleted\s+because it is protected', run.output)
    assert {label(urn) for urn in refused} == protected


def test_a_destroy_without_its_preview_is_not_stopped(stack: Stack, protected: set[str]) -> None:
    """`--skip-preview`, which the Automation API's `destroy` means, deletes all else before it refuses."""
    stack.run("destroy", "--yes", "--skip-preview", fails=True)
    assert protected <= stack.cloud.labels
    assert ("deleted", "Deployment summarize") in stack.cloud.log


def test_what_is_protected_outlives_all_else(stack: Stack, protected: set[str], retained: set[str]) -> None:
    """`--exclude-protected` leaves the store and the buckets with their settings, and nothing else."""
    stack.run("destroy", "--yes", "--exclude-protected")
    assert stack.cloud.labels == protected | retained


def test_each_order_is_in_the_state(made: Made) -> None:
    """Destroying knows the state alone, and may delete at once whatever has no edge between it there."""
    resources = {each["urn"]: each for each in made.stack.resources}

    @functools.cache
    def needs(urn: str) -> set[str]:
        each = resources[urn]
        ahead = {*each.get("dependencies", ()), *filter(None, [each.get("parent")])}
        return ahead.union(*map(needs, ahead))

    urns = {label(urn): urn for urn, each in resources.items() if each["custom"]}
    missing = [
        (first, then)
        for first, all_then in DELETED_BEFORE.items()
        for then in all_then
        if urns[then] not in needs(urns[first])
    ]
    assert missing == []


def test_everything_is_deleted_before_what_it_needs(stack: Stack) -> None:
    """However long a deletion takes, the next begins when it has ended; in the end nothing is left."""
    stack.configure({"protect": False})
    stack.up()
    stack.cloud.log.clear()
    for name in DELETED_BEFORE:
        stack.cloud.before["delete", name] = lambda: time.sleep(_LUCK_SECONDS)
    stack.run("destroy", "--yes", "--skip-preview")
    at = {event: number for number, event in enumerate(stack.cloud.log)}
    too_early = [
        (first, then)
        for first, all_then in DELETED_BEFORE.items()
        for then in all_then
        if at["deleted", first] > at["delete", then]
    ]
    assert too_early == []
    assert stack.cloud.things == {}
    assert stack.resources == []
